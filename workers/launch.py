"""Start what the orchestrator asks of this package: a pool of workers, or of encoders."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from shared.config.sections import WorkersConfig
from shared.encoding.chunks import Chunk, Encoding, encoding_here
from shared.encoding.encoder import Encoder
from shared.errors import TagsweepError
from shared.store import StoreError, TornError
from workers.pool import WorkerPool
from workers.spec import WorkerSpec


def attach_worker(spec: WorkerSpec, name: str, should_stop: Callable[[], bool]) -> None:
    """Be one worker in this process, without a pool, on the arrays that the study's store has.

    Raises TagsweepError when the store does not have them.
    """
    from workers.arrays import read_arrays

    try:
        arrays = read_arrays(spec.store, spec.fingerprint)
    except TornError as error:
        raise TagsweepError(
            f"{error} It is written again when the search of study {spec.study_name!r} is started:"
            " stop its driver, give the same command again, then this one."
        ) from error
    except StoreError as error:
        raise TagsweepError(
            f"The data of study {spec.study_name!r} cannot be read here: {error}"
            " Set workers.store to a folder or URL that all machines reach."
        ) from error
    from workers.worker import run_worker

    run_worker(spec, arrays, name, should_stop)


def launch_encoders(
    config: WorkersConfig,
    n_encoders: int | None,
    ray_address: str | None,
    encoder: Encoder,
    chunks: Sequence[Chunk],
) -> AbstractContextManager[Encoding]:
    """Have texts encoded in Ray's processes, each with the resources of a worker, or in this one.

    `n_encoders` are how many processes; none is this one, None as many as a cluster at
    `ray_address` holds, and without a cluster none.
    """
    if n_encoders == 0 or config.pool == "inline" or (n_encoders is None and ray_address is None):
        return encoding_here(encoder, chunks)
    from workers.ray_encoders import encoding_on_ray

    return encoding_on_ray(config, n_encoders, ray_address, encoder, chunks)


@contextmanager
def launch_workers(config: WorkersConfig, ray_address: str | None = None) -> Iterator[WorkerPool]:
    """Have the configured workers, on a Ray cluster or on this machine, while the block lasts.

    Returns at once: processes start and import what training needs while the caller opens the
    study, then `start` gives them work.
    """
    pool: WorkerPool
    if config.pool == "inline":
        from workers.inline_pool import InlinePool

        pool = InlinePool()
    else:
        from workers.ray_pool import RayPool

        pool = RayPool(config, ray_address)
    try:
        yield pool
    finally:
        pool.join(timeout_s=0)

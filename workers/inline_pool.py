"""Run one worker in a thread of this process: the Ray pool's twin, for tests and debugging."""

import logging
import threading

from shared.errors import TagsweepError
from workers.pool import PoolState
from workers.spec import SearchArrays, WorkerSpec, pool_worker_name
from workers.worker import run_worker

logger = logging.getLogger(__name__)


class InlinePool:
    """Be a pool of one worker that a debugger can step into."""

    def __init__(self) -> None:
        """Have a worker without work."""
        self._stopping = threading.Event()
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def size(self) -> int:
        """Return how many workers there are."""
        return 1

    def start(self, spec: WorkerSpec, arrays: SearchArrays) -> None:
        """Let the worker begin."""
        self._thread = threading.Thread(target=self._run, args=(spec, arrays), name="worker-0")
        self._thread.start()

    def poll(self, n_left: int) -> PoolState:  # noqa: ARG002  its worker needs no place
        """Return the state of the worker; raise TagsweepError when it failed."""
        if self._error is not None:
            raise TagsweepError(f"The worker failed: {self._error}") from self._error
        return PoolState(n_alive=int(self._is_alive))

    def stop(self) -> None:
        """Tell the worker to give up its trial at the end of the epoch."""
        self._stopping.set()

    def join(self, timeout_s: float) -> None:
        """Wait for the worker to leave; a thread cannot be ended, so its epoch is waited for."""
        if self._thread is None:
            return
        self._thread.join(timeout_s)
        if self._is_alive:
            logger.warning("Waiting for the worker in this process to finish its epoch")
            self.stop()
            self._thread.join()

    @property
    def _is_alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _run(self, spec: WorkerSpec, arrays: SearchArrays) -> None:
        try:
            run_worker(spec, arrays, pool_worker_name(0), self._stopping.is_set)
        except BaseException as error:  # noqa: BLE001  the thread's owner raises it from poll
            self._error = error

"""Ask for trials ahead of time, so that training does not wait for sampler and database."""

import logging
import queue
import threading
from dataclasses import dataclass

from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.study import Study
from optuna.trial import Trial

from shared.search.budget import ask, is_spent
from shared.search.liveness import CHECKPOINTS, RETRY_OF, retry
from shared.search.patience import is_outage, patiently
from shared.search.space import suggest
from shared.search.study import WORKER
from shared.training.params import HeadParams
from workers.heartbeat import Heartbeat
from workers.spec import WorkerSpec

RETRY_ASK_S = 0.5
"""How long to wait when the budget is filled by trials that others still run."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Asked:
    """Hold a trial that nobody trains yet, and its hyperparameters.

    `origin` is the number of the trial that it repeats, or its own; `checkpoints` the trial ids
    whose checkpoint it may go on from, the latest first.
    """

    trial: Trial
    params: HeadParams
    origin: int
    checkpoints: tuple[int, ...]

    @property
    def trial_id(self) -> int:
        """The id in the storage, which numbers trials over all studies."""
        return self.trial._trial_id  # noqa: SLF001  has no public name


class Asker:
    """Keep up to `n_ahead` trials at hand, asked for by a thread."""

    def __init__(
        self,
        study: Study,
        storage: RDBStorage,
        heartbeat: Heartbeat,
        spec: WorkerSpec,
        worker: str,
        n_inputs: int,
        n_ahead: int,
    ) -> None:
        """Start asking for trials for heads with `n_inputs` inputs, in the name of a worker."""
        self._study, self._storage, self._heartbeat, self._spec = study, storage, heartbeat, spec
        self._worker, self._n_inputs = worker, n_inputs
        self._room = threading.Semaphore(n_ahead - 1)
        self._answers: queue.SimpleQueue[Asked | BaseException | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="asker", daemon=True)
        self.is_exhausted = False
        self._thread.start()

    def take(self, timeout_s: float) -> Asked | None:
        """Return a trial, or None when none has come in time or the study needs no more.

        Raises whatever the asking raised.
        """
        if self.is_exhausted:
            return None
        try:
            answer = (
                self._answers.get(timeout=timeout_s) if timeout_s else self._answers.get_nowait()
            )
        except queue.Empty:
            return None
        if isinstance(answer, BaseException):
            raise answer
        self.is_exhausted = answer is None
        self._room.release()
        return answer

    def close(self) -> list[Asked]:
        """Stop asking, and return the trials that nobody took."""
        self._closing.set()
        self._room.release()
        self._thread.join()
        left = []
        while not self._answers.empty():
            answer = self._answers.get()
            if isinstance(answer, Asked):
                left.append(answer)
        return left

    def _run(self) -> None:
        try:
            asked = self._ask()
            while asked is not None:
                self._answers.put(asked)
                self._room.acquire()
                asked = self._ask()
            self._answers.put(None)
        except BaseException as error:  # noqa: BLE001  whoever takes the next trial raises it
            self._answers.put(error)
        finally:
            self._storage.remove_session()

    def _ask(self) -> Asked | None:
        """Wait until there is a trial to ask for; None when the budget is spent."""
        limits = self._spec.config.study
        while not self._closing.is_set():
            trial = patiently(lambda: ask(self._study, self._storage, limits), self._closing)
            if trial is not None:
                asked = self._prepare(trial)
                if asked is not None:
                    return asked
            elif patiently(lambda: is_spent(self._study, limits), self._closing):
                return None
            else:
                self._closing.wait(RETRY_ASK_S)
        return None

    def _prepare(self, trial: Trial) -> Asked | None:
        """Suggest a trial's parameters; give it back when the database goes away meanwhile.

        A parameter whose writing was not confirmed may or may not be there, and asking for it again
        could give another value than the one that the study has.
        """
        trial_id = trial._trial_id  # noqa: SLF001  has no public name
        self._heartbeat.add(trial_id)
        try:
            trial.set_user_attr(WORKER, self._worker)
            params = suggest(trial, self._spec.config.space, self._n_inputs)
        except StorageInternalError as error:
            if not is_outage(error):
                raise
            reason = "interrupted: the database went away while its parameters were suggested"
            patiently(lambda: retry(self._study, self._storage, [trial_id], reason))
            self._heartbeat.discard(trial_id)
            return None
        attrs = trial.user_attrs
        origin, checkpoints = attrs.get(RETRY_OF, trial.number), attrs.get(CHECKPOINTS, ())
        return Asked(trial, params, origin, tuple(checkpoints))

"""Ask for trials ahead of time, so that training does not wait for sampler and database."""

import queue
import threading
from dataclasses import dataclass

from optuna.storages import RDBStorage
from optuna.study import Study
from optuna.trial import Trial

from shared.search.budget import ask, is_spent
from shared.search.space import suggest
from shared.search.study import WORKER
from shared.training.params import HeadParams
from workers.spec import WorkerSpec

RETRY_ASK_S = 0.5
"""How long to wait when the budget is filled by trials that others still run."""


@dataclass(frozen=True)
class Asked:
    """Hold a trial that nobody trains yet, and its hyperparameters."""

    trial: Trial
    params: HeadParams


class Asker:
    """Keep up to `n_ahead` trials at hand, asked for by a thread."""

    def __init__(
        self,
        study: Study,
        storage: RDBStorage,
        spec: WorkerSpec,
        worker: str,
        n_inputs: int,
        n_ahead: int,
    ) -> None:
        """Start asking for trials for heads with `n_inputs` inputs, in the name of a worker."""
        self._study, self._storage, self._spec = study, storage, spec
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
        config = self._spec.config
        while not self._closing.is_set():
            trial = ask(self._study, self._storage, config.study.n_trials)
            if trial is not None:
                trial.set_user_attr(WORKER, self._worker)
                return Asked(trial, suggest(trial, config.space, self._n_inputs))
            if is_spent(self._study, config.study.n_trials):
                return None
            self._closing.wait(RETRY_ASK_S)
        return None

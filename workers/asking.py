"""Ask for trials ahead of time, so that training does not wait for sampler and database."""

import os
import queue
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from optuna.study import Study

from shared.study.attributes import CHECKPOINTS, NODE, PROCESS, RETRY_OF, Owner
from shared.study.budget import ask, has_room, is_spent
from shared.study.sampler.history import History
from shared.study.space import Widths, suggest
from shared.study.tables.count import TrialTally
from shared.study.tables.read import Params, id_of
from shared.study.tables.study_storage import StudyStorage
from shared.study.tables.trials import Begun
from shared.study.tables.write import write_params
from shared.training.params import HeadParams
from workers.heartbeat import Heartbeat
from workers.spec import WorkerSpec

RETRY_ASK_S = 0.5
"""How long to wait when the budget is filled by trials that others still run."""


@dataclass(frozen=True)
class Asked:
    """Hold a trial that nobody trains yet, and its hyperparameters.

    `trial_id` is its id in the storage, which numbers trials over all studies. `origin` is the
    number of the trial that it repeats, or its own; `checkpoints` the trial ids whose checkpoint it
    may go on from, the latest first.
    """

    trial_id: int
    number: int
    params: HeadParams
    origin: int
    checkpoints: tuple[int, ...]


class Asker:
    """Keep up to `n_ahead` trials at hand, asked for by a thread, as many at a time as fit.

    With none ahead, a trial is asked for when one is to be taken.
    """

    def __init__(
        self,
        study: Study,
        storage: StudyStorage,
        heartbeat: Heartbeat,
        spec: WorkerSpec,
        owner: Owner,
        widths: Widths,
        n_ahead: int,
    ) -> None:
        """Start asking for trials on embeddings of some widths, in the name of their owner."""
        self._study_id, self._storage = id_of(study), storage
        self._heartbeat, self._spec = heartbeat, spec
        self._attrs = {**owner.attrs, NODE: socket.gethostname(), PROCESS: os.getpid()}
        self._tally = TrialTally(self._study_id)
        self._widths = widths
        self._history = History(study, study.sampler)
        self._room = threading.Semaphore(n_ahead)
        self.is_ahead, self._is_wanted = n_ahead > 0, False
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
        if not self.is_ahead and not self._is_wanted:
            self._room.release()
        self._is_wanted = True
        try:
            answer = (
                self._answers.get(timeout=timeout_s) if timeout_s else self._answers.get_nowait()
            )
        except queue.Empty:
            return None
        if isinstance(answer, BaseException):
            raise answer
        self.is_exhausted, self._is_wanted = answer is None, False
        if self.is_ahead:
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
            # Before there is a trial, so that none runs, and no budget is held, while this lasts.
            self._history.refresh(self._storage)
            while asked := self._ask(self._wait_for_room()):
                for one in asked:
                    self._answers.put(one)
            self._answers.put(None)
        except BaseException as error:  # noqa: BLE001  whoever takes the next trial raises it
            self._answers.put(error)
        finally:
            self._storage.remove_session()

    def _wait_for_room(self) -> int:
        """Return for how many trials there is room, once there is for one."""
        self._room.acquire()
        n = 1
        while self._room.acquire(blocking=False):
            n += 1
        return n

    def _ask(self, n: int) -> list[Asked]:
        """Wait until there are trials to ask for, and ask for up to `n`; none: the budget is spent.

        Room that is not filled is given back.
        """
        while not self._closing.is_set():
            begun = ask(self._storage, self._study_id, n, self._attrs, self._tally, self._closing)
            if begun:
                if len(begun) < n:
                    self._room.release(n - len(begun))
                return self._suggest(begun)
            if not self._wait_for_budget():
                return []
        return []

    def _wait_for_budget(self) -> bool:
        """Wait until the budget has room again, or return False when it is spent.

        Those who wait so keep nobody from asking: they lock nothing.
        """
        storage, study_id, tally = self._storage, self._study_id, self._tally
        while not is_spent(storage, study_id, tally, self._closing):
            if self._closing.wait(RETRY_ASK_S):
                return False
            if has_room(storage, study_id, tally, self._closing):
                return True
        return False

    def _suggest(self, begun: Sequence[Begun]) -> list[Asked]:
        """Suggest the trials' parameters and write them all at once."""
        for one in begun:
            self._heartbeat.add(one.trial_id)
        self._history.refresh(self._storage)
        asked, params, config = [], dict[int, Params](), self._spec.config
        for one in begun:
            trial = self._history.begin(one)
            heads = suggest(trial, config.space, self._widths, config.data.task)
            params[one.trial_id] = self._history.end_of_asking(one.trial_id)
            origin = one.user_attrs.get(RETRY_OF, one.number)
            checkpoints = tuple(one.system_attrs.get(CHECKPOINTS, ()))
            asked.append(Asked(one.trial_id, one.number, heads, origin, checkpoints))
        self._storage.transact(lambda connection: write_params(connection, params))
        return asked

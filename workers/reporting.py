"""Report and tell beside training, so that it does not wait for the database."""

import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from optuna.study import Study
from optuna.trial import TrialState
from sqlalchemy import Connection, Row

from shared.study.attributes import Failure
from shared.study.liveness import retry
from shared.study.pruning import Medians
from shared.study.tables.read import Changes, id_of, read_intermediate_values
from shared.study.tables.standing import read_latest
from shared.study.tables.study_storage import StudyStorage
from shared.study.tables.write import Ended, Report, write_reports
from workers.heartbeat import Heartbeat

FLUSH_EVERY_S = 0.1
"""How long to gather before writing: a longer epoch is written as it ends."""
FOLLOW_EVERY_S = 0.5
"""How often to look what others have completed: medians of many trials move slowly."""
_ALIVE_EVERY_S = 0.1
"""How often who waits for the thread looks whether it is still there."""


@dataclass(frozen=True)
class _Message:
    report: Report
    handed_back: Failure | None
    on_end: Callable[[], None] | None


class Reporter:
    """Write to the study from a thread of its own, in order, as much as there is at a time.

    The medians follow what this and other workers complete, half a second behind at most.
    While the database is away, training goes on and the messages wait. `failure` is what ended the
    thread before its time; whoever sends next raises it.
    """

    def __init__(
        self, study: Study, storage: StudyStorage, medians: Medians, heartbeat: Heartbeat
    ) -> None:
        """Start the thread."""
        self._study_id, self._storage, self._medians = id_of(study), storage, medians
        self._heartbeat = heartbeat
        self._changes = Changes(self._study_id)
        self._messages: queue.SimpleQueue[_Message | threading.Event | None] = queue.SimpleQueue()
        self._is_awaited = threading.Event()
        self.failure: BaseException | None = None
        self._is_following = False
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)
        self._thread.start()

    @property
    def medians(self) -> Medians:
        """What trials are pruned by; the first look waits until it is read what was completed.

        Not read before: then the first trials of workers that start at once would wait for it.
        """
        if not self._is_following:
            self.settle()
        return self._medians

    def settle(self) -> None:
        """Wait until all that was sent is written, and the medians know of all that is complete.

        Or until the thread has failed: whoever sends next raises why.
        """
        settled = threading.Event()
        self._messages.put(settled)
        self._is_awaited.set()
        while not settled.wait(_ALIVE_EVERY_S) and self._thread.is_alive():
            pass

    def send(
        self,
        trial_id: int,
        values: Mapping[int, float] = MappingProxyType({}),
        attrs: Mapping[str, Any] = MappingProxyType({}),
        end: Ended | Failure | None = None,
        on_end: Callable[[], None] | None = None,
    ) -> None:
        """Report intermediate values by step, set user attributes, and end the trial, in order.

        A failure as its end hands the trial back, to run again. Returns at once; raises what went
        wrong with an earlier message. What is sent about a trial that others have failed meanwhile
        is dropped. `on_end` is called from the thread once the database has accepted that the trial
        ended so, and at no other time.
        """
        if self.failure is not None:
            raise self.failure
        if isinstance(end, Failure):
            self._messages.put(_Message(Report(trial_id, values, attrs), end, on_end))
        else:
            self._messages.put(_Message(Report(trial_id, values, attrs, end), None, on_end))

    def close(self) -> None:
        """Write all that was sent, then end; raise what went wrong."""
        self._messages.put(None)
        self._is_awaited.set()
        self._thread.join()
        if self.failure is not None:
            raise self.failure

    def _run(self) -> None:
        try:
            while True:
                received = [self._messages.get()]
                while not self._messages.empty():
                    received.append(self._messages.get())
                self._write([one for one in received if isinstance(one, _Message)])
                if awaiting := [one for one in received if isinstance(one, threading.Event)]:
                    self._follow()
                for settled in awaiting:
                    settled.set()
                if received[-1] is None:
                    return
                self._is_awaited.wait(FLUSH_EVERY_S)
                self._is_awaited.clear()
        except BaseException as error:  # noqa: BLE001  whoever sends next raises it
            self.failure = error
        finally:
            self._storage.remove_session()

    def _write(self, messages: Sequence[_Message]) -> None:
        if not messages:
            return
        reports = [message.report for message in messages]
        running = self._storage.transact(lambda connection: write_reports(connection, reports))
        back = defaultdict[Failure, list[int]](list)
        for message in messages:
            if message.on_end is not None and message.report.trial_id in running:
                message.on_end()
            if message.handed_back is not None:
                back[message.handed_back].append(message.report.trial_id)
        for failure, trial_ids in back.items():
            retry(self._storage, self._study_id, trial_ids, failure)
        for message in messages:
            if message.handed_back is not None or message.report.end is not None:
                self._heartbeat.discard(message.report.trial_id)
        if self._is_following and time.monotonic() - self._followed >= FOLLOW_EVERY_S:
            self._follow()

    def _follow(self) -> None:
        if not self._is_following:
            self._take_in(self._storage.transact(self._read_latest))
            self._is_following = True
            return
        changed, found = self._storage.transact(self._read_complete)
        self._changes.accept(changed)
        self._take_in(found)

    def _take_in(self, found: Collection[Mapping[int, float]]) -> None:
        self._followed = time.monotonic()
        for values in found:
            self._medians.add(values)

    def _read_latest(self, connection: Connection) -> Collection[Mapping[int, float]]:
        self._changes.skip_ended(connection)
        ended, n_latest = self._changes.ended, self._medians.n_latest
        latest = read_latest(connection, ended, (TrialState.COMPLETE,), n_latest)
        return read_intermediate_values(connection, sorted(latest)).values()

    def _read_complete(
        self, connection: Connection
    ) -> tuple[Sequence[Row[Any, Any, Any]], Collection[Mapping[int, float]]]:
        changed = self._changes.read(connection)
        complete = [row.trial_id for row in changed if row.state is TrialState.COMPLETE]
        latest = complete[-self._medians.n_latest :]
        return changed, read_intermediate_values(connection, latest).values()

"""What a study and its trials say of themselves: Optuna's attributes, written and read here."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

# What a study says of itself: its user attributes.
CONFIG = "config"
FINGERPRINT = "fingerprint"
UUID = "uuid"
"""What tells a study from every other one, in whatever database: numbers are given again."""
DATA = "data"
LIMITS = "limits"
"""When the search ends (see `Limits`)."""
SEARCH_S = "search_s"
STORE = "store"
VERSIONS = "versions"
LABELS = "labels"
ENSEMBLE = "ensemble in the making"
"""How far the ensemble was when its maker last said so."""
CHOSEN_TRIAL = "ensemble of trial"
"""The number of the trial that somebody has named for the ensemble."""

# What a trial says of itself: its user attributes, named as people read them.
AP_WEIGHTED = "average precision (weighted)"
AP_MACRO = "average precision (macro)"
EPOCHS = "epochs"
SECONDS = "seconds"
BY_FOLD = "values by fold"
"""What each objective was on the folds that a trial is through, by the objective's name."""
WORKER = "worker"
NODE = "node"
PROCESS = "process"
"""The number of the worker's process on its node, for people: elsewhere it means nothing."""
DRIVER = "driver"
"""The id of the driver in whose pool the worker is; a worker without a driver says nothing."""
FAILURE = "failure"
FAILURE_KIND = "failure kind"
FAILURE_CAUSE = "failure cause"
RETRY_OF = "retry of"
"""The number of the trial that was first, on one that runs again."""
RESUMED_AT = "resumed at epoch"
"""How many epochs a trial that runs again did not have to train again."""

# What is for programs alone: a trial's system attributes.
CHECKPOINTS = "checkpoints"
"""The trial ids whose checkpoint a trial that runs again may go on from, the latest first: not
every run of a trial got as far as to one."""
LOSSES = "losses"
"""How often a trial that runs again was lost before; handing it back in order is not counted."""
REQUEST = "request"
"""The id of the request that a trial was handed out to: whoever did not get the answer asks again
with the same one."""


class FailureKind(StrEnum):
    """Why a trial failed."""

    LOST = "lost"
    """Its worker gave no sign of life."""
    HANDED_BACK = "handed back"
    """It was given up in order, to run again."""
    DIVERGED = "diverged"
    """Its loss was not finite."""
    OUT_OF_MEMORY = "out of memory"
    """Its head alone does not fit into the device's memory."""
    ERROR = "error"
    """The program met an error in it."""


@dataclass(frozen=True)
class Failure:
    """How a trial failed: its kind, and the reason in words.

    `cause` is what two errors of the program have in common that are the same.
    """

    kind: FailureKind
    reason: str
    cause: str = ""

    @property
    def attrs(self) -> dict[str, str]:
        """The user attributes that say so."""
        attrs = {FAILURE: self.reason, FAILURE_KIND: self.kind.value}
        return attrs | ({FAILURE_CAUSE: self.cause} if self.cause else {})


def failure_of(attrs: Mapping[str, Any]) -> Failure | None:
    """Return how a trial with these user attributes failed, or None when they do not say."""
    if FAILURE_KIND not in attrs:
        return None
    kind = FailureKind(attrs[FAILURE_KIND])
    return Failure(kind, attrs[FAILURE], attrs.get(FAILURE_CAUSE, ""))


@dataclass(frozen=True)
class Limits:
    """When a search ends: a row of the study, which whoever hands out a trial reads as it stands.

    `timeout_s` counts the time of all starts together; `target_value` is the first objective's.
    """

    n_trials: int
    timeout_s: float | None = None
    target_value: float | None = None

    @property
    def attrs(self) -> dict[str, Any]:
        """The user attribute that says so."""
        return {LIMITS: asdict(self)}


@dataclass(frozen=True)
class Owner:
    """Who runs a trial: a worker, by its name, in the pool of a driver, by its id, or in none."""

    worker: str = ""
    driver: str | None = None

    @property
    def attrs(self) -> dict[str, str]:
        """The user attributes that say so."""
        driver = {} if self.driver is None else {DRIVER: self.driver}
        return {WORKER: self.worker} | driver

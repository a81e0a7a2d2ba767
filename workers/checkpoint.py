"""Keep trials under way in the run's store, where another worker finds them."""

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from zipfile import BadZipFile

from shared.store import MissingError, Store, StoreError, TornError
from shared.training.params import HeadParams
from shared.training.snapshot import Snapshot, from_bytes, to_bytes
from workers.folds import FoldOutcome

FORMAT = 1
"""The version of what this module writes and reads."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Identity:
    """What a checkpoint is of; for whatever differs in one of these it is no checkpoint.

    Trial ids are unique in one database, and at one time: another one, or the same one brought back
    from a backup, gives them to other trials. `origin` is the number of the trial that was first,
    `fold` counts those that it is through, `fingerprint` is that of the data.
    """

    study_uuid: str
    origin: int
    fold: int
    params_hash: str
    fingerprint: str
    format: int = FORMAT


@dataclass(frozen=True)
class Checkpoint:
    """Hold a head in training, and how its trial stands.

    `values` are the trial's intermediate values so far, by step, `folds` those that it is through.
    """

    snapshot: Snapshot
    values: dict[int, float]
    folds: list[FoldOutcome]


def hash_of_params(params: HeadParams) -> str:
    """Return the SHA-256 of a head's hyperparameters, in hexadecimal."""
    return hashlib.sha256(json.dumps(asdict(params), sort_keys=True).encode()).hexdigest()


def write_checkpoint(
    store: Store,
    trial_id: int,
    identity: Identity,
    snapshot: Snapshot,
    values: Mapping[int, float],
    folds: Sequence[FoldOutcome] = (),
) -> None:
    """Write a trial's checkpoint in the place of its last one; raises StoreError.

    A file belongs to one trial id of one study, so a worker whose trial was taken from it and runs
    again, under another id, cannot write over its successor's. `identity` is that of any fold.
    """
    facts = {
        "identity": asdict(replace(identity, fold=len(folds))),
        "values": list(values.items()),
        "folds": [asdict(fold) for fold in folds],
    }
    store.write_sealed(name_of(identity.study_uuid, trial_id), to_bytes(snapshot, facts))


def find_checkpoint(
    store: Store, trial_ids: Iterable[int], identity: Identity
) -> Checkpoint | None:
    """Read the checkpoint of the first of these trials that has one of that identity.

    Without one the trial starts anew: a store that is away costs epochs, not the search.
    """
    found = (read_checkpoint(store, trial_id, identity) for trial_id in trial_ids)
    try:
        return next((checkpoint for checkpoint in found if checkpoint is not None), None)
    except StoreError as error:
        logger.warning("A trial starts anew: %s", error)
        return None


def read_checkpoint(store: Store, trial_id: int, identity: Identity) -> Checkpoint | None:
    """Read a trial's last checkpoint; None when there is none of that identity, or it is damaged.

    Raises StoreError when the store cannot be used.
    """
    try:
        content = store.read_sealed(name_of(identity.study_uuid, trial_id))
        snapshot, facts = from_bytes(content)
        found = Identity(**facts["identity"])
        values = {int(step): float(value) for step, value in facts["values"]}
        folds = [FoldOutcome(**fold) for fold in facts["folds"]]
    except MissingError:
        return None
    except (TornError, OSError, EOFError, ValueError, KeyError, TypeError, BadZipFile) as error:
        logger.warning("The checkpoint of trial id %d cannot be read: %s", trial_id, error)
        return None
    expected = replace(identity, fold=len(folds))
    differing = [key for key, value in asdict(expected).items() if getattr(found, key) != value]
    if differing:
        what = ", ".join(differing)
        logger.warning("The checkpoint of trial id %d is not used: other %s", trial_id, what)
        return None
    return Checkpoint(snapshot, values, folds)


def remove_checkpoints(store: Store, study_uuid: str, trial_ids: Iterable[int]) -> None:
    """Remove the checkpoints of trials, those that have one; raises StoreError."""
    for trial_id in trial_ids:
        store.remove(name_of(study_uuid, trial_id))


def name_of(study_uuid: str, trial_id: int) -> str:
    """Return what the checkpoint of a trial is called in the store."""
    return f"checkpoints/{study_uuid}/trial-{trial_id}.npz"

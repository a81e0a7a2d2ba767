"""Keep trials under way in the run's store, where another worker finds them."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from zipfile import BadZipFile

from shared.training.snapshot import Snapshot, from_bytes, to_bytes
from workers.store import read_file, remove_file, write_file

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """Hold a head in training, and its trial's intermediate values so far, by step."""

    snapshot: Snapshot
    values: dict[int, float]


def write_checkpoint(
    store: str, trial_id: int, snapshot: Snapshot, values: Mapping[int, float]
) -> None:
    """Write a trial's checkpoint in the place of its last one.

    A file belongs to one trial id, so a worker whose trial was taken from it and runs again, under
    another id, cannot write over its successor's.
    """
    content = to_bytes(snapshot, {"values": list(values.items())})
    write_file(store, _name(trial_id), content)


def read_checkpoint(store: str, trial_id: int) -> Checkpoint | None:
    """Read a trial's last checkpoint; None when there is none, or it cannot be read."""
    try:
        snapshot, facts = from_bytes(read_file(store, _name(trial_id)))
    except FileNotFoundError:
        return None
    except (OSError, EOFError, ValueError, KeyError, TypeError, BadZipFile) as error:
        logger.warning("Checkpoint %d in %s cannot be read: %s", trial_id, store, error)
        return None
    return Checkpoint(snapshot, {int(step): float(value) for step, value in facts["values"]})


def remove_checkpoint(store: str, trial_id: int) -> None:
    """Remove a trial's checkpoint, if it has one."""
    remove_file(store, _name(trial_id))


def _name(trial_id: int) -> str:
    return f"checkpoints/trial-{trial_id}.npz"

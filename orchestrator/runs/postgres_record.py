"""Write down where the PostgreSQL of a run directory runs, for people and other machines."""

import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
from pydantic import TypeAdapter, ValidationError

NETWORKED = (
    "nfs",
    "cifs",
    "smb",
    "lustre",
    "ceph",
    "glusterfs",
    "gpfs",
    "beegfs",
    "afs",
    "sshfs",
    "9p",
    "virtiofs",
)
"""How the types of filesystems begin on which a lock may hold for one machine only."""


@dataclass(frozen=True)
class Record:
    """Where a server runs: the machine, its boot and the pid namespace, and since when."""

    host: str
    machine: str
    boot: str
    pid_namespace: str
    since: str

    @property
    def is_of_this_machine(self) -> bool:
        """Whether locks and sockets of that machine are ours too; a container's are."""
        here = _here()
        is_same = self.machine != "" and (self.machine, self.host) == (here.machine, here.host)
        return self.boot == here.boot or is_same

    def __str__(self) -> str:
        """Say it as a part of a sentence."""
        here = _here()
        where = f"on the machine {self.host}"
        if self.is_of_this_machine and self.pid_namespace != here.pid_namespace:
            where = f"in another container of this machine, {self.host}"
        return f"{where}, in {self.pid_namespace}, since {self.since}"


_FORM = TypeAdapter(Record)


def write_record(descriptor: int) -> None:
    """Write that the server of this lock file runs here."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, _FORM.dump_json(_here()) + b"\n", 0)


def read_record(path: Path) -> Record | None:
    """Return what the lock file says; None where no server runs, or ran until it was stopped."""
    try:
        return _FORM.validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def is_on_network(folder: Path) -> bool:
    """Say whether other machines may see the folder, too, and may not see our locks."""
    mounts = {Path(part.mountpoint): part.fstype for part in psutil.disk_partitions(all=True)}
    kinds = [mounts[parent] for parent in (folder, *folder.parents) if parent in mounts]
    return kinds != [] and kinds[0].removeprefix("fuse.").startswith(NETWORKED)


def _here() -> Record:
    return Record(
        host=socket.gethostname(),
        machine=_read(Path("/etc/machine-id")),
        boot=_read(Path("/proc/sys/kernel/random/boot_id")),
        pid_namespace=str(Path("/proc/self/ns/pid").readlink()),
        since=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip() if path.exists() else ""

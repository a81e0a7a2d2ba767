"""Count the cores that this process may use, which are not always those that the machine has."""

import os
from pathlib import Path, PurePosixPath

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def usable_cores() -> int:
    """Return how many cores the process's affinity and its cgroups' quotas leave it, at least 1."""
    quotas = read_quotas(CGROUPS, MEMBERSHIP.read_text()) if MEMBERSHIP.exists() else []
    return max(1, int(min([float(len(os.sched_getaffinity(0))), *quotas])))


def read_quotas(cgroups: Path, membership: str) -> list[float]:
    """Return the quotas, in cores, of the cgroups that /proc/self/cgroup names and of those above.

    A container sees its own cgroup as the root, under whatever name it goes outside.
    """
    quotas: list[float] = []
    for line in membership.splitlines():
        _, controllers, name = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = cgroups / controllers  # version 2 names no controllers, and has one tree
        own = PurePosixPath(name.lstrip("/"))
        for path in (own, *own.parents):
            quotas += _quota_of(root / path, is_unified=not controllers)
    return quotas


def _quota_of(cgroup: Path, *, is_unified: bool) -> list[float]:
    """Return a cgroup's quota in cores, or nothing where it has none."""
    files = ["cpu.max"] if is_unified else ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
    try:
        quota, period = " ".join((cgroup / file).read_text() for file in files).split()
    except OSError:
        return []  # the root has no such file, and from inside a container what is above is hidden
    return [] if quota in {"max", "-1"} else [int(quota) / int(period)]

import os
import subprocess
import sys
from pathlib import Path

import pytest

from shared.cores import read_quotas, usable_cores

QUOTAS = {
    "cpu.max": "max 100000",
    "kubepods/cpu.max": "250000 100000",
    "kubepods/pod/cpu.max": "50000 100000",
    "cpu,cpuacct/docker/cpu.cfs_quota_us": "150000",
    "cpu,cpuacct/docker/cpu.cfs_period_us": "100000",
    "cpu,cpuacct/cpu.cfs_quota_us": "-1",
    "cpu,cpuacct/cpu.cfs_period_us": "100000",
}


@pytest.mark.parametrize(
    ("membership", "expected"),
    [
        ("0::/kubepods/pod", [0.5, 2.5]),
        ("0::/", []),
        ("0::/a/name/outside/of/the/container", []),
        ("5:memory:/docker\n4:cpu,cpuacct:/docker\n1:name=systemd:/docker\n", [1.5]),
    ],
)
def test_a_cgroups_quota_and_those_above_it_count(
    membership: str, expected: list[float], tmp_path: Path
) -> None:
    for name, content in QUOTAS.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{content}\n")
    assert read_quotas(tmp_path, membership) == expected


def test_no_more_cores_are_counted_than_the_process_may_run_on() -> None:
    code = "from shared.cores import usable_cores; print(usable_cores())"
    done = subprocess.run(
        ["taskset", "--cpu-list", "0", sys.executable, "-c", code],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "1\n"
    assert 1 <= usable_cores() <= len(os.sched_getaffinity(0))

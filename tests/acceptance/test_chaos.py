import json
import os
import subprocess
import sys
from pathlib import Path

HARMS = ("kill worker", "hang up", "take database away")


def test_a_sweep_outlives_what_happens_to_its_workers_driver_and_database(
    checkout: Path, emotions_csv: Path
) -> None:
    options = "--n-trials 14 --n-workers 2 --kill-every 3 --seconds 0 --seed 3".split()
    harms = [word for harm in HARMS for word in ("--harm", harm)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.chaos", *options, *harms],
        cwd=checkout,
        env=os.environ | {"TAGSWEEP_TEST_DATA": str(emotions_csv.parent)},
        capture_output=True,
        text=True,
        check=False,
        timeout=560,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    found = json.loads(done.stdout)
    assert found["finished"] == 14
    assert found["harms"] == dict.fromkeys(HARMS, 1) | {"take database away": 2}

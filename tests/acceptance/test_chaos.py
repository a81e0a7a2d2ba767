import json
import os
import subprocess
import sys
from pathlib import Path


def test_a_sweep_outlives_the_killing_of_its_workers_driver_and_database(
    checkout: Path, emotions_csv: Path
) -> None:
    options = "--n-trials 12 --n-workers 2 --kill-every 5 --seconds 20 --seed 3".split()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.chaos", *options],
        cwd=checkout,
        env=os.environ | {"TAGSWEEP_TEST_DATA": str(emotions_csv.parent)},
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["finished"] == 12
    assert found["kills"] + found["driver_restarts"] + found["db_restarts"] > 0

import json
import os
import subprocess
import sys
from pathlib import Path

PARTS = {"equality", "roofline", "packs", "memory", "embedding"}


def test_the_measurements_of_a_gpu_run_on_a_cpu_in_small(checkout: Path, tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    done = subprocess.run(
        [checkout / "benchmarks" / "gpu.sh", "--small", "--out", out],
        env=os.environ | {"PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(out.read_text())
    assert found.keys() >= PARTS
    assert found["equality"]["tests"] == {"exit_code": 0, "passed": 1}
    assert found["roofline"]["square"]["head_steps_per_s"] > 0
    assert found["packs"]["64 wide, 200 rows"]["gain_vs_fit"] > 0
    assert found["memory"] == {"skipped": "a CPU has no memory of its own"} | {
        "took_s": found["memory"]["took_s"]
    }

"""Measure a GPU part by part, each in a process of its own, and keep what each has found.

`--small` has sizes for a CPU, so that the parts cannot rot where there is no GPU.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.results import FOLDER, described

PARTS = {"equality": 80, "roofline": 70, "packs": 160, "memory": 45, "embedding": 60}
"""The seconds that each part may take; together they stay under seven minutes."""


def main() -> None:
    """Run the parts, and write what is known after each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="sizes for a CPU")
    parser.add_argument("--parts", default=",".join(PARTS), help="which, separated by commas")
    parser.add_argument("--out", type=Path, default=FOLDER / "gpu.json", help="where to keep it")
    options = parser.parse_args()
    found: dict[str, Any] = {}
    for part in options.parts.split(","):
        started = time.monotonic()
        found[part] = _run(part, small=options.small)
        found[part]["took_s"] = round(time.monotonic() - started, 1)
        print(json.dumps({part: found[part]}), flush=True)
        options.out.write_text(json.dumps(described(found), indent=1) + "\n", encoding="utf-8")
    sys.exit(any("failed" in result for result in found.values()))


def _run(part: str, *, small: bool) -> dict[str, Any]:
    """Run one part; return the JSON lines that it printed, later ones over earlier ones."""
    command = [sys.executable, "-m", f"benchmarks.gpu.{part}", *["--small"] * small]
    environment = os.environ | {"KERAS_BACKEND": "jax", "TF_CPP_MIN_LOG_LEVEL": "3"}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    found: dict[str, Any] = {}
    try:
        output, errors = process.communicate(timeout=PARTS[part])
    except subprocess.TimeoutExpired:
        process.kill()
        output, errors = process.communicate()
        found["failed"] = f"not done after {PARTS[part]} s"
    for line in output.splitlines():
        if line.startswith("{"):
            found |= json.loads(line)
    if process.returncode and "failed" not in found:
        found["failed"] = errors.strip().splitlines()[-3:] or f"exit code {process.returncode}"
    return found


if __name__ == "__main__":
    main()

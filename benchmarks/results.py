"""Keep what a benchmark found, with the machine that it was found on."""

import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "results"
PACKAGES = (
    *("tagsweep", "optuna", "keras", "tensorflow", "jax", "ray", "keras-tuner", "sqlalchemy"),
    *("sentence-transformers", "torch", "openvino"),
)


def publish(name: str, found: dict[str, Any]) -> None:
    """Print one JSON line, and write it to results/NAME.json."""
    line = described(found)
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.json").write_text(json.dumps(line, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(line), flush=True)


def described(found: dict[str, Any]) -> dict[str, Any]:
    """Return what was found with the machine and the day."""
    return found | {"machine": _machine(), "date": datetime.now(UTC).date().isoformat()}


def _machine() -> dict[str, Any]:
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {package: _version(package) for package in PACKAGES if _version(package)},
    }


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None

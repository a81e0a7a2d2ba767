import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

TAGSWEEP = Path(sys.executable).with_name("tagsweep")

Tagsweep = Callable[..., subprocess.CompletedProcess[str]]


@dataclass(frozen=True)
class FinishedRun:
    folder: Path
    command: tuple[object, ...]
    output: str


def start(*arguments: object, cwd: Path, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [TAGSWEEP, *map(str, arguments)],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"COLUMNS": "200"},
        **options,
    )


def status_of(tagsweep: Tagsweep, folder: Path, *options: object) -> dict[str, Any]:
    status: dict[str, Any] = json.loads(tagsweep("status", folder, "--json", *options).stdout)
    return status


def processes_of(folder: Path) -> list[psutil.Process]:
    """Return the database processes of a run directory."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.name() == "postgres" and Path(process.cwd()).is_relative_to(folder):
                found.append(process)
        except psutil.Error:
            continue
    return found

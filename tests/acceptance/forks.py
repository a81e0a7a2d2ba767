"""Run commands in forks of one process that has imported what most of them need.

Importing takes longer than what many a command does, and is the same each time.
"""

import atexit
import gc
import importlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Self

IMPORTED = ("orchestrator.pipeline", "orchestrator.status.status", "orchestrator.bundle.predict")


class Forks:
    """Be the process that is forked; commands run one after the other."""

    def __init__(self) -> None:
        measured = os.environ.get("COVERAGE_OF_FORKS")
        self._server = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | ({"COVERAGE_PROCESS_CONFIG": measured} if measured else {}),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.communicate()

    def run(
        self, command: list[str], stdin: str, cwd: Path | None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as `subprocess.run` would, with the environment as it is now."""
        assert self._server.stdin
        assert self._server.stdout
        with tempfile.TemporaryDirectory() as name:
            files = [Path(name, stream) for stream in ("stdin", "stdout", "stderr")]
            files[0].write_text(stdin)
            task = {
                "command": command,
                "cwd": str(cwd or Path.cwd()),
                "environment": dict(os.environ),
                "files": [str(path) for path in files],
            }
            self._server.stdin.write(f"{json.dumps(task)}\n")
            self._server.stdin.flush()
            code = int(self._server.stdout.readline())
            _, output, errors = (path.read_text() for path in files)
        return subprocess.CompletedProcess(command, code, output, errors)


def _serve() -> None:
    from orchestrator.terminal.console import quiet_keras

    for name in IMPORTED:
        importlib.import_module(name)
    quiet_keras()
    gc.freeze()
    while line := sys.stdin.readline():
        pid = os.fork()
        if pid == 0:
            os._exit(_run(**json.loads(line)))
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def _run(command: list[str], cwd: str, environment: dict[str, str], files: list[str]) -> int:
    """Be the process of a command, but for taking apart at its end what it has not imported."""
    from orchestrator.cli import main

    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    for number, path in enumerate(files):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT), number)
    sys.stdin, sys.stdout, sys.stderr = map(open, range(3), ("r", "w", "w"))
    sys.argv = command
    try:
        main()
    except SystemExit as end:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        return int(end.code or 0)
    return 99


if __name__ == "__main__":
    _serve()

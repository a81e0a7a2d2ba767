"""Measure how long optuna-dashboard takes to show a large study, in a real browser.

Contenders: optuna-dashboard's own command, and `tagsweep dashboard`; each on the same study in one
PostgreSQL, and started anew for each round, so that nothing has been read before.
"""

import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import typer
from selenium.webdriver import Chrome, ChromeOptions, ChromeService

from benchmarks.coordination.task import Task, fill
from benchmarks.results import publish
from orchestrator.dashboard.storage import MAX_CURVES
from orchestrator.runs.database import embedded_postgres
from shared.study.tables.storage import opened_storage

BIN = Path(sys.executable).parent
STUDY = "large"
PATIENCE_S = 180.0
HISTORY = """
const plot = document.getElementById("plot-history");
return Boolean(plot && plot.data) && plot.data.some(line => line.x && line.x.length > arguments[0]);
"""
"""Whether the optimization history shows so many trials."""
CURVES = """
const plot = document.getElementById("graph-intermediate-values");
return Boolean(plot && plot.data) && plot.data.length > 1;
"""
"""Whether the intermediate values are drawn, which come last."""
SAYS = "return document.body.innerText.includes(arguments[0])"
"""Whether the page says so."""


def main(n_trials: int = 5000, n_steps: int = 50, rounds: int = 3) -> None:
    """Fill a study, show it by both, and publish seconds and bytes."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with (
        tempfile.TemporaryDirectory(prefix="pg-") as folder,
        embedded_postgres(Path(folder) / "postgres") as url,
        opened_storage(url) as storage,
    ):
        fill(storage, Task(url, STUDY, n_trials, 1, 1, n_steps, 0.0), n_trials)
        found = {
            name: _median([_measure(name, url, n_trials) for _ in range(rounds)])
            for name in ("optuna_dashboard", "tagsweep")
        }
    task = {"trials": n_trials, "steps": n_steps, "rounds": rounds, "curves": MAX_CURVES}
    publish("dashboard", task | found)


def _measure(contender: str, url: str, n_trials: int) -> dict[str, float]:
    """Measure one contender, by a client that only fetches and by a browser."""
    with _served(contender, url) as address:
        study = f"{address}/api/studies/1"
        found = _fetched("list", f"{address}/api/studies")
        found |= _fetched("study", study) | _fetched("study_again", study)
        found |= _fetched("importances", f"{study}/param_importances")
    with _served(contender, url) as address, _browser() as browser:
        browser.set_script_timeout(PATIENCE_S)
        page = f"{address}/dashboard/studies/1"

        def shows(script: str, *arguments: object) -> Callable[[], bool]:
            return lambda: bool(browser.execute_script(script, *arguments))

        started = time.monotonic()
        browser.get(address)
        found["list_page_s"] = _wait(shows(SAYS, STUDY), started)
        started = time.monotonic()
        browser.get(page)
        found["history_drawn_s"] = _wait(shows(HISTORY, n_trials // 2), started)
        found["study_page_s"] = _wait(shows(CURVES), started)
        started = time.monotonic()
        browser.get(f"{page}/trials")
        found["trial_list_s"] = _wait(shows(SAYS, f"{n_trials} Trials"), started)
    return found


@contextmanager
def _browser() -> Iterator[Chrome]:
    options = ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for argument in ("--headless=new", "--no-sandbox", "--window-size=1600,1200"):
        options.add_argument(argument)
    browser = Chrome(options, ChromeService(shutil.which("chromedriver")))
    try:
        yield browser
    finally:
        browser.quit()


@contextmanager
def _served(contender: str, url: str) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    command: dict[str, list[str | Path]] = {
        "optuna_dashboard": [BIN / "optuna-dashboard", url, "--port", port],
        "tagsweep": [BIN / "tagsweep", "dashboard", "--port", port],
    }
    quiet = subprocess.DEVNULL
    environment = os.environ | {"TAGSWEEP_STORAGE": url}
    server = subprocess.Popen(command[contender], env=environment, stdout=quiet, stderr=quiet)
    try:
        address = f"http://127.0.0.1:{port}"
        _wait(lambda: _answers(f"{address}/api/meta"), time.monotonic())
        yield address
    finally:
        server.terminate()
        server.wait()


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address):  # noqa: S310  our own, on loopback
            return True
    except OSError:
        return False


def _fetched(name: str, address: str) -> dict[str, float]:
    started = time.monotonic()
    with urllib.request.urlopen(address) as response:  # noqa: S310
        content = response.read()
    json.loads(content)
    return {f"{name}_api_s": time.monotonic() - started, f"{name}_api_mb": len(content) / 1e6}


def _wait(is_there: Callable[[], bool], started: float) -> float:
    """Return the seconds until something is there; raise TimeoutError when it never is."""
    while not is_there():
        if time.monotonic() - started > PATIENCE_S:
            raise TimeoutError(f"The page has not shown it within {PATIENCE_S:g} s.")
        time.sleep(0.02)
    return time.monotonic() - started


def _median(rounds: list[dict[str, float]]) -> dict[str, Any]:
    return {key: round(statistics.median(one[key] for one in rounds), 3) for key in rounds[0]}


if __name__ == "__main__":
    typer.run(main)

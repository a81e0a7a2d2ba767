import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome

from tests.acceptance.browser import open_browser, screenshot
from tests.acceptance.commands import Tagsweep, start, status_of

PATIENCE_S = 120
N_TRIALS = 30
PLOT = """
const plot = document.getElementById(`user-defined-plot:${arguments[0]}`);
return plot ? plot.querySelectorAll(".trace path").length : 0;
"""
"""How many lines and points a saved plot shows."""
FETCH = """
const [name, done] = arguments;
const link = [...document.querySelectorAll("a[download]")].find(one => one.download === name);
fetch(link.href).then(answer => answer.arrayBuffer()).then(content => done(content.byteLength));
"""
"""The bytes of a file that the page offers for download."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("emotions") / "run"


@pytest.fixture(scope="module")
def command(emotions_csv: Path, folder: Path) -> tuple[object, ...]:
    data = ("--data", emotions_csv, "--text-column", "text")
    return ("run", *data, "--n-trials", N_TRIALS, "--n-workers", 2, "--run-dir", folder)


@pytest.fixture(scope="module")
def process(command: tuple[object, ...], folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a sweep with its dashboard, and stop it if it still runs."""
    process = start(*command, "--dashboard", cwd=folder.parent)
    yield process
    process.terminate()
    process.communicate()


def test_a_live_sweep_is_seen_growing_and_a_finished_one_with_its_result(
    browser: Chrome, process: subprocess.Popen[str], folder: Path
) -> None:
    browser.get(_address(process))
    _wait(lambda: "run" in _text(browser))
    _click(browser, "run")
    screenshot(browser, "dashboard-live")

    page = f"{_origin(browser)}/dashboard/studies/1"
    browser.get(f"{page}/trials?numbers=0")
    few = _wait(lambda: _n_trials(browser))
    _wait(lambda: "average precision (weighted)" in _text(browser) or "Pruned" in _text(browser))
    _wait(lambda: _n_trials(browser) > few)
    screenshot(browser, "dashboard-trial")
    browser.get(f"{page}/note")
    _wait(lambda: "The search is under way." in _text(browser))

    printed, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert f"Bundle: {folder}/bundle" in printed
    with _served(folder) as address:
        page = f"{address}/dashboard/studies/1"
        browser.get(f"{page}/note")
        _wait(lambda: "logistic regression" in _text(browser))
        assert "emotions.csv, 5,632 rows" in _text(browser)
        screenshot(browser, "dashboard-note")
        browser.get(page)
        for plot in ("learning-curves", "budget", "average-precision", "precision-recall"):
            _wait(lambda plot=plot: browser.execute_script(PLOT, plot))  # type: ignore[misc]
        _wait(lambda: "bundle.zip" in _text(browser))
        assert browser.execute_async_script(FETCH, "bundle.zip") > 100_000
        screenshot(browser, "dashboard-study")


def test_a_sweep_over_real_text_beats_logistic_regression(
    tagsweep: Tagsweep, command: tuple[object, ...], process: subprocess.Popen[str], folder: Path
) -> None:
    assert process.wait(PATIENCE_S) == 0
    status = status_of(tagsweep, folder)
    assert status["pruned"] > 0
    assert status["test"]["ap_weighted"] >= status["logistic_regression"]["ap_weighted"]
    assert "Nothing to do" in tagsweep(*command).stdout
    shown = tagsweep("predict", folder / "bundle", "--text", "I can't believe it, we won!").stdout
    assert [line.split()[0] for line in shown.splitlines()] == [
        *("anger", "fear", "joy", "sadness", "surprise")
    ]
    metrics = json.loads((folder / "bundle" / "metrics.json").read_text())
    assert metrics["test"] == status["test"]
    macro = metrics["decisions"]["test"]["f1_macro"]
    assert macro["tuned"] > macro["half"] + 0.01


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    process = start("dashboard", folder, "--port", 0, cwd=folder)
    try:
        assert process.stdout
        yield process.stdout.readline().split()[-1]
    finally:
        process.terminate()
        process.communicate()


def _address(process: subprocess.Popen[str]) -> str:
    """Return where a sweep says that its dashboard is."""
    assert process.stderr
    for line in process.stderr:
        if line.startswith("optuna-dashboard is at "):
            return line.split()[-1]
    pytest.fail("The sweep has not said where its dashboard is.")


def _origin(browser: Chrome) -> str:
    return str(browser.execute_script("return location.origin"))


def _text(browser: Chrome) -> str:
    return str(browser.execute_script("return document.body.innerText"))


def _n_trials(browser: Chrome) -> int:
    found = re.search(r"(\d+) Trials", _text(browser))
    return int(found[1]) if found else 0


def _click(browser: Chrome, name: str) -> None:
    links = browser.find_elements("css selector", "a[href*='/dashboard/studies/']")
    next(link for link in links if name in link.text).click()


def _wait(look: Callable[[], Any]) -> Any:
    """Return the first thing that is there to see."""
    deadline = time.monotonic() + PATIENCE_S
    while not (seen := look()):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return seen

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.support.wait import WebDriverWait

from tests.acceptance.browser import (
    console_of,
    evaluate,
    open_browser,
    prefer,
    requests_of,
    resize,
    screenshot,
)
from tests.acceptance.commands import FinishedRun, Tagsweep

PLOTS = {
    "label_precision": 3,
    "precision_recall": 5,
    "calibration": 6,
    "optimization_history": 2,
    "param_importances": 1,
    "parallel_coordinate": 2,
    "slice": 5,
    "learning_curves": 1,
    "budget_over_time": 2,
}
"""The fewest traces of each plot."""
MAY_BE_THERE = {"uncalibrated"}
"""Plots that a run has or has not: its probabilities may need no calibration."""
DRAWN = """[...document.querySelectorAll(".plot")].map(plot => ({
    name: plot.id,
    traces: plot.data.length,
    marks: plot.querySelectorAll(".trace path, .trace .point, .bars path").length,
    width: plot.querySelector(".main-svg").getBoundingClientRect().width,
    height: plot.querySelector(".main-svg").getBoundingClientRect().height,
}))"""
PAPER = "getComputedStyle(document.body).backgroundColor"
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"

BY_LABEL = """(heading => {
    const note = heading.nextElementSibling, box = note.nextElementSibling;
    const f1 = [...box.querySelectorAll("th")].find(cell => cell.innerText == "F1");
    return {
        box: box.clientWidth,
        table: box.scrollWidth,
        is_said: !note.hidden,
        f1: f1.getBoundingClientRect().right,
    };
})([...document.querySelectorAll("h2")].find(heading => heading.innerText == "By label"))"""
AXES = """(plot => [
    [...plot.querySelectorAll(".xtick text")].filter(
        name => name.checkVisibility({checkOpacity: true})
    ).length,
    plot.layout.xaxis.ticktext.length,
])(document.getElementById("parallel_coordinate"))"""
SLICE = "document.getElementById('slice')"


@pytest.fixture(scope="module")
def browser(finished: FinishedRun) -> Iterator[Chrome]:
    """Return a browser with the report open, as from a mail."""
    with open_browser() as browser:
        browser.get((finished.folder / "report" / "index.html").absolute().as_uri())
        WebDriverWait(browser, 30).until(
            lambda browser: evaluate(browser, "document.readyState") == "complete"
        )
        yield browser


def test_nothing_is_wrong_in_the_console_and_nothing_is_asked_of_the_network(
    browser: Chrome,
) -> None:
    assert console_of(browser) == []
    (page,) = requests_of(browser)
    assert page.startswith("file://")
    assert page.endswith("/report/index.html")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1600, 400])
def test_every_plot_is_drawn_and_none_is_too_wide(browser: Chrome, scheme: str, width: int) -> None:
    prefer(browser, scheme)
    resize(browser, width, 1000)
    WebDriverWait(browser, 10).until(lambda browser: evaluate(browser, "innerWidth") == width)
    drawn = {plot["name"]: plot for plot in evaluate(browser, DRAWN)}
    assert drawn.keys() - MAY_BE_THERE == PLOTS.keys()
    for name, plot in drawn.items():
        assert plot["traces"] >= PLOTS.get(name, 2), plot
        assert plot["marks"] >= 1, plot
        assert plot["width"] > 300, plot
        assert plot["height"] > 200, plot
    assert evaluate(browser, OVERFLOW) == 0
    screenshot(browser, f"report-{scheme}-{width}")


def test_tables_that_go_on_to_the_right_say_so_and_begin_with_f1(browser: Chrome) -> None:
    for width, goes_on in ((400, True), (1600, False)):
        resize(browser, width, 1000)
        WebDriverWait(browser, 10).until(
            lambda browser, goes_on=goes_on: evaluate(browser, BY_LABEL)["is_said"] is goes_on
        )
        table = evaluate(browser, BY_LABEL)
        assert (table["table"] > table["box"]) is goes_on
        assert table["f1"] < table["box"]


@pytest.mark.parametrize(("width", "n_columns"), [(1600, 4), (400, 1)])
def test_slices_fit_their_box(browser: Chrome, width: int, n_columns: int) -> None:
    resize(browser, width, 1000)
    WebDriverWait(browser, 10).until(
        lambda browser: evaluate(browser, f"{SLICE}.layout.grid.columns") == n_columns
    )
    assert evaluate(browser, f"{SLICE}.querySelector('.main-svg').clientWidth") < width
    box = evaluate(browser, f"(box => [box.scrollWidth, box.clientWidth])({SLICE}.parentElement)")
    assert box[0] == box[1]


def test_each_of_the_parallel_coordinates_has_its_name(browser: Chrome) -> None:
    resize(browser, 1600, 1000)
    named, axes = evaluate(browser, AXES)
    assert named == axes


def test_the_page_is_light_or_dark_as_its_reader_prefers(browser: Chrome) -> None:
    for scheme, is_light in (("light", True), ("dark", False)):
        prefer(browser, scheme)
        brightness = sum(map(int, re.findall(r"\d+", evaluate(browser, PAPER))))
        assert (brightness > 3 * 128) == is_light


def test_the_numbers_on_the_page_lie_beside_it(browser: Chrome, finished: FinishedRun) -> None:
    numbers = json.loads((finished.folder / "report" / "report.json").read_text())
    shown = browser.find_element("tag name", "main").text
    ensemble = numbers["outcome"]["comparison"]["values"]["ensemble"]
    for value in ensemble.values():
        assert f"{value:.4f}" in shown
    assert {"logistic regression", "default head"} == set(
        numbers["outcome"]["comparison"]["differences"]
    )
    for label in numbers["outcome"]["labels"]:
        assert f"{label['f1']:.3f}" in shown
        assert all(mistake["text"] is None for mistake in label["mistakes"])


def test_the_figures_are_there_as_images(finished: FinishedRun) -> None:
    images = {path.stem for path in (finished.folder / "report").glob("*.png")}
    assert images - MAY_BE_THERE == PLOTS.keys()


def test_it_is_written_anew_with_texts_for_those_who_ask(
    tagsweep: Tagsweep, finished: FinishedRun, small_csv: Path
) -> None:
    assert "report/index.html" in tagsweep("report", finished.folder, "--show-texts").stdout
    numbers = json.loads((finished.folder / "report" / "report.json").read_text())
    mistakes = [m for label in numbers["outcome"]["labels"] for m in label["mistakes"]]
    reviews = pd.read_csv(small_csv)["text"]
    assert mistakes
    assert all(mistake["text"] == reviews[mistake["row"] - 1] for mistake in mistakes)

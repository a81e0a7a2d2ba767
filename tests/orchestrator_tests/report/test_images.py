import logging
import sys
from pathlib import Path

import pytest

from orchestrator.report.drawings import draw_search
from orchestrator.report.images import write_images
from tests.orchestrator_tests.report.trials import make_trial

DRAWINGS = draw_search([make_trial(0)], 1, ["validation_loss"])


def test_figures_are_written_by_their_names(tmp_path: Path) -> None:
    write_images(tmp_path, DRAWINGS)
    assert {path.stem for path in tmp_path.iterdir()} == DRAWINGS.keys()
    for path in tmp_path.iterdir():
        assert path.read_bytes().startswith(b"\x89PNG")


def test_without_the_extra_there_are_none_and_the_log_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "kaleido", None)
    with caplog.at_level(logging.INFO):
        write_images(tmp_path, DRAWINGS)
    assert "no PNG files: no extra `png`. In tagsweep's checkout: pip install" in caplog.text
    assert not list(tmp_path.iterdir())


def test_without_a_browser_there_are_none_and_the_log_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("BROWSER_PATH", "/nowhere/chromium")
    with caplog.at_level(logging.INFO):
        write_images(tmp_path, DRAWINGS)
    assert "they need Chromium or Chrome" in caplog.text
    assert not list(tmp_path.iterdir())

"""Write figures as images, where there is what that takes."""

import importlib
import logging
from collections.abc import Mapping
from pathlib import Path

import plotly.io

from orchestrator.report.drawings import INK, Drawing

IMAGE_PX = {"width": 1000, "height": 600}

logger = logging.getLogger(__name__)


def write_images(folder: Path, drawings: Mapping[str, Drawing]) -> None:
    """Write each figure as NAME.png, by Kaleido in a Chromium or Chrome; without them, none."""
    try:
        importlib.import_module("kaleido")
    except ImportError:
        logger.info("The report has no PNG files: they need the extra `png`")
        return
    on_paper = {"paper_bgcolor": "white", "font_color": INK}
    figures = [d.figure.update_layout(**on_paper, **IMAGE_PX) for d in drawings.values()]
    try:
        plotly.io.write_images(figures, [folder / f"{name}.png" for name in drawings])
    except RuntimeError:  # what Plotly makes of Kaleido's error that there is none
        logger.info("The report has no PNG files: they need Chromium or Chrome")

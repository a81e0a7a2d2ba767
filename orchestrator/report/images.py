"""Write figures as images, where there is what that takes."""

import importlib
import logging
from collections.abc import Mapping
from pathlib import Path

import plotly.graph_objects as go
import plotly.io

from orchestrator.report.drawings import INK, Drawing
from shared.extras import way_to_install

WIDTH_PX, LEAST_HEIGHT_PX = 1000, 600

logger = logging.getLogger(__name__)


def write_images(folder: Path, drawings: Mapping[str, Drawing]) -> None:
    """Write each figure as NAME.png, by Kaleido in a Chromium or Chrome; without them, none."""
    try:
        importlib.import_module("kaleido")
    except ImportError:
        logger.info("The report has no PNG files: no extra `png`. %s", way_to_install("png"))
        return
    figures = [_on_paper(drawing.figure) for drawing in drawings.values()]
    try:
        plotly.io.write_images(figures, [folder / f"{name}.png" for name in drawings])
    except RuntimeError:  # what Plotly makes of Kaleido's error that there is none
        logger.info("The report has no PNG files: they need Chromium or Chrome")


def _on_paper(figure: go.Figure) -> go.Figure:
    """Return a figure on white, as high as its panels and labels need."""
    height = max(LEAST_HEIGHT_PX, figure.layout.height or 0)
    return figure.update_layout(
        paper_bgcolor="white", font_color=INK, width=WIDTH_PX, height=height
    )

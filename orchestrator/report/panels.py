"""Put small figures side by side in one, in rows of as many as fit."""

from collections.abc import Sequence
from math import ceil

import plotly.graph_objects as go

from orchestrator.report.figures import TEMPLATE

COLUMNS = 4
"""Panels in a row at most; the page has fewer where it is narrow."""
PANEL_PX = 280
"""The height of a row of panels, and the least width of a panel on the page."""
MARGINS_PX = 100
"""What stands above and below all rows."""


def beside_each_other(figures: Sequence[go.Figure]) -> go.Figure:
    """Join figures of one pair of axes each to one with a panel a figure, in their order.

    A name that several panels have stands in the legend once.
    """
    joined, named = go.Figure(), set()
    for i, figure in enumerate(figures, start=1):
        number = "" if i == 1 else str(i)
        for trace in figure.data:
            trace.update(
                xaxis=f"x{number}",
                yaxis=f"y{number}",
                legendgroup=trace.name,
                showlegend=trace.showlegend is not False and trace.name not in named,
            )
            named.add(trace.name)
            joined.add_trace(trace)
        joined.layout[f"xaxis{number}"] = figure.layout.xaxis
        joined.layout[f"yaxis{number}"] = figure.layout.yaxis
    n_columns = min(len(figures), COLUMNS)
    n_rows = ceil(len(figures) / n_columns)
    return joined.update_layout(
        template=TEMPLATE,
        grid={"rows": n_rows, "columns": n_columns, "pattern": "independent", "xgap": 0.25},
        height=height_px(n_rows),
    )


def height_px(n_rows: int) -> int:
    """Return the height of a figure with so many rows of panels; a single row has the usual one."""
    return max(450, n_rows * PANEL_PX + MARGINS_PX)

"""Measure whether a colour of a figure can be told from the paper behind it, in both themes."""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

LIGHT, DARK = "#ffffff", "#14171b"
"""The page's papers."""
HUE_ROTATE_180 = np.array([[-0.574, 1.430, 0.144], [0.426, 0.430, 0.144], [0.426, 1.430, -0.856]])
"""https://www.w3.org/TR/filter-effects-1/#huerotateEquivalent, with the page's 180 degrees."""


def worst_contrast(figure: go.Figure) -> float:
    """Return the least contrast of a figure's marks, on light paper and turned over on dark."""
    contrasts = [
        min(
            contrast(_over(colour, opacity, _rgb(LIGHT)), _rgb(LIGHT)),
            contrast(_over(_turned_over(colour), opacity, _rgb(DARK)), _rgb(DARK)),
        )
        for colour, opacity in _colours(figure)
    ]
    return min(contrasts)


def contrast(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    """Return the contrast ratio of two colours: https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio."""
    darker, lighter = sorted([_luminance(a), _luminance(b)])
    return (lighter + 0.05) / (darker + 0.05)


def _colours(figure: go.Figure) -> Iterator[tuple[npt.NDArray[np.float64], float]]:
    """Yield colour and opacity of each trace that shows anything, those of its ramp too."""
    cycle = figure.layout.template.layout.colorway
    for i, trace in enumerate(figure.data):
        if not any(value is not None for value in trace.x):
            continue
        own: list[Any] = []
        if trace.type == "scatter" and "lines" in trace.mode:
            own.append(trace.line.color)
        if trace.type == "bar" or "markers" in trace.mode:
            ramp = trace.marker.colorscale
            own += [trace.marker.color] if ramp is None else [colour for _, colour in ramp]
        for colour in own:
            yield _rgb(colour or cycle[i % len(cycle)]), trace.opacity or 1


def _rgb(colour: str) -> npt.NDArray[np.float64]:
    if colour.startswith("#"):
        return np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.array([float(part) / 255 for part in re.findall(r"[\d.]+", colour)[:3]])


def _turned_over(colour: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.clip(HUE_ROTATE_180 @ (1 - colour), 0, 1)


def _over(
    colour: npt.NDArray[np.float64], opacity: float, paper: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    return opacity * colour + (1 - opacity) * paper


def _luminance(colour: npt.NDArray[np.float64]) -> float:
    linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])

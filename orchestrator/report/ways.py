"""Gather how the ensemble was made, and what every way of making it gives."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_NAMES = {
    "best": "the best trial's members",
    "top": "the best trials' members, in equal shares",
    "greedy": "greedy selection",
    "kernel": "the kernel machine alone",
}


@dataclass(frozen=True)
class Way:
    """Hold what one way of making the ensemble gives: the headline's figure, nested.

    That is out of fold, with each fold's shares chosen on the others.
    """

    name: str
    is_taken: bool
    nested: float


@dataclass(frozen=True)
class Made:
    """Hold how the ensemble was made: its teams' shares by their names; the ways, if several."""

    shares: dict[str, float]
    ways: tuple[Way, ...]


def tell_ways(ensemble: Mapping[str, Any]) -> Made:
    """Gather from the metrics of an ensemble."""
    shares = {_name_of(team["trial"]): team["share"] for team in ensemble["teams"] if team["share"]}
    ways = tuple(
        Way(
            name=_NAMES[way],
            is_taken=way == ensemble["source"],
            nested=found["nested"],
        )
        for way, found in ensemble.get("ways", {}).items()
    )
    return Made(shares, ways)


def _name_of(trial: int | None) -> str:
    return "the kernel machine" if trial is None else f"trial {trial}"

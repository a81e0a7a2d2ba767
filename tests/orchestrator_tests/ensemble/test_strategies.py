import numpy as np
import pytest

from orchestrator.ensemble.candidates import Candidate
from orchestrator.ensemble.members import Team, kernel_team, train_teams
from orchestrator.ensemble.strategies import choose_each, measure_each
from shared.config.sections import TrainingConfig
from shared.metrics import average_precision
from shared.store import Store
from shared.training.params import HeadParams, LayerParams
from workers import SearchArrays

WIDTHS = {"first": 3, "second": 5}
KNOWN = np.arange(120)
FOLDS = [(np.setdiff1d(KNOWN, KNOWN[i::3]), KNOWN[i::3]) for i in range(3)]


def _candidate(trial: int, units: int) -> Candidate:
    layers = (LayerParams(units, "relu", 0.1),)
    params = HeadParams(layers, 16, 1e-2, "adam", 0.0, False, 0.0, "cross_entropy", 2.0)
    return Candidate(trial, params, f"key-{trial}")


@pytest.fixture(scope="module")
def teams(arrays: SearchArrays, tmp_path_factory: pytest.TempPathFactory) -> list[Team]:
    trained = train_teams(
        [_candidate(4, 16), _candidate(9, 4)],
        arrays.vectors,
        WIDTHS,
        arrays.labels,
        FOLDS,
        TrainingConfig(max_epochs=6),
        0,
        Store(str(tmp_path_factory.mktemp("store"))),
        lambda *_: None,
        lambda *_: None,
    )
    first = arrays.vectors[:, :3]
    return [*trained, kernel_team(("first",), first, arrays.labels, FOLDS, "multilabel", 0)]


@pytest.fixture(scope="module")
def measured(arrays: SearchArrays, teams: list[Team]) -> dict[str, dict[str, float]]:
    choices = choose_each(teams, arrays.labels, FOLDS)
    return measure_each(choices, arrays.labels, KNOWN, "ap_macro")


def test_a_kernel_machine_is_no_trial(arrays: SearchArrays, teams: list[Team]) -> None:
    choices = choose_each(teams, arrays.labels, FOLDS)
    assert choices["best"].shares == (1, 0, 0)
    assert choices["top"].shares == (0.5, 0.5, 0)
    assert choices["kernel"].shares == (0, 0, 1)
    assert sum(choices["greedy"].shares) == pytest.approx(1)


def test_without_one_there_is_no_such_way(arrays: SearchArrays, teams: list[Team]) -> None:
    assert list(choose_each(teams[:2], arrays.labels, FOLDS)) == ["best", "top", "greedy"]


def test_each_way_is_measured_on_known_rows_and_no_other(
    measured: dict[str, dict[str, float]], arrays: SearchArrays, teams: list[Team]
) -> None:
    assert list(measured) == ["best", "top", "greedy", "kernel"]
    assert all(found.keys() == {"out_of_fold", "nested"} for found in measured.values())
    by_hand = average_precision(arrays.labels[KNOWN], teams[2].out_of_fold[KNOWN], ("a", "b", "c"))
    assert measured["kernel"]["nested"] == pytest.approx(by_hand.ap_macro)


def test_only_what_was_chosen_by_labels_is_optimistic_out_of_fold(
    measured: dict[str, dict[str, float]],
) -> None:
    assert measured["top"]["nested"] == measured["top"]["out_of_fold"]
    assert measured["greedy"]["nested"] <= measured["greedy"]["out_of_fold"] + 1e-3

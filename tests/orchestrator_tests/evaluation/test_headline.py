import pytest

from orchestrator.evaluation.headline import (
    Figure,
    Interval,
    figure_of,
    headline,
    read_comparison,
    verdict,
)
from shared.config.sections import Objective
from shared.training.params import Task
from tests.tiny_bundle import comparison_of

METRICS = {
    "comparison": comparison_of("ap_macro"),
    "regularisation": {"C": 31.6, "is_standardised": False, "description": "C = 31.6"},
}


def test_it_is_the_figure_with_its_interval_and_the_difference_to_each_baseline() -> None:
    ours, regression, head = headline(METRICS)
    assert ours == "Macro average precision on the test split: 0.9000 [0.8500, 0.9500]"
    assert regression.startswith("Against logistic regression (C = 31.6): -0.0010 [-0.0050, +0.00")
    assert head == "Against a default head: +0.0200 [+0.0100, +0.0300], better"


@pytest.mark.parametrize(
    ("objective", "task", "figure"),
    [
        ("validation_loss", "multilabel", "ap_weighted"),
        ("validation_loss", "multiclass", "accuracy"),
        ("ap_macro", "multilabel", "ap_macro"),
        ("ap_weighted", "multiclass", "ap_weighted"),
    ],
)
def test_a_study_is_judged_by_what_it_was_asked_for(
    objective: Objective, task: Task, figure: Figure
) -> None:
    assert figure_of(objective, task) == figure


def test_a_difference_whose_interval_holds_0_is_none() -> None:
    intervals = [Interval(0, low, high) for low, high in ((0.1, 0.2), (-0.2, -0.1), (-0.1, 0.1))]
    assert list(map(verdict, intervals)) == ["better", "worse", "not told apart by these rows"]


def test_a_comparison_is_read_as_it_was_written() -> None:
    compared = read_comparison(METRICS)
    assert compared.figure == "ap_macro"
    assert compared.differences["default_head"] == Interval(0.02, 0.01, 0.03)

"""Measure probabilities, and how sure the difference of two is."""

from collections.abc import Sequence

import numpy as np

from benchmarks.quality.rivals import Problem, Said
from orchestrator.decisions.decide import decide
from orchestrator.evaluation.bootstrap import drawn_differences, p_value_of
from orchestrator.evaluation.quality import f1
from orchestrator.evaluation.scores import Scores
from shared.config.sections import DecisionsConfig
from shared.metrics import average_precision

HALF = 0.5


def measure(said: Said, problem: Problem) -> dict[str, float]:
    """Measure on the test rows: average precision, and macro F1 at 0.5 and at tuned thresholds.

    Thresholds are tuned for F1 on what was said out of fold, the same way for all.
    """
    truth = problem.labels[problem.split.test]
    names = [str(i) for i in range(truth.shape[1])]
    ranked = average_precision(truth, said.test, names)
    tuning = DecisionsConfig(calibration="none")
    known = problem.labels[problem.known]
    folds = [np.searchsorted(problem.known, held_out) for _, held_out in problem.folds]
    decided = decide(known, said.out_of_fold, folds, tuning, "multilabel")
    return {
        "ap_weighted": ranked.ap_weighted,
        "ap_macro": ranked.ap_macro,
        "f1_macro_half": f1(truth, said.test >= HALF)["f1_macro"],
        "f1_macro_tuned": f1(truth, said.test >= np.array(decided.thresholds))["f1_macro"],
    }


def compare(
    ours: Sequence[Said], theirs: Sequence[Said], problems: Sequence[Problem]
) -> dict[str, object]:
    """Compare weighted average precision, seed by seed and in the mean, by a paired bootstrap.

    Each seed's test rows are drawn for themselves. They overlap between seeds, as a fifth of the
    same data each, so that the p-value of the mean is a little too small; those of seeds are not.
    """
    drawn = [
        drawn_differences(_scores(a, problem), _scores(b, problem), problem.seed)
        for a, b, problem in zip(ours, theirs, problems, strict=True)
    ]
    together = np.mean(drawn, axis=0)
    low, high = np.quantile(together, [0.025, 0.975])
    return {
        "difference_interval": [round(float(low), 5), round(float(high), 5)],
        "p_value": p_value_of(together),
        "p_value_by_seed": [p_value_of(one) for one in drawn],
    }


def _scores(said: Said, problem: Problem) -> Scores:
    rows = problem.split.test
    return Scores(rows, problem.labels[rows], said.test)

from optuna.trial import TrialState

from orchestrator.report.facts import tell_cost
from shared.study.attributes import RESUMED_AT
from tests.orchestrator_tests.report.trials import make_trial


def test_time_with_several_trials_at_a_worker_counts_once() -> None:
    trials = [
        make_trial(0, start_s=0, end_s=10),
        make_trial(1, start_s=5, end_s=12),
        make_trial(2, start_s=6, end_s=7),
        make_trial(3, start_s=20, end_s=21),
        make_trial(4, worker="worker-1", start_s=0, end_s=3),
    ]
    cost = tell_cost(trials, 7.0, 21.0, None)
    assert (cost.worker_s, cost.n_workers) == (12 + 1 + 3, 2)


def test_what_pruning_saved_is_measured_by_the_median_of_the_complete_trials() -> None:
    trials = [make_trial(i, epochs=n) for i, n in enumerate([4, 10, 30])]
    trials += [make_trial(3, TrialState.PRUNED, epochs=1), make_trial(4, TrialState.PRUNED)]
    trials.append(make_trial(5, TrialState.PRUNED, epochs=20))
    cost = tell_cost(trials, None, 1.0, 2.0)
    assert cost.epochs == 4 + 10 + 30 + 1 + 4 + 20
    assert cost.epochs_saved == (10 - 1) + (10 - 4), "one that outlasted the median saves nothing"
    assert cost.worker_s_saved == round(cost.worker_s * 15 / 69, 1)


def test_epochs_that_a_trial_went_on_after_count_once() -> None:
    lost, again = make_trial(0, TrialState.FAIL, epochs=50), make_trial(1, epochs=60)
    again.set_user_attr(RESUMED_AT, 50)
    assert tell_cost([lost, again], None, 1.0, 2.0).epochs == 60


def test_a_search_without_a_trial_costs_nothing() -> None:
    cost = tell_cost([], None, 0.0, None)
    assert (cost.worker_s, cost.epochs, cost.worker_s_saved) == (0, 0, 0)

from orchestrator.report.excerpt import chosen
from tests.orchestrator_tests.report.trials import make_trial


def test_of_many_trials_the_best_and_the_records_are_chosen() -> None:
    complete = [make_trial(i) for i in range(500)]
    kept = chosen(complete, 40, "validation_loss")
    ranked = sorted(complete, key=lambda trial: trial.value or 0)
    assert {trial.number for trial in ranked[:20]} <= {trial.number for trial in kept}
    assert kept[0].number == 0, "it was the best when it ended"
    assert len(kept) <= 50
    assert [trial.number for trial in kept] == sorted(trial.number for trial in kept)

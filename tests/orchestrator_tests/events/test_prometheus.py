import urllib.request
from typing import Any

from optuna.trial import TrialState, create_trial
from prometheus_client.parser import text_string_to_metric_families

from orchestrator.events.prometheus import Exposition, served
from shared.config.sections import WatchConfig
from shared.study.study import StudyProgress
from tests.ports import free_port


def _ended(event: str, state: str, epochs: int | None, seconds: float | None) -> dict[str, Any]:
    return {"event": event, "state": state, "epochs": epochs, "seconds": seconds}


def _progress(best: float | None) -> StudyProgress:
    trial = None if best is None else create_trial(state=TrialState.COMPLETE, value=best)
    return StudyProgress(complete=1, pruned=1, failed=1, running=3, waiting=2, best=trial)


def _served(exposition: Exposition) -> dict[str, float]:
    """Return what an HTTP client gets: names and states to numbers, all of one study."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/metrics"
    with (
        served(exposition, WatchConfig(metrics_port=port)),
        urllib.request.urlopen(url, timeout=10) as answer,
    ):
        text = answer.read().decode()
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            assert sample.labels.pop("study") == "s"
            found[" ".join([sample.name, *sample.labels.values()])] = sample.value
    return found


def test_trials_are_counted_by_their_ends() -> None:
    exposition = Exposition("s", 40)
    for event in (
        _ended("trial_finished", "COMPLETE", 7, 0.3),
        _ended("trial_finished", "PRUNED", 2, 0.05),
        _ended("trial_failed", "FAIL", 1, 0.05),
        _ended("trial_lost", "FAIL", None, None),
        {"event": "trial_retried"},
        {"event": "worker_lost"},
        {"event": "stage_started"},
    ):
        exposition.count(event)
    found = _served(exposition)
    for state in ("complete", "pruned", "failed", "lost"):
        assert found[f"tagsweep_trials_total {state}"] == 1
    assert found["tagsweep_epochs_total"] == 10
    assert found["tagsweep_retries_total"] == found["tagsweep_workers_lost_total"] == 1
    assert found["tagsweep_database_outages_total"] == 0
    assert found["tagsweep_trial_duration_seconds_count"] == 3
    assert found["tagsweep_trial_duration_seconds_bucket 0.1"] == 2


def test_the_standing_of_the_search_is_shown() -> None:
    exposition = Exposition("s", 40)
    exposition.show(2, _progress(None), 100.0)
    assert "tagsweep_best_value" not in _served(exposition)
    exposition.show(1, _progress(0.25), 100.5)
    found = _served(exposition)
    assert found["tagsweep_budget_trials"] == 40
    assert found["tagsweep_best_value"] == 0.25
    assert found["tagsweep_search_seconds_total"] == 100.5
    running = (found["tagsweep_trials_running"], found["tagsweep_trials_waiting"])
    assert (*running, found["tagsweep_workers"]) == (3, 2, 1)

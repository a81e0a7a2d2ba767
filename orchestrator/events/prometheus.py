"""Show the figures of a search to Prometheus."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from shared.config.sections import WatchConfig
from shared.errors import InputError
from shared.study.study import StudyProgress

BUCKETS_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)
"""Upper bounds of the durations of trials, in seconds."""
TRIAL_ENDS = {
    "trial_finished": None,
    "trial_failed": "failed",
    "trial_lost": "lost",
    "trial_handed_back": "handed_back",
}
"""The events that end a trial, and how their trials are counted; None: by the trial's state."""

Metric = TypeVar("Metric", Counter, Gauge)


class Exposition:
    """Count what happens in one study, in a registry of its own.

    Trials that ended before this driver came count as soon as it has read them.
    """

    def __init__(self, study: str, n_trials: int) -> None:
        """Know of the budget only."""
        self.registry = CollectorRegistry()
        self._study, self._searched_s = study, 0.0
        self._trials = Counter(
            "tagsweep_trials", "Trials that ended.", ("study", "state"), registry=self.registry
        )
        self._durations = Histogram(
            "tagsweep_trial_duration_seconds",
            "How long trials were in training.",
            ("study",),
            registry=self.registry,
            buckets=BUCKETS_S,
        )
        self._best = self._new(Gauge, "best_value", "The best trial's first value.")
        self._epochs = self._new(Counter, "epochs", "Epochs of the trials that ended.")
        self._search = self._new(Counter, "search_seconds", "The time of all searches so far.")
        self._counters = {
            "trial_retried": self._new(Counter, "retries", "Trials enqueued again."),
            "worker_lost": self._new(Counter, "workers_lost", "Workers that died for good."),
            "database_away": self._new(Counter, "database_outages", "Outages of the database."),
        }
        self._gauges = {
            "running": self._new(Gauge, "trials_running", "Trials in training."),
            "waiting": self._new(Gauge, "trials_waiting", "Trials enqueued."),
            "workers": self._new(Gauge, "workers", "Workers at work."),
        }
        for metric in (self._epochs, self._search, *self._counters.values()):
            metric.labels(study)
        self._new(Gauge, "budget_trials", "Trials that are to finish.").labels(study).set(n_trials)

    def count(self, event: Mapping[str, Any]) -> None:
        """Take in an event; most are counted nowhere."""
        name = event["event"]
        if name in self._counters:
            self._counters[name].labels(self._study).inc()
        if name not in TRIAL_ENDS:
            return
        state = TRIAL_ENDS[name] or event["state"].lower()
        self._trials.labels(self._study, state).inc()
        self._epochs.labels(self._study).inc(event["epochs"] or 0)
        if event["seconds"] is not None:
            self._durations.labels(self._study).observe(event["seconds"])

    def show(self, n_workers: int, progress: StudyProgress, searched_s: float) -> None:
        """Take in how the search stands, after `searched_s` seconds, all its starts together."""
        now = {"running": progress.running, "waiting": progress.waiting, "workers": n_workers}
        for name, value in now.items():
            self._gauges[name].labels(self._study).set(value)
        if progress.best is not None:
            self._best.labels(self._study).set(progress.best.values[0])
        self._search.labels(self._study).inc(max(0.0, searched_s - self._searched_s))
        self._searched_s = searched_s

    def _new(self, kind: type[Metric], name: str, text: str) -> Metric:
        return kind(f"tagsweep_{name}", text, ("study",), registry=self.registry)


@contextmanager
def served(exposition: Exposition, config: WatchConfig) -> Iterator[None]:
    """Serve the figures, if a port is configured, for as long as the block lasts.

    Raises InputError when nothing can listen there.
    """
    if config.metrics_port is None:
        yield
        return
    host, port = config.metrics_host, config.metrics_port
    try:
        server, thread = start_http_server(port, host, exposition.registry)
    except OSError as error:
        raise InputError(
            f"Metrics cannot be served at {host}:{port}: {error.strerror}. Choose another port with"
            " --metrics-port, or another watch.metrics_host."
        ) from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

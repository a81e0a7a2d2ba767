"""Assemble the ensemble of a searched study: train its candidates, and choose among them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console

from orchestrator.data.prepare import Prepared
from orchestrator.data.splits import make_folds
from orchestrator.ensemble.candidates import Candidate
from orchestrator.ensemble.members import Ensemble, Fold, Team, join, kernel_team, train_teams
from orchestrator.ensemble.progress import EnsembleReporter, Work
from orchestrator.ensemble.selection import Choice
from orchestrator.ensemble.strategies import choose_each, measure_each
from orchestrator.evaluation.headline import Figure
from orchestrator.events.events import Events
from orchestrator.runs.run import Run
from orchestrator.terminal.progress import show_progress, show_wait
from shared.training.inputs import columns_of


@dataclass(frozen=True)
class Assembled:
    """Hold the ensemble, the teams that it could have, and what each way of choosing chose.

    `folds` are those of the members: the training rows and the held-out rows of each.
    """

    ensemble: Ensemble
    teams: list[Team]
    folds: list[Fold]
    choices: dict[str, Choice]


def assemble(
    run: Run,
    prepared: Prepared,
    candidates: Sequence[Candidate],
    has_kernel: bool,
    console: Console,
    events: Events,
    hold: Callable[[], None],
    reporter: EnsembleReporter,
) -> Assembled:
    """Train the candidates' members, with a kernel machine or not, and join them.

    `ensemble.source` says how; `hold` is called for each member.
    """
    config, dataset, split = run.config, prepared.dataset, prepared.split
    vectors, widths, labels = prepared.vectors, prepared.widths, dataset.labels
    seed = config.study.seed
    known = np.sort(np.concatenate([split.train, split.valid]))
    folds = make_folds(dataset, prepared.groups, known, config.ensemble.n_folds, seed)
    n_members = len(candidates) * len(folds)

    def on_member(trial: int, fold: int, epochs: int) -> None:
        hold()
        reporter.follow_member(trial, fold)
        events.write("fold_done", trial=trial, fold=fold, epochs=epochs)

    with show_progress(console, "Ensemble", n_members) as update:
        teams = train_teams(
            candidates,
            vectors,
            widths,
            labels,
            folds,
            config.training,
            seed,
            run.store,
            lambda n_done, *epoch: update(n_done, reporter.follow_epoch(n_done, *epoch)),
            on_member,
        )
        update(n_members, "")
    if has_kernel:
        encoders = candidates[0].params.inputs.encoders
        own = columns_of(encoders, widths, vectors)
        reporter.begin(Work.KERNEL)
        with show_wait(console, "Fitting the kernel machine"):
            teams.append(kernel_team(encoders, own, labels, folds, dataset.task, seed))
    choices = choose_each(teams, labels, folds)
    ensemble = join(teams, choices[config.ensemble.source].shares, widths)
    return Assembled(ensemble, teams, folds, choices)


def describe_ensemble(
    run: Run,
    prepared: Prepared,
    candidates: Sequence[Candidate],
    assembled: Assembled,
    figure: Figure,
) -> dict[str, Any]:
    """Return what the ensemble consists of, and what other ways had given, as plain values."""
    source, split = run.config.ensemble.source, prepared.split
    shares = assembled.choices[source].shares
    described: dict[str, Any] = {
        "source": source,
        "members_key": candidates[0].key,
        "teams": [
            {"trial": team.trial, "share": share}
            for team, share in zip(assembled.teams, shares, strict=True)
        ],
    }
    if len(assembled.teams) > 1:
        known = np.sort(np.concatenate([split.train, split.valid]))
        labels = prepared.dataset.labels
        described["ways"] = measure_each(assembled.choices, labels, known, figure)
    return described

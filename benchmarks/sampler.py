"""Compare samplers by what they find and what they cost, on a model of a real search."""

import os
import tempfile
import time
import warnings
from collections import deque
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import optuna
import typer
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import TrialState
from sklearn.ensemble import ExtraTreesRegressor

from benchmarks.results import publish
from orchestrator.data.dataset import load_dataset
from orchestrator.data.duplicates import group_texts
from orchestrator.data.embeddings import embed
from orchestrator.data.splits import make_split
from shared.config.sections import DataConfig, EncoderConfig
from shared.config.space import SpaceConfig
from shared.config.sweep import SweepConfig
from shared.encoding.encoder import resolve_encoder
from shared.study.sampler.history import History
from shared.study.sampler.tpe import FastTPESampler
from shared.study.space import suggest
from shared.study.tables.trials import Begun
from shared.training.params import HeadParams

DATA = Path(os.environ.get("TAGSWEEP_TEST_DATA", "../shared/data")) / "emotions.csv"
WIDTHS = {"all-MiniLM-L6-v2": 384}
N_RUNNING = 64
"""Trials that run at a time: so many asks know nothing of each other's values."""
N_TIMED = 50
"""How many of the last asks are timed."""
NOISE = 1e-3
"""What the seed of a training does to its loss."""
ACTIVATIONS = ("relu", "linear", "swish")
MAX_LAYERS = 3


def main(
    trials: Annotated[int, typer.Option(help="Trials of a search.")] = 2000,
    seeds: Annotated[int, typer.Option(help="Searches with each sampler.")] = 4,
    known: Annotated[int, typer.Option(help="Real trials that the model learns from.")] = 200,
) -> None:
    """Train random heads for real, model their losses, and search the model with each sampler."""
    model, share_explained = _model(known)
    jobs = [(name, seed, trials, model) for name in CONTENDERS for seed in range(seeds)]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(_search, jobs))
    found: dict[str, Any] = {"trials": trials, "seeds": seeds, "r2_of_model": share_explained}
    for name in CONTENDERS:
        own = [result for (other, *_), result in zip(jobs, results, strict=True) if other == name]
        found[name] = {
            f"best_of_{n}": [round(float(np.min(values[:n])), 4) for values, _ in own]
            for n in (100, 500, 1000, trials)
        } | {
            "mean_of_last_500": [round(float(np.mean(values[-500:])), 4) for values, _ in own],
            "ms_per_ask_at_the_end": round(float(np.mean([ms for _, ms in own])), 1),
        }
    publish("sampler", found)


def _model(n_known: int) -> tuple[Any, float]:
    """Return a model of the validation loss by hyperparameters, and its cross-validated R2."""
    from sklearn.model_selection import cross_val_score

    from orchestrator.ensemble.fit import Job, fit
    from shared.training.matrix import Matrix
    from shared.training.trainer import Trainer

    dataset = load_dataset(DataConfig(csv=DATA))
    encoder = resolve_encoder(EncoderConfig())
    cache = Path(tempfile.gettempdir()) / "tagsweep-benchmark-embeddings"
    vectors = embed(dataset.texts, encoder, cache, lambda *_: None).vectors
    groups = group_texts(dataset.texts, [vectors])
    split = make_split(dataset, groups, DataConfig(csv=DATA), 0)
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    heads = [suggest(study.ask(), SpaceConfig(), WIDTHS) for _ in range(n_known)]
    config = SweepConfig().training
    matrix = Matrix(vectors, dataset.labels, config.matrix_dtype, widths=WIDTHS)
    trainer = Trainer(matrix, config, 1, 128, 3)
    losses = np.zeros(n_known)
    jobs = [Job(i, head, i, split.train, split.valid) for i, head in enumerate(heads)]
    for result in fit(trainer, jobs, lambda _: None):
        losses[result.key] = result.best_value
    model = ExtraTreesRegressor(100, random_state=0, n_jobs=1)
    features = np.array([_features(head) for head in heads])
    explained = float(np.mean(cross_val_score(model, features, losses, cv=5)))
    return model.fit(features, losses), round(explained, 3)


def _features(head: HeadParams) -> list[float]:
    features = [float(len(head.layers)), np.log(head.batch_size)]
    for i in range(MAX_LAYERS):
        if i < len(head.layers):
            layer = head.layers[i]
            one_hot = [float(layer.activation == kind) for kind in ACTIVATIONS]
            features += [np.log(layer.units), layer.dropout, *one_hot]
        else:
            features += [0.0] * (2 + len(ACTIVATIONS))
    return features


class OptunaSearch:
    """Search with a sampler as Optuna has it, the study in memory."""

    def __init__(self, sampler: BaseSampler) -> None:
        self._study = optuna.create_study(sampler=sampler)

    def ask(self, _number: int) -> HeadParams:
        return suggest(self._study.ask(), SpaceConfig(), WIDTHS)

    def tell(self, number: int, value: float) -> None:
        self._study.tell(number, value)


class TagsweepSearch:
    """Search with tagsweep's sampler over a history that is told by hand."""

    def __init__(self, seed: int) -> None:
        sampler = FastTPESampler(seed, n_startup_trials=10)
        self._history = History(optuna.create_study(), sampler)

    def ask(self, number: int) -> HeadParams:
        params = suggest(self._history.begin(Begun(number, number)), SpaceConfig(), WIDTHS)
        self._history.end_of_asking(number)
        return params

    def tell(self, number: int, value: float) -> None:
        self._history.finish(number, TrialState.COMPLETE, [value], {})


CONTENDERS: dict[str, Callable[[int], OptunaSearch | TagsweepSearch]] = {
    "random": lambda seed: OptunaSearch(RandomSampler(seed=seed)),
    "optuna": lambda seed: OptunaSearch(TPESampler(seed=seed, constant_liar=True)),
    "optuna_group": lambda seed: OptunaSearch(
        TPESampler(seed=seed, constant_liar=True, multivariate=True, group=True)
    ),
    "tagsweep": TagsweepSearch,
}


def _search(job: tuple[str, int, int, Any]) -> tuple[list[float], float]:
    """Return the values in the order of asking, and the milliseconds of one of the last asks."""
    name, seed, n_trials, model = job
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", ExperimentalWarning)
    search, rng = CONTENDERS[name](seed), np.random.default_rng(seed)
    running: deque[tuple[int, HeadParams]] = deque()
    values, spent_s = [], 0.0
    for number in range(n_trials):
        started = time.process_time()
        running.append((number, search.ask(number)))
        if number >= n_trials - N_TIMED:
            spent_s += time.process_time() - started
        if len(running) == N_RUNNING:
            ended, params = running.popleft()
            values.append(float(model.predict([_features(params)])[0]))
            search.tell(ended, values[-1] + NOISE * rng.standard_normal())
    return values, 1e3 * spent_s / N_TIMED


if __name__ == "__main__":
    typer.run(main)

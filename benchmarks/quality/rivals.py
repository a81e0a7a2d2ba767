"""Train what tagsweep is compared with, and let it say what it thinks of rows it has not seen."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from tempfile import TemporaryDirectory

import keras
import numpy as np
import numpy.typing as npt
import optuna
from sklearn.linear_model import LogisticRegression

from orchestrator.bundle.predict import predict_vectors
from orchestrator.data.splits import Split
from orchestrator.ensemble.candidates import Candidate
from orchestrator.ensemble.fit import Job, fit
from orchestrator.ensemble.members import Fold, train_teams
from shared.config.sweep import SweepConfig
from shared.store import Store
from shared.study.space import suggest
from shared.training.matrix import Matrix
from shared.training.trainer import Trainer

Floats = npt.NDArray[np.float32]
Predict = Callable[[Floats], Floats]
Fit = Callable[[Floats, Floats], Predict]
"""Takes vectors and labels, gives what gives vectors their probabilities."""
SETFIT_EPOCHS, SETFIT_BATCH, SETFIT_RATE, SETFIT_DECAY = 16, 16, 1e-2, 1e-2
"""The defaults of SetFit's differentiable head; its epochs are those of its quickstart."""


@dataclass(frozen=True)
class Said:
    """Hold (n_known, L) probabilities out of fold and (n_test, L) ones of the test rows."""

    out_of_fold: Floats
    test: Floats


@dataclass(frozen=True)
class Problem:
    """Hold the data that all are given: (n, d) vectors, (n, L) labels, their split and folds."""

    vectors: Floats
    labels: Floats
    split: Split
    known: npt.NDArray[np.int64]
    folds: Sequence[Fold]
    seed: int


def logistic_regression(problem: Problem) -> Said:
    """Fit one-vs-rest logistic regression, as scikit-learn has it by default."""

    def fit_one(x: Floats, y: Floats) -> Predict:
        fits = [LogisticRegression(max_iter=1000).fit(x, column) for column in y.T]
        return lambda vectors: np.stack([f.predict_proba(vectors)[:, 1] for f in fits], axis=1)

    return _said(problem, fit_one)


def setfit_head(problem: Problem) -> Said:
    """Train a linear head as SetFit trains its differentiable one, the encoder frozen.

    AdamW on binary cross-entropy, without validation rows. Tunstall et al. 2022, "Efficient
    few-shot learning without prompts"; https://huggingface.co/docs/setfit.
    """

    def fit_one(x: Floats, y: Floats) -> Predict:
        keras.utils.set_random_seed(problem.seed)
        inputs = keras.Input((x.shape[1],))
        head = keras.Model(inputs, keras.layers.Dense(y.shape[1], activation="sigmoid")(inputs))
        head.compile(keras.optimizers.AdamW(SETFIT_RATE, SETFIT_DECAY), "binary_crossentropy")
        head.fit(x, y, batch_size=SETFIT_BATCH, epochs=SETFIT_EPOCHS, verbose=0)
        return lambda vectors: np.asarray(head.predict(vectors, verbose=0))

    return _said(problem, fit_one)


def article(problem: Problem, n_trials: int) -> Said:
    """Search as the article does, and train the folds of the best trial.

    Optuna's TPE from a random start, no pruning, one trial after the other. Heads are trained by
    tagsweep's trainer, which does what `model.fit` does (tests compare them), but sooner.
    """
    config = SweepConfig()
    widths, split = {"encoder": problem.vectors.shape[1]}, problem.split
    matrix = Matrix(problem.vectors, problem.labels, widths=widths)
    trainer = Trainer(
        matrix, config.training, 1, config.space.batch_size.high, config.space.n_layers.high
    )

    def objective(trial: optuna.Trial) -> float:
        params = suggest(trial, config.space, widths)
        seed = problem.seed * 1000 + trial.number
        job = Job(trial.number, params, seed, split.train, split.valid)
        (result,) = fit(trainer, [job], lambda _: None)
        return result.best_value

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=problem.seed))
    study.optimize(objective, n_trials=n_trials)
    params = suggest(optuna.trial.FixedTrial(study.best_params), config.space, widths)
    with TemporaryDirectory() as folder:
        (team,) = train_teams(
            [Candidate(study.best_trial.number, params, "article")],
            problem.vectors,
            widths,
            problem.labels,
            problem.folds,
            config.training,
            problem.seed,
            Store(folder),
            lambda *_: None,
            lambda *_: None,
        )
    test_vectors = problem.vectors[split.test]
    said = [predict_vectors(member, test_vectors) for member in team.members]
    return Said(team.out_of_fold[problem.known], np.mean(said, axis=0))


def _said(problem: Problem, fit_one: Fit) -> Said:
    """Fit on each fold for what is said out of fold, and on all known rows for the test rows."""
    x, y = problem.vectors, problem.labels
    out_of_fold = np.full(y.shape, np.nan, dtype=np.float32)
    for train, held_out in problem.folds:
        out_of_fold[held_out] = fit_one(x[train], y[train])(x[held_out])
    test = fit_one(x[problem.known], y[problem.known])(x[problem.split.test])
    return Said(out_of_fold[problem.known], test.astype(np.float32))

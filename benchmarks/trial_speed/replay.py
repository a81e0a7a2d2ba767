"""Train again what a study's trials trained, without study and workers: the arithmetic alone."""

import json
import sys
import time
from pathlib import Path

import optuna
from rich.console import Console

from benchmarks.trial_speed.tagsweep import RUN
from orchestrator.data.prepare import prepare
from orchestrator.runs.run import database_of, load_run
from shared.study.attributes import EPOCHS
from shared.study.space import params_of
from shared.study.tables.storage import open_storage


def replay(folder: Path, study_name: str) -> float:
    """Return the processor time in seconds of all epochs of a study's trials, one after another."""
    run = load_run(folder / RUN, None, {})
    prepared = prepare(run, Console(quiet=True))
    with database_of(run) as url:
        trials = optuna.load_study(study_name=study_name, storage=open_storage(url)).trials
    from shared.training.matrix import Matrix
    from shared.training.trainer import Trainer

    config, vectors = run.config, prepared.vectors
    matrix = Matrix(vectors, prepared.dataset.labels, widths=prepared.widths)
    trainer = Trainer(matrix, config.training, 1, 128, 3)
    rows = (prepared.split.train, prepared.split.valid)
    spent = 0.0
    for trial in trials:
        head = params_of(trial, config.space, prepared.widths)
        for is_traced in (False, True):
            before = time.process_time()
            trainer.add(trial.number, head, trial.number, *rows)
            for _ in range(trial.user_attrs[EPOCHS] if is_traced else 1):
                if trainer.advance()[0].ending is not None:
                    break
            trainer.remove(trial.number)
            spent += is_traced * (time.process_time() - before)
    return spent


if __name__ == "__main__":
    print(json.dumps(replay(Path(sys.argv[1]), sys.argv[2])))

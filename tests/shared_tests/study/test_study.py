import json
import subprocess
import sys
import threading

import optuna
import pytest
from optuna.trial import TrialState

from shared.config.sweep import SweepConfig, parse_config, with_values
from shared.errors import InputError
from shared.study.attributes import UUID
from shared.study.study import (
    accept_config,
    accept_outcome,
    load_study,
    open_study,
    read_config,
    read_progress,
)
from shared.study.tables.storage import opened_storage
from shared.study.tables.study_storage import StudyStorage

CONFIG = SweepConfig()


def test_a_new_study_keeps_its_configuration(storage: StudyStorage, study_name: str) -> None:
    assert read_config(storage, study_name) is None
    open_study(storage, study_name, CONFIG, "f")
    assert read_config(storage, study_name) == CONFIG


def test_a_study_is_opened_again_with_a_larger_budget(
    storage: StudyStorage, study_name: str
) -> None:
    open_study(storage, study_name, CONFIG, "f").ask()
    larger = with_values(CONFIG, {"study": {"n_trials": 500}})
    study = open_study(storage, study_name, larger, "f")
    assert len(study.trials) == 1
    assert read_config(storage, study_name) == CONFIG, "only its driver may change it"
    accept_config(study, storage, larger)
    assert read_config(storage, study_name) == larger


def test_who_makes_the_ensemble_leaves_the_search_as_its_driver_has_it(
    storage: StudyStorage, study_name: str
) -> None:
    study = open_study(storage, study_name, CONFIG, "f")
    values = {"study": {"n_trials": 500}, "decisions": {"threshold": "half"}}
    accept_outcome(study, storage, with_values(CONFIG, values))
    assert read_config(storage, study_name) == with_values(
        CONFIG, {"decisions": {"threshold": "half"}}
    )


def test_processes_that_create_a_study_at_once_all_get_the_same(
    postgres_url: str, storage: StudyStorage, study_name: str
) -> None:
    start, found = threading.Barrier(4), []

    def work() -> None:
        with opened_storage(postgres_url) as own:
            start.wait()
            found.append(open_study(own, study_name, CONFIG, "f").user_attrs[UUID])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [load_study(storage, study_name, CONFIG).user_attrs[UUID]] * 4


DYING = """
import os, sys
from optuna.study import Study
from shared.config.sweep import SweepConfig
from shared.study.tables.storage import open_storage
from shared.study.study import open_study

Study.set_user_attr = lambda *_: os._exit(7)
open_study(open_storage(sys.argv[1]), sys.argv[2], SweepConfig(), "f")
"""


def test_a_death_while_a_study_is_created_leaves_nothing(
    postgres_url: str, storage: StudyStorage, study_name: str
) -> None:
    dead = subprocess.run([sys.executable, "-c", DYING, postgres_url, study_name], check=False)
    assert dead.returncode == 7
    assert read_config(storage, study_name) is None
    assert open_study(storage, study_name, CONFIG, "f").trials == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"encoder": {"name": "other"}}, "encoder.name was 'all-MiniLM-L6-v2' and is 'other'"),
        (
            {"encoder": {"backend": "openvino-int8"}},
            "encoder.backend was 'auto' and is 'openvino-int8'",
        ),
        ({"space": {"min_units": 10}}, "space.min_units was 48 and is 10"),
        ({"space": {"standardize": (True,)}}, r"space.standardize was \[False\] and is \[True\]"),
        ({"data": {"label_columns": ("a",)}}, "data.label_columns"),
        ({"study": {"seed": 7}}, "study.seed was 42 and is 7"),
        (
            {"study": {"objective": ["validation_loss", "n_parameters"]}},
            r"study.objective was \['validation_loss'\] and is \['validation_loss', 'n_p",
        ),
        ({"study": {"n_folds": 5}}, "study.n_folds was None and is 5"),
    ],
)
def test_a_study_refuses_to_go_on_with_something_else(
    storage: StudyStorage, study_name: str, change: dict, named: str
) -> None:
    open_study(storage, study_name, CONFIG, "f")
    with pytest.raises(InputError, match=named):
        open_study(storage, study_name, with_values(CONFIG, change), "f")
    assert read_config(storage, study_name) == CONFIG


def test_a_study_goes_on_with_another_backend_that_agrees(
    storage: StudyStorage, study_name: str
) -> None:
    open_study(storage, study_name, CONFIG, "f")
    change = {"encoder": {"backend": "torch-bf16", "batch_tokens": 512}}
    open_study(storage, study_name, with_values(CONFIG, change), "f")


@pytest.mark.parametrize("part", ["the texts", "the labels", "the split", "the folds"])
def test_a_study_refuses_other_data_and_says_what_changed(
    storage: StudyStorage, study_name: str, part: str
) -> None:
    parts = {"the texts": "t", "the labels": "l", "the split": "s", "the folds": "f"}
    open_study(storage, study_name, CONFIG, "f", parts)
    changed = parts | {part: "x", "the folds": "x"}
    with pytest.raises(InputError, match=f"because {part} changed"):
        open_study(storage, study_name, CONFIG, "g", changed)


def test_a_study_of_another_program_is_left_alone(storage: StudyStorage, study_name: str) -> None:
    optuna.create_study(storage=storage, study_name=study_name)
    with pytest.raises(InputError, match="not made by tagsweep"):
        open_study(storage, study_name, CONFIG, "f")


def test_the_kept_configuration_is_json_that_others_can_read(
    storage: StudyStorage, study_name: str
) -> None:
    study = open_study(storage, study_name, CONFIG, "f")
    assert json.loads(study.user_attrs["config"])["study"]["n_trials"] == 100


def test_what_is_sampled_follows_from_seed_and_number_whoever_asks(
    storage: StudyStorage, study_name: str
) -> None:
    def sample(n_workers: int) -> list[float]:
        name = f"{study_name}-{n_workers}"
        open_study(storage, name, CONFIG, "f")
        workers = [load_study(storage, name, CONFIG) for _ in range(n_workers)]
        trials = (workers[i % n_workers].ask() for i in range(4))
        return [trial.suggest_float("x", 0, 1) for trial in trials]

    values = sample(1)
    assert sample(3) == values
    assert len(set(values)) == 4


def test_progress_counts_each_state_and_finds_the_best(
    storage: StudyStorage, study_name: str
) -> None:
    study = open_study(storage, study_name, CONFIG, "f")
    for value in (0.5, 0.3, 0.4):
        study.tell(study.ask(), value)
    study.tell(study.ask(), state=TrialState.PRUNED)
    study.tell(study.ask(), state=TrialState.FAIL)
    study.ask()
    study.enqueue_trial({})
    progress = read_progress(study)
    assert (progress.complete, progress.pruned, progress.failed) == (3, 1, 1)
    assert (progress.running, progress.waiting, progress.finished) == (1, 1, 4)
    assert progress.best is not None
    assert progress.best.number == 1


def test_a_study_goes_on_with_the_same_encoders_alone(
    storage: StudyStorage, study_name: str
) -> None:
    first = parse_config({"encoders": ["a", "b"]}, "x")
    open_study(storage, study_name, first, "f")
    same = parse_config({"encoders": ["a", {"name": "b", "backend": "torch"}]}, "x")
    open_study(storage, study_name, same, "f")
    with pytest.raises(InputError, match=r"encoders was \['a', 'b'\] and is \['b', 'a'\]"):
        open_study(storage, study_name, parse_config({"encoders": ["b", "a"]}, "x"), "f")

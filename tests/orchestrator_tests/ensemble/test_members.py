from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from orchestrator.data.splits import Split
from orchestrator.ensemble.baselines import Regularisation
from orchestrator.ensemble.candidates import Candidate
from orchestrator.ensemble.members import Ensemble, Team, join, kernel_team, train_teams
from orchestrator.ensemble.scoring import default_head, evaluate, score
from shared.config.sections import TrainingConfig
from shared.errors import TagsweepError
from shared.store import Store
from shared.training.params import HeadParams, InputParams, LayerParams
from workers import SearchArrays

PARAMS = HeadParams(
    layers=(LayerParams(16, "relu", 0.1),),
    batch_size=16,
    learning_rate=1e-2,
    optimizer="adam",
    weight_decay=0.0,
    batch_normalization=False,
    label_smoothing=0.0,
    loss="cross_entropy",
    focal_gamma=2.0,
)
CANDIDATE = Candidate(7, PARAMS, "key")
WIDTHS = {"first": 3, "second": 5}
ROWS = np.arange(120)
SPLIT = Split(ROWS[:100], ROWS[100:], np.arange(120, 160), "f")
FOLDS = [(np.setdiff1d(ROWS, ROWS[i::3]), ROWS[i::3]) for i in range(3)]


def _train(
    arrays: SearchArrays,
    store: Path,
    candidates: Sequence[Candidate] = (CANDIDATE,),
    on_epoch: Callable[[int, int, int, int], None] = lambda *_: None,
    on_member: Callable[[int, int, int], None] = lambda *_: None,
) -> list[Team]:
    training = TrainingConfig(max_epochs=15)
    return train_teams(
        candidates,
        arrays.vectors,
        WIDTHS,
        arrays.labels,
        FOLDS,
        training,
        1,
        Store(str(store)),
        on_epoch,
        on_member,
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ensemble")


@pytest.fixture(scope="module")
def team(arrays: SearchArrays, store: Path) -> Team:
    (team,) = _train(arrays, store)
    return team


@pytest.fixture(scope="module")
def ensemble(team: Team) -> Ensemble:
    return join([team], [1.0], WIDTHS)


def test_there_is_a_member_a_fold_each_different(team: Team) -> None:
    first, second, third = (member.get_weights()[0] for member in team.members)
    assert not np.array_equal(first, second)
    assert not np.array_equal(second, third)


def test_out_of_fold_probabilities_are_of_members_that_did_not_see_the_row(
    team: Team, arrays: SearchArrays
) -> None:
    for member, (_, held_out) in zip(team.members, FOLDS, strict=True):
        expected = member(arrays.vectors[held_out]).numpy()
        np.testing.assert_allclose(team.out_of_fold[held_out], expected, rtol=1e-5)
    assert np.isnan(team.out_of_fold[120:]).all()


def test_finished_members_are_not_trained_again(arrays: SearchArrays, tmp_path: Path) -> None:
    def die_when_one_is_done(n_done: int, *_: int) -> None:
        if n_done == 1:
            raise KeyboardInterrupt

    slow_last = [replace(CANDIDATE, params=replace(PARAMS, learning_rate=3e-2))]
    with pytest.raises(KeyboardInterrupt):
        _train(arrays, tmp_path, slow_last, die_when_one_is_done)
    folder = tmp_path / "ensemble" / "key"
    (finished,) = folder.iterdir()
    before = finished.read_bytes()
    kept: list[int] = []
    _train(arrays, tmp_path, slow_last, on_member=lambda _trial, fold, _epochs: kept.append(fold))
    assert sorted([*kept, int(finished.stem[-1])]) == [0, 1, 2]
    assert finished.read_bytes() == before
    assert sorted(path.name for path in folder.iterdir()) == [f"fold-{i}.keras" for i in range(3)]


def test_a_member_that_is_torn_in_the_store_is_trained_again(
    arrays: SearchArrays, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _train(arrays, tmp_path)
    torn = sorted(tmp_path.rglob("fold-*.keras"))[1]
    torn.write_bytes(torn.read_bytes()[:-500])
    kept: list[int] = []
    _train(arrays, tmp_path, on_member=lambda _trial, fold, _epochs: kept.append(fold))
    assert kept == [1]
    assert "is torn" in caplog.text


def test_a_member_that_diverges_is_a_clear_error(arrays: SearchArrays, tmp_path: Path) -> None:
    wild = replace(PARAMS, optimizer="sgd", learning_rate=1e30)
    with pytest.raises(TagsweepError, match=r"member \d of trial 7 diverged after \d+ epochs"):
        _train(arrays, tmp_path, [replace(CANDIDATE, params=wild)])


def test_teams_of_several_trials_come_in_the_order_of_the_candidates(
    team: Team, arrays: SearchArrays, store: Path
) -> None:
    other = Candidate(3, replace(PARAMS, layers=(LayerParams(9, "swish", 0.0),)), "other")
    second, first = _train(arrays, store, [other, CANDIDATE])
    assert (second.trial, first.trial) == (3, 7)
    assert second.members[0].get_weights()[0].shape == (8, 9)
    np.testing.assert_allclose(first.out_of_fold, team.out_of_fold, rtol=1e-5)


def test_an_ensemble_is_its_teams_in_their_shares(team: Team, arrays: SearchArrays) -> None:
    encoders = tuple(WIDTHS)
    machine = kernel_team(encoders, arrays.vectors, arrays.labels, FOLDS, "multilabel", 0)
    found = join([team, machine, team], [0.25, 0.75, 0.0], WIDTHS)
    said = [
        np.mean([m(arrays.vectors).numpy() for m in t.members], axis=0) for t in (team, machine)
    ]
    expected = 0.25 * said[0] + 0.75 * said[1]
    np.testing.assert_allclose(found.model(arrays.vectors).numpy(), expected, atol=1e-6)
    mixed = 0.25 * team.out_of_fold + 0.75 * machine.out_of_fold
    np.testing.assert_allclose(found.out_of_fold, mixed, rtol=1e-6)


def test_members_standardize_by_the_rows_of_the_folds_and_no_others(
    arrays: SearchArrays, tmp_path: Path
) -> None:
    inputs = InputParams(("second",), standardize=True)
    candidate = replace(CANDIDATE, params=replace(PARAMS, inputs=inputs))
    vectors = arrays.vectors.copy()
    vectors[120:] += 100
    (one,), (other,) = (
        _train(replace(arrays, vectors=x), tmp_path / str(i), [candidate])
        for i, x in enumerate((arrays.vectors, vectors))
    )
    np.testing.assert_array_equal(one.out_of_fold[:120], other.out_of_fold[:120])
    test = arrays.vectors[120:, 3:]
    np.testing.assert_array_equal(one.members[0](test).numpy(), other.members[0](test).numpy())


def test_an_ensemble_reads_the_encoders_of_its_teams_and_no_others(
    team: Team, arrays: SearchArrays, store: Path
) -> None:
    inputs = InputParams(("second",), l2_normalize=True)
    candidate = Candidate(8, replace(PARAMS, inputs=inputs), "second")
    (second,) = _train(arrays, store, [candidate])
    x = arrays.vectors
    alone = join([team, second], [0.0, 1.0], WIDTHS)
    both = join([team, second], [0.5, 0.5], WIDTHS)
    assert (alone.encoders, both.encoders) == (("second",), ("first", "second"))
    said = [
        np.mean([member(own).numpy() for member in one.members], axis=0)
        for one, own in ((team, x), (second, x[:, 3:]))
    ]
    np.testing.assert_allclose(alone.model(x[:, 3:]).numpy(), said[1], atol=1e-6)
    np.testing.assert_allclose(both.model(x).numpy(), np.mean(said, axis=0), atol=1e-6)


def test_the_evaluation_stands_beside_logistic_regression_and_the_default_head(
    ensemble: Ensemble, arrays: SearchArrays
) -> None:
    training = TrainingConfig(max_epochs=15)
    plain = Regularisation(C=1, is_standardised=False)
    scores = score(ensemble, arrays.vectors, arrays.labels, SPLIT, PARAMS, training, plain, 1)
    metrics = evaluate(scores, ("a", "b", "c"))
    assert set(metrics) == {"test", "out_of_fold", "logistic_regression", "default_head"}
    for measured in metrics.values():
        assert 0.8 < measured["ap_weighted"] <= 1
        assert set(measured["per_label"]) == {"a", "b", "c"}


def test_the_classes_of_an_ensemble_share_one_probability(
    class_arrays: SearchArrays, tmp_path: Path
) -> None:
    vectors, labels = class_arrays.vectors, class_arrays.labels
    candidate = replace(CANDIDATE, params=replace(PARAMS, task="multiclass"))
    ensemble = join(_train(class_arrays, tmp_path, [candidate]), [1.0], WIDTHS)
    probabilities = ensemble.model(vectors[120:]).numpy()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert (probabilities.argmax(axis=1) == labels[120:].argmax(axis=1)).mean() > 0.8


def test_the_default_head_never_sees_the_test_rows(arrays: SearchArrays) -> None:
    def probabilities(labels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        training = TrainingConfig(max_epochs=3)
        return default_head(PARAMS, arrays.vectors, labels, SPLIT, training, 1)

    changed = arrays.labels.copy()
    changed[SPLIT.test] = 1 - changed[SPLIT.test]
    np.testing.assert_array_equal(probabilities(arrays.labels), probabilities(changed))

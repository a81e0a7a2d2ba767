import numpy as np
import numpy.typing as npt
import pytest

from orchestrator.ensemble.selection import choose, equal_shares, greedy_shares

Floats = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def labels() -> Floats:
    return (np.random.default_rng(0).uniform(size=(300, 2)) < 0.4).astype(np.float32)


def _said(labels: Floats, noise: float, seed: int) -> Floats:
    logits = 4 * (labels - 0.5) + noise * np.random.default_rng(seed).normal(size=labels.shape)
    return (1 / (1 + np.exp(-logits))).astype(np.float32)


def _loss(probabilities: Floats, labels: Floats) -> float:
    return float(-np.log(np.where(labels > 0, probabilities, 1 - probabilities)).mean())


def test_two_good_teams_of_different_errors_share_and_a_bad_one_gets_nothing(
    labels: Floats,
) -> None:
    teams = np.stack([_said(labels, 1.5, 1), _said(labels, 1.5, 2), 1 - _said(labels, 1.0, 3)])
    shares = greedy_shares(teams, labels)
    assert shares.sum() == pytest.approx(1)
    assert shares[2] == 0
    assert shares[:2].min() > 0.3


def test_the_greedy_mean_is_at_least_as_good_as_every_team_and_as_their_mean(
    labels: Floats,
) -> None:
    teams = np.stack([_said(labels, noise, 10 + i) for i, noise in enumerate((1, 2, 3, 4))])
    mixed = np.tensordot(greedy_shares(teams, labels), teams, axes=1)
    rivals = [*teams, teams.mean(axis=0)]
    assert _loss(mixed, labels) <= min(_loss(rival, labels) for rival in rivals)


def test_equal_shares_go_to_the_named_teams_only(labels: Floats) -> None:
    teams = np.stack([labels] * 4)
    assert equal_shares(slice(1, 3))(teams, labels).tolist() == [0, 0.5, 0.5, 0]


def test_nested_predictions_of_a_fold_do_not_depend_on_its_labels(labels: Floats) -> None:
    teams = np.stack([_said(labels, 1, 1), _said(labels, 2, 2)])
    held_out = np.arange(300) < 100
    changed = labels.copy()
    changed[held_out] = 1 - changed[held_out]
    before, after = (
        choose(greedy_shares, teams, y, [held_out, ~held_out]) for y in (labels, changed)
    )
    np.testing.assert_array_equal(before.nested[held_out], after.nested[held_out])
    assert before.shares != after.shares


def test_a_choice_out_of_fold_is_its_shares_mean(labels: Floats) -> None:
    teams = np.stack([_said(labels, 1, 1), _said(labels, 1, 2)])
    halves = [np.arange(300) % 2 == i for i in range(2)]
    chosen = choose(equal_shares(slice(None)), teams, labels, halves)
    np.testing.assert_allclose(chosen.out_of_fold, teams.mean(axis=0), rtol=1e-6)
    np.testing.assert_array_equal(chosen.nested, chosen.out_of_fold)

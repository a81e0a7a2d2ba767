import time

import numpy as np
import pytest

from orchestrator.data.duplicates import first_rows, group_texts, hash_texts, plain

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    "other",
    [
        "GREAT CAFÉ, so good!",
        " Great café,  so\tgood! \n",
        "Great\u00a0café, so good!",
        "Great cafe\u0301, so good!",
        "Great café, \uff53\uff4f good!",
    ],
)
def test_case_white_space_and_unicode_form_do_not_tell_texts_apart(other: str) -> None:
    assert plain(other) == plain("Great café, so good!")
    assert group_texts(["Great café, so good!", "Great tea", other]).tolist() == [0, 1, 0]


def test_other_words_or_marks_do() -> None:
    assert len(set(group_texts(["Great tea", "Great tea!", "Great, tea", "A great tea"]))) == 4


def test_texts_of_one_vector_are_one_group_in_any_encoder_and_over_others() -> None:
    vectors = RNG.normal(size=(6, 40)).astype(np.float32)
    first, second = vectors.copy(), vectors[:, :5].copy()
    first[3] = first[1] * 1.5 + 1e-3 * vectors[0]
    second[5] = second[3]
    assert group_texts(list("abcdef"), [first, second]).tolist() == [0, 1, 2, 1, 3, 1]
    assert group_texts(list("abcdef"), [vectors]).tolist() == [0, 1, 2, 3, 4, 5]


def test_vectors_that_many_texts_share_are_one_group() -> None:
    vectors = np.tile(RNG.normal(size=(2, 8)).astype(np.float32), (50, 1))
    assert group_texts(list(map(str, range(100))), [vectors]).tolist() == [0, 1] * 50


def test_ten_thousand_texts_are_a_matter_of_seconds() -> None:
    vectors = RNG.normal(size=(5000, 384)).astype(np.float32)
    nearly = vectors + 1e-3 * RNG.normal(size=vectors.shape).astype(np.float32)
    started = time.monotonic()
    groups = group_texts(list(map(str, range(10_000))), [np.concatenate([vectors, nearly])])
    assert time.monotonic() - started < 10
    np.testing.assert_array_equal(groups, np.tile(np.arange(5000), 2))


def test_the_first_row_stands_for_its_group() -> None:
    groups = np.array([0, 1, 0, 2, 1])
    assert first_rows(groups, np.arange(5)).tolist() == [0, 1, 3]
    assert first_rows(groups, np.array([2, 3, 4])).tolist() == [2, 3, 4]


def test_a_hash_is_that_of_the_plain_text() -> None:
    one, other, third = hash_texts(["Great tea", "great  TEA", "great tea!"])
    assert one == other != third

from pathlib import Path

import numpy as np

from orchestrator.evaluation.scores import Scores, read_scores, write_scores


def test_scores_come_back_as_they_were_written(tmp_path: Path) -> None:
    labels = np.array([[0, 1], [1, 0]], dtype=np.float32)
    written = {
        "test": Scores(np.array([3, 5]), labels, labels / 2),
        "out_of_fold": Scores(np.array([1, 0]), labels, labels / 4),
    }
    write_scores(tmp_path / "scores.npz", written)
    found = read_scores(tmp_path / "scores.npz")
    assert list(found) == ["test", "out_of_fold"]
    for name, scores in written.items():
        np.testing.assert_array_equal(found[name].rows, scores.rows)
        np.testing.assert_array_equal(found[name].labels, scores.labels)
        np.testing.assert_array_equal(found[name].probabilities, scores.probabilities)

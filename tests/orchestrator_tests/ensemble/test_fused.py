import numpy as np
import pytest
from keras import ops

from orchestrator.ensemble.fused import fuse
from tests.tiny_bundle import tiny_members


@pytest.mark.parametrize("n_members", [1, 2, 4])
def test_the_fused_model_gives_the_mean_of_members_of_any_shape(n_members: int) -> None:
    members = tiny_members(n_members)
    x = np.random.default_rng(0).normal(size=(9, 384)).astype(np.float32)
    expected = np.mean([ops.convert_to_numpy(member(x)) for member in members], axis=0)
    np.testing.assert_allclose(ops.convert_to_numpy(fuse(members)(x)), expected, atol=1e-6)


def test_members_count_as_much_as_their_shares() -> None:
    members = tiny_members(3)
    x = np.random.default_rng(0).normal(size=(9, 384)).astype(np.float32)
    shares = [0.5, 0.3, 0.2]
    said = [ops.convert_to_numpy(member(x)) for member in members]
    expected = np.average(said, axis=0, weights=shares)
    np.testing.assert_allclose(ops.convert_to_numpy(fuse(members, shares)(x)), expected, atol=1e-6)

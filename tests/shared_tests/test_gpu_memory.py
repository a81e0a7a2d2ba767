import os
from pathlib import Path

import pytest

from shared.errors import TagsweepError
from shared.gpu_memory import FORMER_SHARE, SHARE, bound_memory, memory_share, total_bytes


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have what is set in a test forgotten after it."""
    for name in (SHARE, FORMER_SHARE, "XLA_PYTHON_CLIENT_PREALLOCATE", "TF_FORCE_GPU_ALLOW_GROWTH"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.mark.parametrize(("n_gpus", "share"), [(0.25, 0.225), (1, 0.9), (2, 0.9), (0, 0.9)])
def test_four_processes_of_a_quarter_fit_on_a_gpu(n_gpus: float, share: float) -> None:
    bound_memory(n_gpus)
    assert memory_share() == pytest.approx(share)
    assert os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"
    assert (SHARE in os.environ) == (n_gpus > 0)


@pytest.mark.parametrize("name", [SHARE, FORMER_SHARE])
def test_a_share_that_the_user_has_set_stays_the_only_one(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "0.1")
    bound_memory(0.25)
    assert memory_share() == 0.1
    assert (SHARE in os.environ) != (FORMER_SHARE in os.environ)


def test_a_gpu_says_how_much_memory_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text('#!/bin/sh\n[ "$1" = --id=3 ] && echo 81559\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,4")
    assert total_bytes() == 81559 << 20
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(TagsweepError, match="how much memory GPU 0 has"):
        total_bytes()

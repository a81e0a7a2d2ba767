from pathlib import Path

import numpy as np
import onnxruntime

from orchestrator.onnx import write_onnx
from shared.training.fused import fuse
from tests.tiny_bundle import tiny_members


def test_the_onnx_model_gives_the_same_for_any_number_of_rows(tmp_path: Path) -> None:
    model = fuse(tiny_members(3))
    write_onnx(model, tmp_path / "ensemble.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "ensemble.onnx")
    (inputs,) = session.get_inputs()
    for n in (1, 7):
        x = np.random.default_rng(n).normal(size=(n, 384)).astype(np.float32)
        (found,) = session.run(None, {inputs.name: x})
        np.testing.assert_allclose(found, model(x).numpy(), atol=1e-5)

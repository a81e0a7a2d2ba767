from pathlib import Path

import numpy as np
import onnxruntime

from orchestrator.onnx import write_onnx
from shared.decisions.calibration import Curve
from shared.training.calibrated import calibrated
from shared.training.fused import fuse
from tests.tiny_bundle import tiny_members

KNOTS = ((0.0, 0.0), (0.4, 0.2), (0.6, 0.9), (1.0, 1.0))


def test_the_onnx_model_gives_the_same_for_any_number_of_rows(tmp_path: Path) -> None:
    curves = Curve("temperature", temperature=2.0), Curve("isotonic", knots=KNOTS)
    model = calibrated(fuse(tiny_members(3)), curves)
    write_onnx(model, tmp_path / "ensemble.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "ensemble.onnx")
    (inputs,) = session.get_inputs()
    for n in (1, 7):
        x = np.random.default_rng(n).normal(size=(n, 384)).astype(np.float32)
        (found,) = session.run(None, {inputs.name: x})
        np.testing.assert_allclose(found, model(x).numpy(), atol=1e-5)

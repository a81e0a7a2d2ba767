from pathlib import Path

import numpy as np
import onnxruntime

from orchestrator.bundle.onnx import write_onnx
from orchestrator.decisions.calibration import Curve
from orchestrator.decisions.layers import calibrated
from orchestrator.ensemble.fused import fuse
from shared.training.head import from_embeddings
from shared.training.inputs import Reading
from tests.tiny_bundle import tiny_members

KNOTS = ((0.0, 0.0), (0.4, 0.2), (0.6, 0.9), (1.0, 1.0))


def test_the_onnx_model_gives_the_same_for_any_number_of_rows(tmp_path: Path) -> None:
    first, second, third = tiny_members(3)
    deviation = np.linspace(0.1, 2, 384, dtype=np.float32)
    blocks = (slice(0, 100), slice(116, 400))
    reading = Reading(blocks, True, deviation - 1, deviation)
    members = [first, second, from_embeddings(third, reading)]
    fused = fuse(members, columns=[[slice(0, 384)], [slice(16, 400)], blocks])
    curves = Curve("temperature", temperature=2.0), Curve("isotonic", knots=KNOTS)
    model = calibrated(fused, curves, "multilabel")
    write_onnx(model, tmp_path / "ensemble.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "ensemble.onnx")
    (inputs,) = session.get_inputs()
    for n in (1, 7):
        x = np.random.default_rng(n).normal(size=(n, 400)).astype(np.float32)
        (found,) = session.run(None, {inputs.name: x})
        np.testing.assert_allclose(found, model(x).numpy(), atol=1e-5)

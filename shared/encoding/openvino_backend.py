"""Compute an encoder's transformer with OpenVINO.

sentence-transformers' own OpenVINO and ONNX backends come with optimum, which holds transformers
below the versions that sentence-transformers itself wants; OpenVINO alone needs none.
"""

import functools
import importlib.util
import inspect
import sys
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from shared.encoding.encode import is_transformer
from shared.encoding.encoder import Encoder
from shared.errors import InputError
from shared.extras import way_to_install

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

PRECISION = {"openvino": "f32", "openvino-bf16": "bf16", "openvino-int8": "f32"}
"""What the backends compute in; int8 is for the matrix products only."""
GROUP = "64"
"""Inputs of a layer that share a scale in openvino-int8; more are less exact, and no faster."""


def has_openvino() -> bool:
    """Return whether the extra `openvino` is installed."""
    return importlib.util.find_spec("openvino") is not None


def compute_with_openvino(model: "SentenceTransformer", encoder: Encoder) -> None:
    """Put OpenVINO in the place of the forward pass of a model's transformer.

    Tokens and pooling stay sentence-transformers'. openvino-int8 keeps weights in int8, a scale for
    each output, and rounds inputs to int8 as they come, a scale for each 64 (OpenVINO, "Weight
    Compression" and "Dynamic Quantization"): it is calibrated on no data, so that a text has the
    same vector in every study and batch. It takes as many threads as PyTorch would. Raises
    InputError when OpenVINO is not installed, or the encoder has no transformer.
    """
    if not has_openvino():
        raise InputError(
            f"encoder.backend {encoder.backend!r} is not installed. Choose another one, or install"
            f" it. {way_to_install('openvino')}"
        )
    if not is_transformer(model):
        raise InputError(
            f"encoder.backend {encoder.backend!r} needs a transformer, but {encoder.name!r} looks"
            " its vectors up: choose 'torch' or 'auto'."
        )
    import torch

    transformer: Any = model[0].auto_model
    names = [
        name
        for name in model.tokenizer.model_input_names
        if name in inspect.signature(transformer.forward).parameters
    ]
    try:
        graph = _convert(transformer, names, model.tokenizer)
    except Exception as error:  # PyTorch and OpenVINO raise whatever they stumble over in a model
        raise InputError(
            f"encoder.backend {encoder.backend!r} cannot compute {encoder.name!r}: choose 'torch'"
            f" or 'auto'. OpenVINO says {type(error).__name__}: {str(error)[:200]}"
        ) from error
    settings = {
        "INFERENCE_PRECISION_HINT": PRECISION[encoder.backend],
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    if encoder.backend == "openvino-int8":
        _round_weights(graph)
        settings["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = GROUP
    compiled = _core().compile_model(graph, "CPU", settings)
    transformer.forward = _forward(compiled, names)


def _convert(transformer: Any, names: list[str], tokenizer: Any) -> Any:
    """Turn a transformer into OpenVINO's graph, for batches of any size and length."""
    import torch

    class OfTokens(torch.nn.Module):
        """Take the named inputs by position, and give the tokens' vectors alone."""

        def __init__(self) -> None:
            super().__init__()
            self.transformer = transformer

        def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
            outputs = self.transformer(**dict(zip(names, inputs, strict=True)))
            vectors: torch.Tensor = outputs.last_hidden_state
            return vectors

    example = tokenizer(["an example", "of two texts"], padding=True, return_tensors="pt")
    any_size = dict.fromkeys((0, 1), torch.export.Dim.DYNAMIC)
    with warnings.catch_warnings():
        # PyTorch and transformers call what they themselves deprecate.
        warnings.simplefilter("ignore")
        exported = torch.export.export(
            OfTokens().eval().float(),
            tuple(example[name] for name in names),
            dynamic_shapes=((any_size,) * len(names),),
        )
        return _openvino().convert_model(exported)


def _round_weights(graph: Any) -> None:
    """Keep the weights of matrix products in int8, one scale an output, none with an offset."""
    from openvino import opset13

    for product in graph.get_ordered_ops():
        if product.get_type_name() != "MatMul":
            continue
        weights = product.input_value(1).get_node()
        if weights.get_type_name() != "Constant" or not product.get_attributes()["transpose_b"]:
            continue
        exact = weights.data  # (outputs, inputs)
        largest = np.abs(exact).max(axis=1, keepdims=True)
        scale = np.where(largest > 0, largest, 1) / 127
        rounded = opset13.constant(np.rint(exact / scale).astype(np.int8))
        restored = opset13.multiply(opset13.convert(rounded, "f32"), opset13.constant(scale))
        product.input(1).replace_source_output(restored.output(0))


def _forward(compiled: Any, names: list[str]) -> Any:
    """Return a transformer's forward pass that OpenVINO computes."""
    import torch
    from transformers.modeling_outputs import BaseModelOutput

    def forward(**inputs: Any) -> BaseModelOutput:
        (vectors,) = compiled([inputs[name].numpy() for name in names]).values()
        return BaseModelOutput(last_hidden_state=torch.from_numpy(vectors))

    return forward


@functools.cache
def _core() -> Any:
    """Return the one core of this process, which never goes.

    It gives the thread that it is made in a stack for signal handlers. Were it to go in another
    thread, the next signal, Ctrl-C say, would end the process by a segmentation fault.
    """
    return _openvino().Core()


def _openvino() -> Any:
    """Import OpenVINO without what tells its makers, on import, that it is used."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino

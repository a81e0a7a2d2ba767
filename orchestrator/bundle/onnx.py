"""Write the ensemble for runtimes other than Keras."""

import warnings
from pathlib import Path

import keras
import numpy as np


def write_onnx(model: keras.Model, path: Path) -> None:
    """Write a model of (n, d) float32 embeddings as ONNX, by Keras's own export and tf2onnx."""
    model(np.zeros((1, *model.input_shape[1:]), np.float32))  # Keras exports what has been called
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # Keras 3.15 asks NumPy for `np.object`
        model.export(path, format="onnx", verbose=False)

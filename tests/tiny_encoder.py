"""Write the smallest encoder there is: a table of random vectors, one a token."""

import json
import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from shared.config.sections import EncoderConfig
from shared.encoding.encoder import resolve_encoder

N_TOKENS = 30522


def write_tiny_encoder(folder: Path, width: int = 16, seed: int = 0) -> Path:
    """Write a folder as model2vec does: a table of float16 vectors and a tokenizer."""
    packaged = Path(resolve_encoder(EncoderConfig()).location)
    folder.mkdir()
    shutil.copy(packaged / "tokenizer.json", folder)
    table = np.random.default_rng(seed).normal(size=(N_TOKENS, width)).astype(np.float16)
    save_file({"embeddings": table}, folder / "model.safetensors")
    (folder / "config.json").write_text('{"model_type": "model2vec", "normalize": true}')
    kind = "sentence_transformers.models"
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"{kind}.{name}"}
        for i, (path, name) in enumerate([(".", "StaticEmbedding"), ("1_Normalize", "Normalize")])
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    return folder

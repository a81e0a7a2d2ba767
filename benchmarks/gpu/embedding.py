"""Measure texts a second through the encoder, by precision and tokens a forward pass.

Where MiniLM is not installed, an encoder of its shape with random weights takes its place: it is as
fast.
"""

import importlib.util
import json
import logging
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from shared.config.sections import EncoderConfig
from shared.encoding.encode import encode
from shared.encoding.encoder import resolve_encoder
from shared.encoding.load import load_encoder
from shared.errors import InputError

N_TEXTS = 8_000
BUDGETS = (16_384, 65_536, 262_144)
N_WORDS = 5000


def main() -> None:
    """Print texts a second of each precision, and how far they agree."""
    logging.disable()
    if importlib.util.find_spec("sentence_transformers") is None:
        print(json.dumps({"skipped": "sentence-transformers is not installed"}))
        return
    small = "--small" in sys.argv
    texts = _texts(40 if small else N_TEXTS)
    with tempfile.TemporaryDirectory(prefix="encoder-") as folder:
        try:
            encoder = resolve_encoder(EncoderConfig())
        except InputError:
            _write_encoder(Path(folder))
            encoder = resolve_encoder(EncoderConfig(name=folder))
        found: dict[str, object] = {"weights": "random" if encoder.name == folder else "MiniLM"}
        expected = None
        for backend in ("torch", "torch-bf16"):
            model = load_encoder(replace(encoder, backend=backend))
            encode(model, encoder, texts[:256])
            for budget in BUDGETS[:1] if small else BUDGETS:
                started = time.perf_counter()
                vectors = encode(model, replace(encoder, batch_tokens=budget), texts)
                rate = round(len(texts) / (time.perf_counter() - started))
                expected = vectors if expected is None else expected
                lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(expected, axis=1)
                cosine = float((np.vecdot(vectors, expected) / lengths).min())
                found[f"{backend}, {budget} tokens"] = {"texts_per_s": rate, "cosine_min": cosine}
                print(json.dumps(found), flush=True)
        started = time.perf_counter()
        model.tokenizer(texts, truncation=True)
        rate = round(len(texts) / (time.perf_counter() - started))
        print(json.dumps(found | {"tokenizer": {"texts_per_s": rate}}), flush=True)


def _texts(n_texts: int) -> list[str]:
    rng = np.random.default_rng(0)
    words = rng.integers(N_WORDS, size=25 * n_texts)
    lengths = rng.integers(5, 25, size=n_texts)
    return [
        " ".join(f"w{word}" for word in words[25 * i : 25 * i + length])
        for i, length in enumerate(lengths)
    ]


def _write_encoder(folder: Path) -> None:
    """Make an encoder of MiniLM's shape that knows the words of these texts."""
    from sentence_transformers import SentenceTransformer
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = {word: i for i, word in enumerate([*special, *(f"w{i}" for i in range(N_WORDS))])}
    tokenizer = BertWordPieceTokenizer(words)
    names = dict(zip(("pad", "unk", "cls", "sep", "mask"), special, strict=True))
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer._tokenizer,
        model_max_length=256,
        **{f"{name}_token": token for name, token in names.items()},
    ).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=384,
        intermediate_size=1536,
        num_hidden_layers=6,
        num_attention_heads=12,
    )
    BertModel(config).save_pretrained(folder)
    # A folder without modules.json is read as a transformer with a mean over its tokens.
    SentenceTransformer(str(folder), device="cpu").save(str(folder))


if __name__ == "__main__":
    main()

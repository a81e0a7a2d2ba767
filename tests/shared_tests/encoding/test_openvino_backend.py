import subprocess
import sys

import numpy as np
import pytest

from shared.config.sections import EncoderConfig
from shared.encoding import openvino_backend
from shared.encoding.backends import least_cosine
from shared.encoding.encode import encode
from shared.encoding.encoder import resolve_encoder
from shared.encoding.load import load_encoder
from shared.errors import InputError

TEXTS = ["a text", "another text that is longer", "text three, with more words than all the others"]


def test_int8_is_near_float32_and_the_same_alone_and_in_company() -> None:
    exact = resolve_encoder(EncoderConfig(backend="torch"))
    rounded = resolve_encoder(EncoderConfig(backend="openvino-int8"))
    model = load_encoder(rounded)
    together = encode(model, rounded, TEXTS)
    cosine_min = least_cosine(together, encode(load_encoder(exact), exact, TEXTS))
    assert 0.99 < cosine_min < 0.9999
    alone = np.concatenate([encode(model, rounded, [text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_a_missing_openvino_is_told_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_backend, "has_openvino", lambda: False)
    with pytest.raises(InputError, match=r"not installed.* -c constraints.txt '.\[openvino\]'"):
        load_encoder(resolve_encoder(EncoderConfig(backend="openvino")))


def test_a_transformer_that_openvino_cannot_compute_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no such operation")

    monkeypatch.setattr(openvino_backend, "_convert", fail)
    with pytest.raises(InputError, match="cannot compute .* RuntimeError: no such operation"):
        load_encoder(resolve_encoder(EncoderConfig(backend="openvino")))


def test_openvino_tells_nobody_that_it_is_used() -> None:
    code = (
        "import sys; from shared.encoding.openvino_backend import _openvino; _openvino();"
        "sys.exit(any(name.startswith('openvino_telemetry.') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


SIGNAL = """
import gc, os, signal, threading
from shared.encoding.encode import encode
from shared.encoding.encoder import resolve_encoder
from shared.encoding.load import load_encoder
from shared.config.sections import EncoderConfig
encoder = resolve_encoder(EncoderConfig(backend="openvino"))
models = [load_encoder(encoder)]
encode(models[0], encoder, ["a text"])
def forget():
    models.clear()
    gc.collect()
thread = threading.Thread(target=forget)
thread.start()
thread.join()
signal.signal(signal.SIGTERM, lambda *_: print("heard"))
os.kill(os.getpid(), signal.SIGTERM)
"""


def test_a_signal_is_heard_after_an_encoder_has_gone_in_another_thread() -> None:
    command = [sys.executable, "-c", SIGNAL]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr

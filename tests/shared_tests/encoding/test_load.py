from pathlib import Path
from typing import Any

import pytest

from shared.config.sections import EncoderConfig
from shared.encoding.encoder import resolve_encoder
from shared.encoding.load import load_encoder
from shared.errors import InputError
from tests.tiny_encoder import write_tiny_encoder


def test_a_length_beyond_the_encoders_is_refused() -> None:
    encoder = resolve_encoder(EncoderConfig(max_seq_length=10_000))
    with pytest.raises(InputError, match="must be at most 512 .* but is 10000"):
        load_encoder(encoder)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_seq_length": 8}, "max_seq_length must be null .* but is 8"),
        ({"backend": "openvino"}, "needs a transformer, but .* choose 'torch' or 'auto'"),
    ],
)
def test_what_a_static_encoder_cannot_do_is_refused(
    tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    name = str(write_tiny_encoder(tmp_path / "static"))
    with pytest.raises(InputError, match=message):
        load_encoder(resolve_encoder(EncoderConfig(name=name, **settings)))

"""Read how Keras is set up, without importing it: that takes seconds."""

import json
import os
from importlib.util import find_spec
from pathlib import Path

from shared.errors import InputError
from shared.extras import way_to_install

BACKENDS = ("tensorflow", "jax")
"""What heads can be trained on."""
FLOATX = "float32"
"""What they are trained in."""


def read_backend() -> str:
    """Return which backend Keras is on, or will be.

    Raises InputError where Keras is set up for one that heads cannot be trained on, for one that is
    not installed, or to compute in something else than float32.
    """
    path = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"), "keras.json")
    settings = _read(path)
    in_environment = os.environ.get("KERAS_BACKEND")
    backend = in_environment or str(settings.get("backend", BACKENDS[0]))
    place = "the environment variable KERAS_BACKEND" if in_environment else str(path)
    if backend not in BACKENDS:
        raise InputError(
            f"Keras's backend must be {' or '.join(BACKENDS)}, but {place} says {backend!r}. Change"
            f" it, or set KERAS_BACKEND={BACKENDS[0]}."
        )
    if find_spec(backend) is None:
        raise InputError(
            f"Keras's backend is {backend!r} by {place}, but is not installed. Change it, or"
            f" install it. {way_to_install(backend)}"
        )
    floatx = settings.get("floatx", FLOATX)
    if floatx != FLOATX:
        raise InputError(f"Keras's floatx must be {FLOATX}, but {path} says {floatx!r}. Change it.")
    return backend


def _read(path: Path) -> dict[str, object]:
    """Read keras.json as Keras does, to which one that is no JSON says nothing."""
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return settings if isinstance(settings, dict) else {}

"""Say which code and libraries a process has: two that differ must not work on one study."""

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from shared.errors import TagsweepError
from shared.keras_settings import read_backend

PACKAGES = ("shared", "workers")
"""What a worker runs of ours."""
LIBRARIES = ("keras", "numpy", "optuna", "ray", "scipy")


@cache
def versions() -> Mapping[str, str]:
    """Return the hash of our code, and the versions of the libraries on which results depend.

    Raises InputError where Keras is set up for what heads cannot be trained on.
    """
    libraries = {name: version(name) for name in LIBRARIES}
    backend = read_backend()
    return {"tagsweep": _hash_of_code(), **libraries, "backend": f"{backend} {version(backend)}"}


def require_versions(drivers: Mapping[str, str], who: str) -> None:
    """Raise TagsweepError when this process has other versions than the driver of its study."""
    own = versions()
    differing = [
        f"{name} is {own.get(name, 'missing')} and the driver's {theirs}"
        for name, theirs in drivers.items()
        if own.get(name) != theirs
    ]
    if differing:
        raise TagsweepError(
            f"{who} and its driver must have the same versions, but {'; '.join(differing)}."
            " Use one image, or one checkout with one constraints file, on all machines."
        )


def _hash_of_code() -> str:
    """Hash the packages that this process has imported, which are not always those it should."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            raise TagsweepError(f"The package {package!r} is missing. Install tagsweep again.")
        root = Path(spec.origin).parent
        for path in sorted(root.rglob("*.py")):
            digest.update(f"{package}/{path.relative_to(root)}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]

"""Read secrets from the environment, or from files that it names, and from nowhere else."""

import os
from pathlib import Path

from shared.errors import InputError


def read_secret(name: str) -> str | None:
    """Return what the variable says, or the file that NAME_FILE names; None without either.

    Files are how Docker and Kubernetes hand secrets over: a variable is seen by every child.
    """
    if os.environ.get(name):
        return os.environ[name]
    path = os.environ.get(f"{name}_FILE")
    if not path:
        return None
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise InputError(
            f"{name}_FILE names {path}, which cannot be read: {error.strerror}."
        ) from error

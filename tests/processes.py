"""Find processes that tests have started."""

from contextlib import suppress

import psutil


def living_children(title: str) -> list[psutil.Process]:
    """Return those below ours whose command line has a title, as Ray sets it."""
    found = []
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # also what is dead and not yet collected
            if title in " ".join(child.cmdline()):
                found.append(child)
    return found

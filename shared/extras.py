"""Say how an extra of tagsweep's is installed."""


def way_to_install(extra: str) -> str:
    """Return what to do for an extra, in the versions that are tested together."""
    return f"In tagsweep's checkout: pip install -c constraints.txt '.[{extra}]'"

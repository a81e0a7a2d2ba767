# ruff: noqa: INP001  a script of the image, in no package
"""Serve optuna-dashboard at HOST:PORT, on the storage that TAGSWEEP_STORAGE_FILE holds the URL of.

Its own command takes the URL as an argument, which `ps` shows, and fails until a first sweep has
made the tables.
"""

import sys

from optuna_dashboard import run_server

from orchestrator.secrets import read_secret
from shared.search.storage import open_storage

host, port = sys.argv[1].split(":")
run_server(open_storage(read_secret("TAGSWEEP_STORAGE") or ""), host, int(port))

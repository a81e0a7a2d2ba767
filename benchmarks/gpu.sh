#!/bin/sh
# Measure a GPU in at most seven minutes, with nothing to fetch: JAX, torch and sentence-transformers
# are there, what else is needed comes as wheels (see README.md).
# Usage: benchmarks/gpu.sh [--wheels FOLDER] [options of python -m benchmarks.gpu]
set -eu
cd "$(dirname "$0")/.."
PYTHON="${PYTHON:-python3}"
if [ "${1:-}" = --wheels ]; then
  site=$(mktemp -d)
  trap 'rm -rf "$site"' EXIT
  "$PYTHON" -m pip install --quiet --no-index --no-deps --no-compile --target "$site" "$2"/*.whl
  export PYTHONPATH="$site${PYTHONPATH:+:$PYTHONPATH}"
  shift 2
fi
"$PYTHON" -m benchmarks.gpu "$@"

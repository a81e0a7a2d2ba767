PYTHON ?= python3
BIN = .venv/bin
INSTALL = $(BIN)/pip install --quiet --constraint constraints.txt --editable

.PHONY: demo test lint clean

demo: .venv/demo  ## search heads for the shipped example
	$(BIN)/tagsweep run --data examples/reviews.csv --n-trials 20 --run-dir runs/demo

test: .venv/test  ## run every test, and require their coverage
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

lint: .venv/test  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:  ## remove the environment and all runs
	rm -rf .venv runs .coverage*

.venv/demo: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(INSTALL) '.[offline]'
	touch $@

.venv/test: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(INSTALL) '.[offline,test]'
	touch $@

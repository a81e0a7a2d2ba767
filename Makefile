PYTHON ?= python3
BIN = .venv/bin
INSTALL = $(BIN)/pip install --quiet --constraint constraints.txt --editable

.PHONY: demo test test-acceptance test-others lint clean

demo: .venv/demo  ## search heads for the shipped example
	$(BIN)/tagsweep run --data examples/reviews.csv --n-trials 20 --run-dir runs/demo

test: .venv/test  ## run every test, half of them beside the other half, and require their coverage
	$(BIN)/coverage erase
	$(MAKE) --jobs 2 --keep-going --output-sync test-acceptance test-others
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

test-acceptance:  ## run the commands as a user would
	$(BIN)/coverage run -m pytest tests/acceptance

test-others:  ## run all other tests, the numeric core's on JAX too
	$(BIN)/coverage run -m pytest --ignore tests/acceptance
	KERAS_BACKEND=jax $(BIN)/coverage run -m pytest tests/shared_tests/training tests/workers_tests/test_worker.py

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
	$(INSTALL) '.[offline,jax,test]'
	touch $@

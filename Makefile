PYTHON ?= python3
BIN = .venv/bin
# Three files at a time: half of a sweep is waiting for processes to start. Where one of them dies,
# the others would wait for its files for ever.
PYTEST = $(BIN)/coverage run -m pytest --numprocesses 3 --dist loadfile --max-worker-restart 0
INSTALL = $(BIN)/pip install --quiet --constraint constraints.txt --editable

.PHONY: demo test lint audit clean

demo: .venv/demo  ## search heads for the shipped example
	$(BIN)/tagsweep run --data examples/reviews.csv --n-trials 20 --run-dir runs/demo

test: .venv/test  ## run every test, the numeric core's on JAX too, and require their coverage
	$(BIN)/coverage erase
	$(PYTEST)
	KERAS_BACKEND=jax $(PYTEST) tests/shared_tests/training tests/workers_tests/test_worker.py \
	  tests/orchestrator_tests/decisions/test_layers.py tests/orchestrator_tests/ensemble/test_fused.py \
	  tests/orchestrator_tests/ensemble/test_kernel.py tests/orchestrator_tests/ensemble/test_platt.py
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

lint: .venv/test  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

audit:  ## ask for known vulnerabilities of the versions we test with; needs the internet
	$(PYTHON) -m venv .venv/audit
	.venv/audit/bin/pip install --quiet pip-audit
	.venv/audit/bin/pip-audit --requirement constraints.txt --no-deps --disable-pip

clean:  ## remove the environment and all runs
	rm -rf .venv runs .coverage*

.venv/demo: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(INSTALL) '.[offline]'
	touch $@

.venv/test: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(INSTALL) '.[offline,jax,mlflow,onnx,openvino,png,s3,serve,test]'
	touch $@

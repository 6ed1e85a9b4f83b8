# What a developer can do here; `make` lists it. What is set with ?= can be given:
#   make test PYTHON=python3.12 TESTS="tests/nn -k linear" WORKERS=0
PYTHON ?= python3
TESTS ?=
WORKERS ?= auto
VENV := .venv
BIN := $(VENV)/bin
# BLAS threads gain nothing at these sizes, and disturb each other beside other busy processes.
ONE_THREAD := OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1

.DEFAULT_GOAL := help
.PHONY: help demo test lint format bench clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Each stamp stands for one set of installed extras and is redone when pyproject.toml changes.
$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/stamp-%: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

demo: $(VENV)/stamp-viz ## Train both models on data at hand; pictures go to demo/
	$(ONE_THREAD) $(BIN)/python examples/mlp_classification.py --out demo
	$(ONE_THREAD) $(BIN)/python examples/word2vec.py --out demo

test: $(VENV)/stamp-test ## Run the tests (TESTS="..." chooses some)
	$(ONE_THREAD) $(BIN)/python -m pytest -n $(WORKERS) $(TESTS)

lint: $(VENV)/stamp-lint ## Check style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --follow-imports=silent minitorch/tensor.py # which its stub hides

format: $(VENV)/stamp-lint ## Rewrite the sources in the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/stamp-bench ## Time the benchmarks against PyTorch and gensim
	$(BIN)/python -m benchmarks

clean: ## Remove the virtual environment, caches and the demo's output
	rm -rf $(VENV) demo build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

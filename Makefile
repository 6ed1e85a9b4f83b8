# What a developer can do here; `make` lists it. What is set with ?= can be given:
#   make test PYTHON=python3.12 TESTS="tests/nn -k linear" WORKERS=0
PYTHON ?= python3
TESTS ?=
MUTANTS ?= 200
WORKERS ?= auto
VENV := .venv
CONTESTANTS := .venv-contestants
BIN := $(VENV)/bin
# Tests that never ask which device is the default one: no need to run them twice.
SAME := --ignore=tests/backend --ignore=tests/devtools --ignore=tests/text/word2vec/test_counts.py $(foreach name,benchmarks environments kills packaging project stub,--ignore=tests/test_$(name).py)
NO_TESTS := 5 # pytest's exit status where TESTS chooses none but these
# BLAS threads gain nothing at these sizes, and disturb each other beside other busy processes.
ONE_THREAD := OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1
PYTEST = $(ONE_THREAD) $(BIN)/python -m pytest -n $(WORKERS)

.DEFAULT_GOAL := help
.PHONY: help demo lectures docs test kills sim checked kernels mutate gpu lint stub format bench clean

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

lectures: $(VENV)/stamp-graph,symbolic ## Run the lectures; text, tables and pictures on one page, demo/lectures/index.html
	$(ONE_THREAD) $(BIN)/python examples/lectures/page.py --out demo/lectures

docs: $(VENV)/stamp-docs ## Build the reference and the guides, build/docs/index.html
	$(BIN)/python examples/guides/build.py --out build/docs

test: $(VENV)/stamp-test ## Run the tests on the cpu, then on the simulated GPU (TESTS="..." chooses some)
	$(PYTEST) $(TESTS)
	$(PYTEST) --device sim $(SAME) $(TESTS) || [ $$? = $(NO_TESTS) ]

kills: $(VENV)/stamp-test ## Kill training at 20 moments of each job, resume, compare (minutes)
	$(ONE_THREAD) $(BIN)/python -m tests.kills

sim: $(VENV)/stamp-test ## Run all tests on the simulated GPU
	$(PYTEST) --device sim $(TESTS)

checked: $(VENV)/stamp-test ## The same, with every access of every kernel checked (slow)
	$(PYTEST) --device sim --checked $(TESTS)

kernels: $(VENV)/stamp-test ## Compile and check the kernels for every GPU architecture (ARCHS="sm_80": for some)
	$(BIN)/minitorch kernels check --quiet $(if $(ARCHS),--arch $(ARCHS))

mutate: $(VENV)/stamp-test ## Change the kernels in small ways and see whether tests notice (MUTANTS= : all of them)
	$(BIN)/python tests/backend/sim/mutate.py $(if $(MUTANTS),--sample $(MUTANTS))

# The driver says which CUDA to install. Whom to time beside is in an environment of its own, and
# may fail to install; the benchmarks run after tests that failed, too.
gpu: ## Run all tests and the benchmarks on an NVIDIA GPU (OUT=folder: where the results go)
	@cuda=$$($(PYTHON) -I minitorch/backend/cuda/driver.py) && $(MAKE) VENV=.venv-gpu gpu-$$cuda

gpu-12 gpu-13: gpu-%: $(VENV)/stamp-gpu%
	-$(MAKE) VENV=$(CONTESTANTS) $(CONTESTANTS)/stamp-contestants$*
	$(BIN)/minitorch info
	$(BIN)/minitorch kernels compile --device cuda
	$(PYTEST) --device cuda -rs $(TESTS); tests=$$?; \
	$(BIN)/python -m benchmarks gpu --device cuda --contestants $(CONTESTANTS)/bin/python \
		$(if $(OUT),--out $(OUT)) && exit $$tests

lint: $(VENV)/stamp-lint ## Check style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --follow-imports=silent minitorch/core/tensor.py # which its stub hides

stub: $(VENV)/stamp-test ## Make minitorch/core/tensor.pyi anew, which a test compares
	$(BIN)/python -m tests.stub

format: $(VENV)/stamp-lint ## Rewrite the sources in the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/stamp-bench ## Time everything against NumPy, PyTorch, JAX, tinygrad and gensim (an hour)
	$(BIN)/python -m benchmarks

gpu-12 gpu-13: WORKERS = 4 # each holds a CUDA context of its own

clean: ## Remove the virtual environment, caches and the demo's output
	rm -rf .venv .venv-gpu $(CONTESTANTS) demo build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

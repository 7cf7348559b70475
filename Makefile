# One command each. `make` alone lists them.
#
#   make install PYTHON=python3.12      another interpreter
#   make install TORCH_BUILD=default    the index's own PyTorch (CUDA on Linux, several gigabytes)
#   make install TORCH_INDEX=URL        where to look for the CPU build of PyTorch
#   make test WORKERS=0                 in one process (2 by default)

VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO ?= out/demo
WORKERS ?= 2
export PYTHON TORCH_BUILD TORCH_INDEX

.DEFAULT_GOAL := help
.PHONY: help install demo pictures test test-full lint types check format clean

help: ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

install: $(STAMP) ## make .venv and install everything into it

# The stamp is older than what it depends on only after a change of dependencies.
$(STAMP): pyproject.toml constraints.txt tools/install.sh
	tools/install.sh $(VENV)
	@touch $@

demo: install ## the live page on a real street, until Ctrl-C (ARGS=--help lists its options)
	$(BIN)/triptych demo --out $(DEMO) $(ARGS)

pictures: install ## segment three frames of that street and tell where the pictures are
	$(BIN)/triptych demo --pictures --out $(DEMO)

test: install ## run the tests but for the slow ones
	$(BIN)/python -m pytest -n $(WORKERS) -m "not slow" $(ARGS)

test-full: install ## run all tests
	$(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

lint: install ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install ## mypy
	$(BIN)/mypy

check: lint types test-full ## everything that CI checks

format: install ## let ruff repair what it can, and renew links to lines of the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python tools/renew_links.py

clean: ## remove caches, builds and outputs (not .venv, not runs/)
	rm -rf build dist out site .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

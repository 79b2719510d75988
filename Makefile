# Everything a newcomer needs; `make help` lists it. Needs Python 3.11-3.13 with pip, nothing else.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# The first interpreter of a supported version; `make PYTHON=/path/to/python env` chooses another.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3 python; do \
    if $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then echo $$p; break; fi; done)

# uv does not read pip's settings: pass on the index where one is set. Wheels of torch are large: wait for them.
ifdef PIP_INDEX_URL
export UV_DEFAULT_INDEX ?= $(PIP_INDEX_URL)
endif
export UV_HTTP_TIMEOUT ?= 300

.PHONY: help env quickstart demo docs test test-slow lint format

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | awk -F '\t' '{printf "make %-12s %s\n", $$1, $$2}'

env: $(STAMP) ## make the environment in .venv (made by the other targets too, once)

# A rerun does nothing until pyproject.toml changes. `--without-pip` works where the venv module lacks ensurepip.
$(STAMP): pyproject.toml
	@test -n "$(PYTHON)" || { echo "no Python 3.11-3.13 found; install one, or: make PYTHON=/path/to/python env" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv --without-pip $(VENV)
	test -x $(BIN)/uv || $(PYTHON) -m pip --python $(BIN)/python install --quiet pip uv
	$(BIN)/uv pip install --python $(BIN)/python --editable '.[dev]'
	@touch $@

quickstart: $(STAMP) ## generate a micro-world, train on it, evaluate, draw: logs/quickstart
	$(BIN)/python train.py experiment=quickstart $(ARGS)
	@for file in metrics.json predictions.png weights/model.safetensors; do \
	    test -s logs/quickstart/$$file || { echo "quickstart ended without logs/quickstart/$$file" >&2; exit 1; }; done
	@echo
	@echo "metrics:           logs/quickstart/metrics.json"
	@echo "drawn predictions: logs/quickstart/predictions.png"
	@echo "weight folder:     logs/quickstart/weights"

WEIGHTS ?= logs/quickstart/weights

demo: $(STAMP) ## a web page on this machine that finds relations in your pictures; WEIGHTS=FOLDER
	@test -s $(WEIGHTS)/model.safetensors || { echo "$(WEIGHTS): no weights; run make quickstart first, or give WEIGHTS=FOLDER" >&2; exit 1; }
	$(BIN)/python -m rlipv2 demo --weights $(WEIGHTS) $(ARGS)

docs: $(STAMP) ## the documentation as a site: build/site/index.html
	$(BIN)/mkdocs build --strict

test: $(STAMP) ## the tests of the default run
	$(BIN)/python -m pytest -n 2 $(ARGS)

test-slow: $(STAMP) ## the tests marked slow
	$(BIN)/python -m pytest -m "slow and not gpu" $(ARGS)

lint: $(STAMP) ## ruff and mypy, changes nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP) ## ruff, changes files
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

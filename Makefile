# `make test` and `make demo` set themselves up; nothing but Python 3.11 or 3.12 and make is needed.
PYTHON ?= $(shell for p in python3.11 python3.12 python3; do $$p -c 'import sys; raise SystemExit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
OUT ?= runs/demo
DATA ?= ../shared/data

.PHONY: help setup dev demo test accuracy pictures bench-hands lock clean
help: ## list the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*## /\t/'

setup: $(VENV)/.installed ## install what `decay` needs into .venv
dev: $(VENV)/.installed-dev ## install what the tests need as well

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "decay needs Python 3.11 or 3.12 and found neither. Install one, or name it: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# One lock holds every version; as a constraint file it installs only what is asked for.
$(VENV)/.installed: pyproject.toml requirements.lock | $(VENV)/bin/python
	@echo "Installing what decay needs into $(VENV) (about 2 GB, a minute or two) ..."
	$(BIN)/pip install --quiet --disable-pip-version-check -c requirements.lock -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml requirements.lock | $(VENV)/bin/python
	@echo "Installing what decay and its tests need into $(VENV) (about 2 GB, a minute or two) ..."
	$(BIN)/pip install --quiet --disable-pip-version-check -c requirements.lock -e '.[dev]'
	@touch $@ $(VENV)/.installed

demo: setup ## a small lineage, made, measured and charted
	$(BIN)/decay demo $(OUT)

test: dev ## lint, types, layers, tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist loadfile

accuracy: setup ## measure the instrument: docs/accuracy.md and the sheet of hands in docs/images
	$(BIN)/decay calibrate --photographs $(DATA) --hands-sheet docs/images/hands.png

pictures: demo dev ## screenshots of the demo's page, for the documents
	$(BIN)/python docs/pictures.py $(OUT)

bench-hands: setup ## what counting digits costs beside finding the hand
	$(BIN)/python -m benchmarks.hands

lock: dev ## resolve requirements.lock anew
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --all-extras --no-annotate --no-header --no-emit-index-url \
	  --python-version 3.11 --python-platform x86_64-manylinux_2_28 --output-file requirements.lock

clean: ## remove the environment
	rm -rf $(VENV)

# One command per wish; each does its own set-up.
.DEFAULT_GOAL := help
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
  $$p -c 'import sys; raise SystemExit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
# One process per core, each with one thread: threads of two processes would wait for each other.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --maxprocesses 8 --dist loadfile
STAMP := .venv/.snellen-ready
DOCS_STAMP := .venv/.snellen-docs-ready

.PHONY: help setup demo test test-fast test-heavy test-all lint format bench notebooks embedded families headline docs reliability matrix

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(STAMP)  ## create .venv and install, nothing else

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Snellen needs Python 3.11 or newer, and none was found. Install one, or give it: make PYTHON=/path/to/python3.11 setup"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --upgrade -c constraints.txt pip
	$(BIN)/python -m pip install -q -c constraints.txt torch
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	@touch $@

demo: setup  ## examine the embedded model; ends with the verdict and the path of the report
	$(BIN)/snellen exam --out runs/demo

test: setup  ## every test that fits in ten minutes
	$(PYTEST)

test-fast: setup  ## the fast half
	$(PYTEST) -m "not slow"

test-heavy: setup  ## the heavy proofs alone
	SNELLEN_TEST_ALL=1 $(PYTEST) -m heavy

test-all: setup  ## also the heavy proofs
	SNELLEN_TEST_ALL=1 $(PYTEST)

lint: setup  ## formatting, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy stimuli hooks probes tuning analysis snellen

format: setup  ## put the code into form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup  ## performance as ratios within one run
	$(BIN)/python benchmarks/probes.py --quick
	$(BIN)/python benchmarks/capture.py --quick
	$(BIN)/python benchmarks/extract.py --quick
	$(BIN)/python benchmarks/distortions.py
	$(BIN)/python benchmarks/coverage.py --quick
	$(BIN)/python benchmarks/upstream.py --quick
	$(BIN)/python benchmarks/organisms.py --quick

notebooks: setup  ## execute the notebooks and write them with their outputs
	$(BIN)/python notebooks/build.py

embedded: setup  ## train the two embedded patients again (just under two hours on two cores)
	$(BIN)/python -m snellen.embedded.train

families: setup  ## the table of docs/families.md: every model family of the library, measured (half a minute)
	$(BIN)/python -m benchmarks.families --out docs/families.md

headline: setup  ## the table of docs/headline.md: both patients, three seeds, full budget
	$(BIN)/python benchmarks/headline.py

# In this order; a new script of benchmarks/reliability is added here.
RELIABILITY := damage kills together soak repeat hostile fuzz

reliability: setup  ## the numbers of docs/reliability.md: what is struck, damaged, shared, long and hostile
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[fuzz]'
	set -e; for name in $(RELIABILITY); do OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.reliability.$$name; done

matrix: setup  ## the fast tests under the oldest and the newest libraries that are allowed (environments of 8 GB each in .matrix)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.reliability.matrix

docs: $(DOCS_STAMP)  ## the documentation as a site in docs/_build/html; warnings are errors
	$(BIN)/python -m sphinx -W --keep-going -n -q -d docs/_build/trees docs docs/_build/html
	@echo docs/_build/html/index.html

$(DOCS_STAMP): $(STAMP)
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[docs]'
	@touch $@

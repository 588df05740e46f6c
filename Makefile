PYTHON ?= python3
BIN := .venv/bin
PIP_FLAGS ?= --quiet --disable-pip-version-check
FAST := -n auto --dist loadfile -m "not slow"
ATTACKING := -n auto --dist worksteal -m slow tests/attacks

.DEFAULT_GOAL := help
EXPERIMENTS ?= fast
RESULTS ?= results
.PHONY: help demo tables report registry screenshots paper docs test test-all attacks lint format clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /\1\t/' | expand -t 12

demo: .venv/installed  ## train every loss on the embedded digits, print the table, make the report; no download
	$(BIN)/python train.py -m experiment=demo results_dir=results/demo
	$(BIN)/python scripts/report.py results_dir=results/demo --open

tables: .venv/installed  ## turn all finished runs below RESULTS=results into tables, also of calibration and all detectors
	@status=0; for options in "" "--fpr oodpos" --calibration --matrix; do \
	  $(BIN)/python scripts/tables.py results_dir=$(RESULTS) $$options || status=1; \
	done; exit $$status

report: .venv/installed  ## one HTML page of all finished runs below results/, which needs no network
	$(BIN)/python scripts/report.py

screenshots: .venv/installed  ## pictures of results/report.html for docs/images, with Debian's chromium
	$(BIN)/python docs/screenshots.py results/report.html docs/images

registry: .venv/installed  ## check results/registry and own runs, write the leaderboard; OUTPUTS=DIR has the runs with outputs
	$(BIN)/python scripts/registry.py --own results $(if $(OUTPUTS),--outputs $(OUTPUTS))

paper: RESULTS = results/mine
paper: .venv/installed  ## train what RESULTS=results/mine lacks of EXPERIMENTS="fast fast_cifar100 ...", then write all tables
	@for name in $(EXPERIMENTS); do $(BIN)/python train.py -m experiment=$$name results_dir=$(RESULTS) || exit 1; done
	$(MAKE) tables RESULTS=$(RESULTS)

docs: .venv/installed  ## rewrite the generated parts of docs/
	$(BIN)/python docs/generate.py

test: lint  ## lint, types, fast tests: 4 minutes on two idle cores
	$(BIN)/python -m pytest $(FAST)

test-all: lint  ## fast and slow tests with coverage, then the attacks
	$(BIN)/python -m pytest $(FAST) --cov=oodbench --cov-report=
	$(BIN)/python -m pytest -m slow --ignore=tests/attacks --cov=oodbench --cov-append --cov-report=term:skip-covered
	$(BIN)/python -m pytest $(ATTACKING)

attacks: .venv/installed  ## kills, swapped files, hostile configurations, full disks; ATTACKS=N for more
	$(BIN)/python -m pytest $(ATTACKING)

lint: .venv/installed  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/installed  ## let ruff format and sort imports
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install $(PIP_FLAGS) -e '.[dev]'
	touch $@

clean:  ## remove the environment and the demo
	rm -rf .venv results/demo

# make demo   every loss on the embedded digits, then the table: nothing is downloaded but Python packages
# make test   lint, types, tests
PYTHON ?= python3
BIN := .venv/bin
PIP_FLAGS ?= --quiet --disable-pip-version-check

.PHONY: demo test lint clean

demo: .venv/installed
	$(BIN)/python train.py -m experiment=demo loss='glob(*)' results_dir=results/demo
	$(BIN)/python scripts/tables.py --results-dir results/demo
	@cat results/demo/digits.md

test: lint
	$(BIN)/python -m pytest

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install $(PIP_FLAGS) -e '.[dev]'
	touch $@

clean:
	rm -rf .venv results/demo

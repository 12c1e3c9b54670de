# Every target installs what it needs into .venv first. Needs python3 (3.11 or newer) and make, nothing else.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
TESTS ?= tests

.PHONY: install demo test test-all mutants check dev bench clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: install
	$(BIN)/python -m dagster_project.demo

test: install
	$(BIN)/python -m pytest $(TESTS) -m 'not slow'

test-all: install
	$(BIN)/python -m pytest $(TESTS)

mutants: install
	$(BIN)/python -m tests.mutants

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

dev: install
	$(BIN)/python -m dagster_project.dev

bench: install
	$(BIN)/python -m benchmarks

clean:
	rm -rf .demo .dagster .spool .mypy_cache .pytest_cache .ruff_cache build dist

# Every target installs what it needs into .venv first. Needs python3 (3.11 to 3.13) and make, nothing else.

PYTHON ?= python3
BIN := .venv/bin
# Two stamps: what the Dagster project needs is there, and what tests, linters and lakes need is, too.
INSTALLED := .venv/.installed
TOOLS := .venv/.tools
PIP_INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Python compiles what it imports and keeps it. Where it may not, as in many containers, every start would compile
# everything again, which doubles what each start takes. Some packages hold files that do not compile: no error.
COMPILE = $(if $(PYTHONDONTWRITEBYTECODE),$(BIN)/python -m compileall -qq -j 0 .venv/lib connector dagster_project || true)
# What dbt knows of the models, for Dagster to load without parsing.
MANIFEST := sql/target/manifest.json
MODELS := $(shell find sql -path sql/target -prune -o -type f \( -name '*.sql' -o -name '*.yml' -o -name '*.md' \) -print)
TESTS ?= tests

.PHONY: docs install tools demo test quick scale test-lakes test-all soak soak-lake fuzz test-duckdb2 mutants check audit dev bench wheel clean

# Two installations into one environment must not meet.
.NOTPARALLEL:

install: $(INSTALLED) $(MANIFEST)

tools: $(TOOLS) $(MANIFEST)

$(INSTALLED): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP_INSTALL) --no-compile --constraint constraints.txt --editable '.[project]'
	$(COMPILE)
	@touch $@

$(TOOLS): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP_INSTALL) --no-compile --constraint constraints.txt --editable '.[dev]'
	$(COMPILE)
	@touch $(INSTALLED) $@

$(MANIFEST): $(INSTALLED) $(MODELS)
	$(BIN)/python -m dagster_project.dbt

# `make demo WAREHOUSE=ducklake:sqlite:.demo/lake.sqlite` lands in a lake; a variable of the environment is not taken.
DEMO_WAREHOUSE := $(if $(filter command,$(word 1,$(origin WAREHOUSE))),$(WAREHOUSE))

demo: $(if $(DEMO_WAREHOUSE),tools,install)
	$(BIN)/python -m dagster_project.demo $(if $(DEMO_WAREHOUSE),'$(DEMO_WAREHOUSE)')

test: tools
	$(BIN)/python -m pytest $(TESTS) -m 'not slow' --numprocesses 2 --dist loadfile --no-loadscope-reorder

# The tests of what you changed since the last commit, under a minute.
quick: tools
	$(BIN)/python -m tests.quick

# The acceptance tests of lakes, also the long forms, and the tests of tables with each kind of lake.
LAKE_TESTS ?= tests/landing/test_days_from_files.py tests/warehouse/test_frames.py tests/test_sync.py tests/privacy/test_forget.py tests/upkeep/test_prune.py

scale: tools .moto
	$(BIN)/python -m pytest tests/scale --numprocesses 2 --dist loadfile
	$(MAKE) test-lakes

# A stand-in for S3; in a folder of its own, because its dependencies would meet those of Dagster.
.moto: $(TOOLS)
	$(PIP_INSTALL) --upgrade --target .moto 'moto[server,s3]>=5,<6'
	@touch $@

test-lakes: tools .moto
	$(BIN)/python -m pytest tests/scale/test_buckets.py
	WAREHOUSE_KIND=sqlite $(BIN)/python -m pytest $(LAKE_TESTS) -m 'not slow' --numprocesses 2
	WAREHOUSE_KIND=postgres $(BIN)/python -m pytest $(LAKE_TESTS) -m 'not slow' --numprocesses 2

test-all: tools
	$(BIN)/python -m pytest $(TESTS)

# Every fault x every stream, kills, races, random schedules: 12 minutes on two cores, MINUTES=5 for fewer.
MINUTES ?= 12

soak: tools
	$(BIN)/python -m tests.soak --minutes $(MINUTES)

# The matrix, kills and schedules with a lake in place of the file, on some streams that the output names.
soak-lake: tools
	$(BIN)/python -m tests.soak --warehouse sqlite --minutes $(MINUTES)
	$(BIN)/python -m tests.soak --warehouse postgres --minutes $(MINUTES)

# What `make test` tries with the same examples every time, with new ones and ten times as many.
TIMES ?= 10

fuzz: tools
	TIMES=$(TIMES) $(BIN)/python -m pytest tests/test_fuzz.py tests/records/test_fit.py tests/landing/test_day.py tests/landing/test_concurrent.py --hypothesis-profile new --timeout 3600 --numprocesses 2

# The tests of tables once more with DuckDB 2; the pinned version is the one whose files every DuckDB in use can open.
test-duckdb2: tools
	$(PIP_INSTALL) --upgrade --target .duckdb2 'duckdb>=2,<3'
	PYTHONPATH=.duckdb2 $(BIN)/python -m pytest tests/landing/test_day.py tests/test_sync.py tests/test_killed.py tests/openpanel/reports/test_read.py tests/dagster/openpanel/test_assets.py

mutants: tools
	$(BIN)/python -m tests.mutants

check: tools
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/sqlfluff lint sql --processes 2
	$(BIN)/python -m pip check

# Known vulnerabilities of what a deployment installs. Asks the package index, so it is no part of `make check`.
audit:
	@test -x .audit/bin/pip-audit || { $(PYTHON) -m venv .audit && .audit/bin/python -m pip install --quiet 'pip-audit>=2.7,<3'; }
	.audit/bin/pip-audit --requirement requirements.lock --no-deps --disable-pip

docs: tools
	$(BIN)/python docs/generate.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "open build/site/index.html"

dev: install
	$(BIN)/python -m dagster_project.dev

bench: tools .moto
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.growth
	$(BIN)/python -m benchmarks.receipts
	$(BIN)/python -m benchmarks.night
	$(BIN)/python -m benchmarks.lakes

# What others install, and the list of all that comes with it.
wheel: tools
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
	$(BIN)/python .ci/sbom.py > dist/sbom.json
	@ls dist

clean:
	rm -rf .demo .dagster .spool .mypy_cache .pytest_cache .ruff_cache build dist

# Targets for people: demo, test, test-all, test-wheel, lint, docs, ui, bench, chaos, audit, clean. They set up what they need, with PYTHON
# (3.11 or newer) and the package registry; nothing is installed outside .venv.
PYTHON ?= python3
VENV ?= .venv
DAGSTER_HOME ?= $(CURDIR)/.dagster_home
export DAGSTER_HOME

BIN := $(VENV)/bin
RUNS := $(VENV)/.installed-to-run
INSTALLED := $(VENV)/.installed
COMPARED := $(VENV)/.installed-to-bench
WRITTEN := $(VENV)/.installed-to-document
INSTANCE := $(DAGSTER_HOME)/.migrated

# One worker per core; a worker and what its tests start need about 2 GB.
PYTEST := $(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder

.PHONY: demo test test-all test-wheel lint docs ui bench chaos audit clean

demo: $(RUNS) $(INSTANCE) ## set up, run the whole chain on the demo, print the leaderboard
	$(BIN)/python -m plantclef_assets
	@echo "Runs, checks and pictures: make ui, then http://127.0.0.1:3000"

test: $(INSTALLED) ## set up, run the quick tests
	$(PYTEST) -m "not (slow or gcs or spark or sample)" $(TESTS)

test-all: $(INSTALLED) ## set up, run all tests; tests that need something that is missing are skipped, and name it
	$(PYTEST) $(TESTS)

test-wheel: ## run the quick tests against the wheel, installed in a separate environment, outside the checkout
	$(eval WHEEL_DIR := $(shell mktemp -d))
	$(PYTHON) -m venv $(WHEEL_DIR)/venv
	$(WHEEL_DIR)/venv/bin/python -m pip wheel --quiet --no-deps --wheel-dir $(WHEEL_DIR) .
	$(WHEEL_DIR)/venv/bin/python -m pip install --quiet "$$(echo $(WHEEL_DIR)/*.whl)[dev]"
	mkdir $(WHEEL_DIR)/tests
	git ls-files -z | grep -zv ^plantclef_assets/ | xargs -0 cp --parents --target-directory $(WHEEL_DIR)/tests
	cd $(WHEEL_DIR)/tests && $(MAKE) -o $(WHEEL_DIR)/venv/.installed VENV=$(WHEEL_DIR)/venv test
	rm -rf $(WHEEL_DIR)

lint: $(INSTALLED) ## check style, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

docs: $(WRITTEN) ## build the documentation as a site in build/docs; dead links and anchors are errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "Open build/docs/index.html. For the search: python3 -m http.server --directory build/docs"

ui: $(RUNS) $(INSTANCE) ## start the Dagster UI on the instance of the demo
	$(BIN)/dagster dev -w workspace.yaml

bench: $(COMPARED) ## set up, run all benchmarks; see docs/benchmarks.md
	$(BIN)/python -m benchmarks

SEED ?= 0
MINUTES ?= 18

chaos: $(INSTALLED) ## random kills and other faults from SEED, for MINUTES, each with a restart and a comparison; see docs/reliability.md
	$(BIN)/python -m tools.chaos --seed $(SEED) --minutes $(MINUTES)
	$(BIN)/python -m tools.chaos --table > docs/reliability.md

audit: $(BIN)/python ## compare deploy/constraints.txt with a database of known vulnerabilities; needs the network
	$(BIN)/python -m pip install --quiet pip-audit
	$(BIN)/python -m pip_audit --requirement deploy/constraints.txt --require-hashes --disable-pip

clean: ## delete .venv, .dagster_home, ./lake and the files of builds
	rm -rf $(VENV) .dagster_home lake .pytest_cache .ruff_cache build *.egg-info

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

# What runs the chain; tests, linters, Spark and deployments need more.
$(RUNS): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[umap]'
	touch $@

$(INSTALLED): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $(RUNS) $@

# What the benchmarks compare with.
$(COMPARED): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	touch $@

# What renders the documentation.
$(WRITTEN): $(RUNS)
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	touch $@

# Several first runs at once on a new instance break its database: it is made once, under a lock. The limit of the pool
# of the accelerator is set here, so that the UI lists it.
$(INSTANCE): dagster.yaml | $(RUNS)
	mkdir -p $(DAGSTER_HOME)
	cp dagster.yaml $(DAGSTER_HOME)/dagster.yaml
	$(BIN)/python -c 'import filelock, subprocess, sys; \
		lock = filelock.FileLock(sys.argv[2] + "/migration.lock"); lock.acquire(); \
		subprocess.run([sys.argv[1], "instance", "migrate"], check=True, capture_output=True); \
		subprocess.run([sys.argv[1], "instance", "concurrency", "set", "gpu", "1"], check=True, capture_output=True)' \
		$(BIN)/dagster $(DAGSTER_HOME)
	touch $@

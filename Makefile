# Two commands do everything: `make demo` and `make test`. Each sets up what it needs.
PYTHON ?= python3
VENV   ?= .venv
BENCH_VENV ?= .venv-bench
LOCK_VENV ?= .venv-lock
BIN     = $(VENV)/bin
STAMP   = $(VENV)/.installed
SERVE  ?=
BENCH  ?= all
ARENA  ?=
SEED   ?= 1
FUZZ_S ?= 20
JOBS   ?= 2

.DEFAULT_GOAL := help
.PHONY: secrets pin-images verify-grafana help demo test dashboards-check test-server chaos fuzz lint audit lock format bench expected wheel clean

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "%-18s%s\n", $$1, $$2}'

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), sys.version' \
	  || { echo "Python 3.11 or later is needed: make PYTHON=python3.12 ..."; exit 2; }
	@echo "Installing what is needed into $(VENV), once; it takes a minute or two and says what it is at."
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -e '.[dev]'
	@touch $@

demo: $(STAMP) ## see it: the example plant, fourteen weeks in four minutes (SERVE=1 leaves the page up)
	$(BIN)/python examples/packaging-line/story.py $(if $(SERVE),--serve)

test: $(STAMP) ## run every test, JOBS files at a time
	$(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile

# What speaks to Postgres most, on the distribution's server in place of the embedded one.
SERVER_TESTS = $(wildcard $(addprefix tests/integration/,test_ingest_*.py test_migrate*.py test_rejects.py \
  test_retention.py test_rollup_audit.py test_read_frames.py test_reporting.py test_database.py test_contracts.py \
  test_link.py test_moving.py)) tests/acceptance/test_canary.py

test-server: $(STAMP) ## run the store's and the intake's tests on a PostgreSQL of the distribution
	.ci/with-postgres $(BIN)/python -m pytest -q $(SERVER_TESTS)

dashboards-check: $(STAMP) ## hold dashboards, rules and runbooks against every rule, a real Postgres and a real Prometheus
	$(BIN)/python -m monitor dashboards check
	$(BIN)/python -m pytest -q tests/dashboards

fuzz: $(STAMP) ## fuzz what reads files and lines, FUZZ_S seconds a target
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[fuzz]'
	for target in lines gzip zstd parquet; do \
	  $(BIN)/python tests/fuzz/fuzz.py $$target -max_total_time=$(FUZZ_S) -print_final_stats=1 || exit 1; done

# More at a time than there are cores: half of what a storm lasts it waits, for a lease, a turn or a process.
STORMS ?= 4

chaos: $(STAMP) ## kill, cut off and fill up everything in full: a table of what was lost (CHAOS_SEED=n repeats a run)
	CHAOS=full $(BIN)/python -m pytest -q -n $(STORMS) --dist worksteal tests/chaos tests/integration/test_link.py

lint: $(STAMP) ## ruff, mypy --strict, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(LOCK_VENV)/.installed: pyproject.toml
	test -x $(LOCK_VENV)/bin/python || $(PYTHON) -m venv $(LOCK_VENV)
	$(LOCK_VENV)/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.8' 'pip-audit>=2.9'
	@touch $@

LOCK = $(LOCK_VENV)/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
  --native-tls --no-emit-index-url --custom-compile-command 'make lock'

lock: $(LOCK_VENV)/.installed ## pin every dependency by hash: requirements.lock, requirements-dev.lock
	$(LOCK) --extra embedded --extra cpu --output-file requirements.lock pyproject.toml
	$(LOCK) --extra dev --output-file requirements-dev.lock pyproject.toml

audit: $(LOCK_VENV)/.installed ## look the locked dependencies up among known vulnerabilities
	.ci/audit $(LOCK_VENV)/bin/pip-audit requirements.lock requirements-dev.lock

$(BENCH_VENV)/.installed: pyproject.toml
	test -x $(BENCH_VENV)/bin/python || $(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[dev,bench]'
	@touch $@

bench: $(BENCH_VENV)/.installed ## measure against peers and limits: BENCH=NAME of one in bench/, or all
	@$(BENCH_VENV)/bin/python -m bench $(BENCH) $(if $(ARENA),--arena $(ARENA))

expected: $(STAMP) ## regenerate examples/packaging-line/expected
	$(BIN)/python examples/packaging-line/story.py --write-expected

wheel: $(STAMP) ## build the wheel into dist/
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

secrets: ## write the secrets that docker-compose.yml reads, once
	dashboards/compose/secrets.sh secrets

pin-images: ## write the digests of the images into docker-compose.yml and Dockerfile (needs Docker)
	dashboards/compose/pin-images.sh

verify-grafana: $(STAMP) secrets ## bring the compose up and ask Grafana for every dashboard and query (needs Docker)
	docker compose --profile demo up --build --detach --wait
	$(BIN)/python dashboards/compose/verify_grafana.py

clean: ## remove environments, caches and the demo's state
	rm -rf $(VENV) $(BENCH_VENV) $(LOCK_VENV) state dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

# Two commands do everything: `make demo` and `make test`. Each sets up what it needs.
PYTHON ?= python3
VENV   ?= .venv
BENCH_VENV ?= .venv-bench
BIN     = $(VENV)/bin
STAMP   = $(VENV)/.installed
SERVE  ?=
BENCH  ?= all
ARENA  ?=
SEED   ?= 1

.DEFAULT_GOAL := help
.PHONY: help demo test lint format bench expected wheel clean

help: ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), sys.version' \
	  || { echo "Python 3.11 or later is needed: make PYTHON=python3.12 ..."; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

demo: $(STAMP) ## run the example plant: fourteen weeks in minutes (SERVE=1 leaves the page up)
	$(BIN)/python examples/packaging-line/story.py $(if $(SERVE),--serve)

test: $(STAMP) ## run every test
	$(BIN)/python -m pytest -q

lint: $(STAMP) ## ruff, mypy --strict, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(BENCH_VENV)/.installed: pyproject.toml
	test -x $(BENCH_VENV)/bin/python || $(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[dev,bench]'
	@touch $@

bench: $(BENCH_VENV)/.installed ## measure against peers and limits: BENCH=intake, layout, drift, backtest, compat, golden, story, onset, arena or all
	@$(BENCH_VENV)/bin/python -m bench $(BENCH) $(if $(ARENA),--arena $(ARENA))

expected: $(STAMP) ## regenerate examples/packaging-line/expected
	$(BIN)/python examples/packaging-line/story.py --write-expected

wheel: $(STAMP) ## build the wheel into dist/
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

clean: ## remove environments, caches and the demo's state
	rm -rf $(VENV) $(BENCH_VENV) state dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

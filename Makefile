# make run       fine-tune, evaluate and report on examples/support_tickets.csv
# make test      run the tests
# make test-all  run the slow ones too: clients of others, fuzzing, the whole system started, killed and restarted
# make lint      style, types, import contracts
# make docs      build the documentation into site/
# Each sets itself up first, in .venv, from the committed lock; it needs Python 3.11 or newer and nothing else.

PYTHON ?= python3
BIN := .venv/bin
UV_VERSION := 0.13.9

# Compiling bytecode once, here, takes seconds off every start.
SYNC := $(BIN)/uv sync --locked --inexact --extra all --compile-bytecode --quiet

# One process more than there are cores, at most four, since tests wait for servers; files in the order that tests/conftest.py gives
# them, the longest first.
PROCESSES := $(shell echo $$(( $$(getconf _NPROCESSORS_ONLN) < 4 ? $$(getconf _NPROCESSORS_ONLN) + 1 : 4 )))
PYTEST = $(BIN)/pytest -n $(PROCESSES) --dist loadfile --no-loadscope-reorder $(PYTEST_OPTIONS)

.PHONY: run test test-slow test-all lint docs clean
.DELETE_ON_ERROR:

run: .venv/ready-to-run
	@$(BIN)/retune run --config examples/support_tickets.yaml

# Collecting the fuzzing tests builds hundreds of cases, so that takes seconds even where none of them runs.
test: .venv/ready-to-test
	$(PYTEST) -m "not slow" --ignore=tests/retune/server/test_contract_fuzzing.py

test-slow: .venv/ready-to-test
	$(PYTEST) -m slow

test-all: test test-slow

lint: .venv/ready-to-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# In CI the generated pages must be committed as they are; elsewhere they are brought up to date.
docs: .venv/ready-for-docs
	PYTHONPATH=. $(BIN)/python scripts/generate_docs.py $(if $(CI),--check)
	$(BIN)/zensical build --clean --strict

clean:
	rm -rf .venv

.venv/ready-to-run: pyproject.toml uv.lock | $(BIN)/uv
	@echo "Installing the locked dependencies into .venv (about a minute, once)"
	@$(SYNC) --no-dev
	@touch $@

.venv/ready-to-test: pyproject.toml uv.lock | $(BIN)/uv
	@$(SYNC)
	@touch $@ .venv/ready-to-run

.venv/ready-for-docs: pyproject.toml uv.lock | $(BIN)/uv
	@$(SYNC) --no-dev --group docs
	@touch $@

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Retune needs Python 3.11 or newer; $$($(PYTHON) --version) found. Name another: make PYTHON=python3.12 run"; exit 1; }
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

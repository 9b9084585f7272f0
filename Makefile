# Every target sets itself up. A machine needs make and Python 3.11 or newer, nothing else.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help setup demo test nightly check format lock docs tables bench clean
.DELETE_ON_ERROR:

# Name an interpreter to use that one: make setup PYTHON=/path/to/python3.12
PYTHON ?=
# Extra words for pytest: make test ARGS="-k store"
ARGS ?=

# By day the tests of a file stay in one process, which makes its stores, runs and compiled strategies once.
DAY := --dist loadfile
BIN := .venv/bin
UV := UV_PYTHON_DOWNLOADS=never .tools/bin/uv --no-progress
COMPILE := $(UV) pip compile -q --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
	--python-version 3.11 --custom-compile-command "make lock"
# Prints the first interpreter that can run Trimtab; prints nothing where there is none.
FIND_PYTHON := for p in $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python3.14); do \
	"$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null \
	&& { "$$p" -c 'import sys; print(sys.executable)'; break; }; done

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

setup: .venv/.ready  ## install the locked environment into .venv

demo: .venv/.ready  ## four models on real history as one book, with a report
	@$(BIN)/trimtab demo

test: .venv/.ready  ## the whole default test suite
	@$(BIN)/python -m trimtab.app.warm
	@$(BIN)/python -m pytest $(DAY) -n 2 $(ARGS)

nightly: .venv/.ready  ## the long tests, then the laws on 10,000 random histories (hours; TRIMTAB_LAW_EXAMPLES=N for others)
	@$(BIN)/python -m trimtab.app.warm
	@$(BIN)/python -m pytest -n auto -m nightly $(ARGS)
	@$(BIN)/python -m pytest -n auto -m "nightly or not nightly" --hypothesis-profile=nightly tests/laws $(ARGS)

check: .venv/.ready  ## format, lint, strict types, import layers, security lint
	@echo "== format (ruff)";          $(BIN)/ruff format --check .
	@echo "== lint (ruff)";            $(BIN)/ruff check .
	@echo "== types (pyright)";        $(BIN)/pyright
	@echo "== layers (import-linter)"; $(BIN)/lint-imports
	@echo "== security (bandit)";      $(BIN)/bandit -q -c pyproject.toml -r src benchmarks
	@echo "== all checks passed"

format: .venv/.ready  ## rewrite the sources in the project's format
	@$(BIN)/ruff check --fix --select I,UP .
	@$(BIN)/ruff format .

lock: .tools/.ready  ## choose the newest allowed versions again and write them with their hashes
	@$(COMPILE) --upgrade pyproject.toml --extra research --extra allocation --extra calendars --extra live --extra download --group dev --group docs -o requirements.lock
	@echo uv | $(COMPILE) --upgrade - -o .ci/uv.lock

docs: .venv/.ready  ## build the documentation into site/
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build -q --strict

tables: .venv/.ready  ## the measured tables of the documentation, written anew
	@$(BIN)/python -m benchmarks.tables

bench: .venv/.ready  ## the figures of the README, measured on this machine
	@$(BIN)/python -m benchmarks

clean:  ## remove environments, caches and built files
	@rm -rf .venv .tools .pytest_cache .ruff_cache .hypothesis .import_linter_cache site build dist
	@find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# uv comes from the package index into an environment of its own: the system's Python stays untouched (PEP 668). Where
# the venv module is missing (Debian splits it off), pip can still install into a directory.
.tools/.ready: .ci/uv.lock
	@python=$$($(FIND_PYTHON)); \
	if [ -z "$$python" ]; then \
	  echo "Trimtab needs Python 3.11 to 3.14, but found only: $$($(or $(PYTHON),python3) -V 2>&1)." >&2; \
	  echo "Install one, or name it: make $(or $(MAKECMDGOALS),setup) PYTHON=/path/to/python3.12" >&2; exit 1; fi; \
	rm -rf .tools; \
	if "$$python" -m venv .tools >/dev/null 2>&1; then \
	  .tools/bin/python -m pip install -qq --disable-pip-version-check --require-hashes -r .ci/uv.lock || exit 1; \
	elif rm -rf .tools && "$$python" -m pip --version >/dev/null 2>&1; then \
	  "$$python" -m pip install -qq --disable-pip-version-check --require-hashes --target .tools -r .ci/uv.lock || exit 1; \
	else \
	  echo "$$python has neither venv nor pip: install one (Debian, Ubuntu: apt-get install python3-venv)." >&2; exit 1; fi; \
	printf '%s\n' "$$python" > .tools/.python; touch $@

.venv/.ready: .tools/.ready requirements.lock pyproject.toml
	@if ! $(BIN)/python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null; then \
	  $(UV) venv -q --clear --python "$$(cat .tools/.python)" .venv; fi
	@echo "installing the locked environment into .venv" >&2
	@$(UV) pip sync -q --python $(BIN)/python --require-hashes requirements.lock
	@$(UV) pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

# On a fresh machine only Python 3.11+ (python3, or PYTHON=...) and make are needed. Each target
# does its own set-up in .venv, again whenever a lock file has changed.

PYTHON ?= python3
# Processes that share the tests: three times as many as cores, for many tests wait. 0 is none but pytest's own.
TEST_WORKERS ?= $(shell expr 3 \* $$(getconf _NPROCESSORS_ONLN))

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
UV := $(VENV)/uv/bin/uv
UV_VERSION := 0.13.9
AUDIT := $(VENV)/audit/bin/pip-audit
AUDIT_VERSION := 2.10.1
# Only PyPI's names may stand in the lock, so neither a configuration nor another index counts.
UV_PYPI := env -u UV_INDEX -u UV_INDEX_URL -u UV_DEFAULT_INDEX -u UV_EXTRA_INDEX_URL $(UV)
UV_ALONE := --quiet --no-config --no-python-downloads --python $(BIN)/python
EXPORT := echo "\# Exported from uv.lock: make lock" && $(UV_PYPI) export $(UV_ALONE) --locked --no-emit-project --no-header

.DELETE_ON_ERROR:
.PHONY: help run test check bench soak mutants audit lock install

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1	\2/p' Makefile

run: $(VENV)/runtime ## start the bridge on this machine, listening on PORT (default 8000)
	$(BIN)/python -m bridge run

# What many processes import is compiled once, also where that is not usual.
test soak: export PYTHONDONTWRITEBYTECODE :=
test: $(VENV)/dev ## run every test but the soak
	$(BIN)/python -m pytest -q -n $(TEST_WORKERS)

check: $(VENV)/dev ## lint, formatting, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: $(VENV)/dev ## print the figures
	$(BIN)/python -m tests.bench

# make hands SEED=... and MINUTES=... on to the test, as it does with every variable it is given.
soak: $(VENV)/dev ## run the long faults and many examples: make soak SEED=7 MINUTES=30
	HYPOTHESIS_PROFILE=many $(BIN)/python -m pytest -q -m "soak or hypothesis" --timeout 0

# MUTANTS=... names some of them, or options of `python -m tests.mutants`.
mutants: $(VENV)/dev ## break each rule that matters in a copy: do the tests notice?
	$(BIN)/python -m tests.mutants $(MUTANTS)

# Asks PyPI, so it needs the network, and fails where it gets no answer about one of them.
audit: $(AUDIT) ## ask whether what the bridge runs on has a known weakness
	$(AUDIT) --strict --progress-spinner off --require-hashes --disable-pip --requirement requirements.txt

install: $(VENV)/dev ## only set up .venv, with all that the other targets need

lock: $(UV) ## write uv.lock with the newest versions, and for pip both requirements files
	$(UV_PYPI) lock $(UV_ALONE) --upgrade
	($(EXPORT) --no-dev) >requirements.txt
	($(EXPORT)) >requirements-dev.txt

$(VENV)/python:
	@command -v $(PYTHON) >/dev/null || { echo "There is no '$(PYTHON)' here: install Python 3.11 or later, or name yours with make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed, $(PYTHON) is %d.%d: name another with make PYTHON=..." % sys.version_info[:2])'
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

# The editable install brings .venv/bin/bridge. It needs setuptools, whose version and hashes are
# taken from the development lock, since the bridge itself does not run on it.
$(VENV)/runtime: $(VENV)/python requirements.txt requirements-dev.txt pyproject.toml
	$(PIP) install --require-hashes --requirement requirements.txt
	sed -n '/^setuptools==/,/[^\\]$$/p' requirements-dev.txt >$(VENV)/setuptools.txt
	$(PIP) install --require-hashes --requirement $(VENV)/setuptools.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

# Tools are compiled when they are imported first: most of their modules never are.
$(VENV)/dev: $(VENV)/runtime
	$(PIP) install --no-compile --require-hashes --requirement requirements-dev.txt
	@touch $@

$(UV): $(VENV)/python
	$(BIN)/python -m venv $(VENV)/uv
	$(VENV)/uv/bin/python -m pip --disable-pip-version-check --quiet install uv==$(UV_VERSION)

$(AUDIT): $(VENV)/python
	$(BIN)/python -m venv $(VENV)/audit
	$(VENV)/audit/bin/python -m pip --disable-pip-version-check --quiet install pip-audit==$(AUDIT_VERSION)

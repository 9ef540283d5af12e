# Everything runs in a virtual environment of its own, .venv; only Python 3.11 or newer and make are needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime
DEVELOPMENT := $(VENV)/.development

.PHONY: help demo stack test bench fuzz storms check lint types format golden lock audit clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(RUNTIME): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(DEVELOPMENT): $(RUNTIME)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group dev
	@touch $@

demo: $(RUNTIME) ## serve a simulated organization on http://127.0.0.1:10185
	@$(BIN)/openai-usage-exporter demo

stack: $(RUNTIME) ## the demo with a history, Prometheus, its rules and Alertmanager; both must be installed
	@$(BIN)/python -m deploy.local.stack

# A file's tests stay together: many share one simulated life. In the order of folders, for the long ones come first.
test: $(DEVELOPMENT) ## run all the tests
	$(BIN)/python -m pytest --numprocesses=auto --dist=loadfile --no-loadscope-reorder

bench: $(DEVELOPMENT) ## measure what running it costs, ten minutes or so; FLAGS=--write puts it into the README
	@$(BIN)/python -m tests.benchmarks $(FLAGS)

# For all properties together. Where the package that leads them does not install, they take random examples.
FUZZ_SECONDS ?= 600

fuzz: $(DEVELOPMENT) ## feed broken input to all that reads from outside, for FUZZ_SECONDS seconds (600)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary=:all: --group fuzz \
	  || echo "atheris does not install here: examples are random"
	@$(BIN)/python -m tests.fuzzing --seconds=$(FUZZ_SECONDS)

storms: $(DEVELOPMENT) ## longer storms than the tests have, a thousand kills, and a table of what came of them; an hour or less
	@$(BIN)/python -m tests.faults $(FLAGS)

check: lint types test ## lint, types and tests

lint: $(DEVELOPMENT) ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(DEVELOPMENT) ## mypy, strict
	$(BIN)/mypy

format: $(DEVELOPMENT) ## let ruff format and mend what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

golden: $(DEVELOPMENT) ## write the golden files anew; look at the difference before you commit it
	$(BIN)/python -m pytest -q -k golden --update-golden

# One resolution for every processor and every Python from 3.11 on.
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version=3.11 --generate-hashes --upgrade \
  --custom-compile-command='make lock'

lock: $(RUNTIME) ## resolve the container image's packages anew; look at the difference before you commit it
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group lock
	$(LOCK) --all-extras --output-file=deploy/container/requirements.lock pyproject.toml
	$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' \
	  | $(LOCK) --output-file=deploy/container/build.lock -

# An environment of its own: what audits must not change what is audited.
AUDIT := $(VENV)/audit

$(AUDIT)/.made: pyproject.toml | $(RUNTIME)
	$(PYTHON) -m venv $(AUDIT)
	$(BIN)/python -m pip --python $(AUDIT)/bin/python install --quiet --disable-pip-version-check --group audit
	@touch $@

audit: $(AUDIT)/.made ## look for known vulnerabilities in the container image's packages
	@$(BIN)/python -m tests.security.dependency_audit --pip-audit=$(AUDIT)/bin/pip-audit deploy/container/*.lock

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis dist

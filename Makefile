# One-word tasks. PYTHON is any interpreter of 3.11 or newer.
# Versions to install: those that the tests ran with, unless another file is named.
PYTHON ?= python3
CONSTRAINTS ?= constraints.txt
BIN := .venv/bin
PROCESSES ?= 2

.PHONY: install servers dashboard page test check images wheel audit version demo train

# uv takes a fifth of pip's time; where it does not find the packages, pip may: it has its own settings.
PACKAGES = install -q -c $(CONSTRAINTS) -e '.[all,torchserve,test]' -e 'clients/python[grpc]'

install: .venv/installed  ## make .venv and install

NATIVE := $(wildcard src/acie/native/*.[ch])

.venv/installed: pyproject.toml setup.py $(NATIVE) $(CONSTRAINTS) clients/python/pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q -c $(CONSTRAINTS) torch uv
	VIRTUAL_ENV=.venv $(BIN)/uv pip $(PACKAGES) || $(BIN)/pip $(PACKAGES)
	touch $@

# The servers and tools that the tests start. Where one is missing and this user may, Debian has it.
SERVERS = nginx:nginx redis-server:redis-server java:openjdk-17-jre-headless pg_ctlcluster:postgresql \
    prometheus:prometheus amtool:prometheus-alertmanager chromium:chromium kubectl:kubernetes-client \
    docker-compose:docker-compose

servers:  ## servers and tools of the tests, where they are missing and this user may
	@missing=; for pair in $(SERVERS); do \
	    command -v $${pair%%:*} >/dev/null || missing="$$missing $${pair#*:}"; done; \
	if [ -z "$$missing" ]; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    export DEBIAN_FRONTEND=noninteractive; apt-get -q update; \
	    for package in $$missing; do \
	        apt-get -q install -y --no-install-recommends $$package || true; done; \
	else echo "missing, their tests are skipped:$$missing"; fi

dashboard: src/acie/serving/page/index.html  ## build the page that acie serve shows; needs Node 20.19 or newer

PAGE_SOURCES := $(shell find clients/dashboard/src clients/dashboard/index.html clients/dashboard/*.ts \
    clients/dashboard/package*.json -type f)

src/acie/serving/page/index.html: $(PAGE_SOURCES)
	cd clients/dashboard && npm ci --no-audit --no-fund && npm run build

page:  ## the same, where Node is there
	@if command -v npm >/dev/null && node -e 'process.exit(+(process.versions.node.split(".")[0] < 20))'; \
	then $(MAKE) dashboard; else echo "no Node 20: the dashboard is not built, its tests are skipped"; fi

# Two processes of one thread each, a file in one of them; a third gains nothing on two cores.
test: install servers page  ## set up and run every test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(PROCESSES) --dist loadfile --no-loadscope-reorder --durations 30

check: install  ## lint
	$(BIN)/ruff check src tests benchmarks docs clients contracts examples

images: install  ## build the image of production, run it and ask it (minutes; as root)
	$(BIN)/python -m pytest -m image tests/deploy

wheel:  ## build the wheel into dist; with the dashboard where clients/dashboard was built before
	rm -rf build dist
	$(PYTHON) -m pip wheel -q --no-deps --wheel-dir dist .

audit:  ## known vulnerabilities of the versions in constraints.txt
	$(PYTHON) -m venv .venv/audit
	.venv/audit/bin/pip install -q pip-audit==2.10.1
	.venv/audit/bin/pip-audit --disable-pip --no-deps --requirement constraints.txt

version:  ## print the version of the project
	@$(PYTHON) -c 'import tomllib; print(tomllib.load(open("pyproject.toml", "rb"))["project"]["version"])'

demo: install  ## answer one question on the bundled example, or on SPECTRUM=FILE
	$(BIN)/python -m acie.demo $(SPECTRUM)

train: install  ## make the shipped model again, in three steps
	$(BIN)/acie train --config configs/galaxy.yaml
	$(BIN)/acie train --config configs/galaxy-refine.yaml --out runs/galaxy-v1-refined
	$(BIN)/acie train --config configs/galaxy-resolution.yaml --out runs/galaxy-v1-resolution

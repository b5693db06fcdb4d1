VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
PEERS := .venv-peers
PIP := -m pip install --quiet --disable-pip-version-check -c constraints.txt
INSTALL := $(BIN)/python $(PIP)

.PHONY: harden test check lint browser peers clean

## make harden: set up, harden a classifier on the bundled MNIST, say where the report is
harden: $(VENV)/.installed
	$(BIN)/temper harden

## make test: set up with the development tools, then every check and the whole test suite
test: check

## Two workers with one thread each; the tests of a file run in one worker. Files are taken in
## the order of their names: the longest lie in tests/app, so no worker ends long after the other
check: lint browser
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

## A browser for the tests of the report: Debian's Chromium, or the one that CHROMIUM names
browser:
	@command -v $${CHROMIUM:-chromium} >/dev/null || tools/install-chromium

## make peers: an environment of its own with other attack libraries, for benchmarks/
peers: $(PEERS)/.installed

$(PEERS)/.installed: pyproject.toml constraints.txt benchmarks/peers.txt benchmarks/peers-alone.txt
	test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python $(PIP) -e . -r benchmarks/peers.txt
	$(PEERS)/bin/python $(PIP) --no-deps -r benchmarks/peers-alone.txt
	touch $@

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(INSTALL) -e ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) $(PEERS) .mypy_cache .ruff_cache .pytest_cache

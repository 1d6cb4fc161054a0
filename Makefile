# Every target sets up what it needs in a virtual environment of its own; only
# Python (3.11 or newer) has to be there: `make test PYTHON=python3.12`.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO := $(VENV)/.demo-installed
DOCS := $(VENV)/.docs-installed
DEV := $(VENV)/.dev-installed
BENCH := $(VENV)/.bench-installed
PIP := $(BIN)/python -m pip install --quiet

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-all lint format docs bench readme constraints clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(DEMO) ## measure the schemes on a short clip, into runs/demo
	$(BIN)/python -m experiments.camvid --out runs/demo --resume

test: $(DEV) ## run the tests but the slow ones
	$(BIN)/python -m pytest -m "not slow"

test-all: $(DEV) ## run all tests
	$(BIN)/python -m pytest

lint: $(DEV) ## check style and types
	$(BIN)/python -m ruff check
	$(BIN)/python -m ruff format --check
	$(BIN)/python -m mypy

format: $(DEV) ## put the code in form
	$(BIN)/python -m ruff check --fix
	$(BIN)/python -m ruff format

docs: $(DOCS) ## build the documentation, into build/docs
	$(BIN)/python -m sphinx -W --keep-going docs build/docs
	@echo "open build/docs/index.html"

bench: $(BENCH) ## time jaxseg against its peers
	$(BIN)/python -m benchmarks

readme: $(DEMO) ## fill the tables of README and docs/ from the result files
	$(BIN)/python -m experiments.readme

# Both files are freezes of fresh environments; what differs gets a marker.
constraints: ## pin anew what the tests run with (needs python3.11 and python3.12)
	mkdir -p build
	for version in 3.11 3.12; do \
	  python$$version -m venv --clear build/venv-$$version && \
	  build/venv-$$version/bin/python -m pip install --quiet '.[train,dev]' && \
	  build/venv-$$version/bin/python -m pip freeze --exclude jaxseg | LC_ALL=C sort > build/$$version.txt \
	  || exit 1; done
	( sed '/^#/!d' constraints.txt; ( cd build; export LC_ALL=C; \
	  comm -12 3.11.txt 3.12.txt; \
	  comm -23 3.11.txt 3.12.txt | sed 's/$$/; python_version < "3.12"/'; \
	  comm -13 3.11.txt 3.12.txt | sed 's/$$/; python_version >= "3.12"/' ) | LC_ALL=C sort -f ) > build/constraints.txt
	mv build/constraints.txt constraints.txt

clean: ## remove the environment, the caches and what was built; keeps runs/
	rm -rf $(VENV) build dist *.egg-info .*_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps: set-up runs again only when what is to be installed has changed.
# The demo needs neither TensorFlow nor the tools, so its set-up is the shorter.
$(DEMO): pyproject.toml constraints.txt | $(BIN)/pip
	$(PIP) --constraint constraints.txt --editable .
	@touch $@

$(DOCS): pyproject.toml constraints.txt | $(BIN)/pip
	$(PIP) --constraint constraints.txt --editable '.[docs]'
	@touch $@ $(DEMO)

$(DEV): pyproject.toml constraints.txt | $(BIN)/pip
	$(PIP) --constraint constraints.txt --editable '.[train,dev]'
	@touch $@ $(DEMO) $(DOCS)

# The peers are large, and pinned by nobody: the versions stand in the results.
$(BENCH): pyproject.toml constraints.txt | $(BIN)/pip
	$(PIP) --constraint constraints.txt --editable '.[bench]'
	@touch $@

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "jaxseg needs Python 3.11 or newer, but $(PYTHON) is %d.%d; choose another: make PYTHON=python3.12 ..." % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)

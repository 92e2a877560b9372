# `make forecast` shows one forecast, `make demo` runs the workbook on a laptop, `make test` checks everything.
PYTHON ?= python3
BIN := .venv/bin
PROFILE ?= cpu
VIDEO ?= example
SMOKE_HOME := $(CURDIR)/.smoke

.PHONY: forecast demo test test-slow lint unit coverage notebooks browser install weights address clean

forecast: install
	$(BIN)/vidseg forecast $(VIDEO)

demo: forecast
	$(BIN)/vidseg run --profile $(PROFILE)
	$(BIN)/vidseg report
	@echo "executed notebooks: runs/*/executed.ipynb · table: above, and in runs/*/metrics.json · pictures: runs/*/*.png"

test: lint unit notebooks browser

# What takes too long for `make test`: every notebook as in Colab, the workbook as one graph, faults, Slurm and dask.
test-slow: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/long

install: .venv/installed

.venv/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "vidseg needs Python 3.11 or later; try make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	@echo "installing into .venv: some minutes without a word, and on Linux about 7 GB with the GPU libraries of torch"
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

# One process per core; the tests of one file stay in one process. `pytest -m 'not slow'` is the quick selection.
unit: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests --ignore tests/browser --ignore tests/long --numprocesses auto --dist loadfile

# The unit suite once more, with a list of the package's lines and branches that no test reaches.
coverage: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests --ignore tests/browser --ignore tests/long --numprocesses auto --dist loadfile --cov --cov-report=term-missing

# From nothing, every time: what an earlier call left behind must not make a notebook pass.
notebooks: install
	rm -rf $(SMOKE_HOME)
	VIDSEG_PROFILE=smoke VIDSEG_HOME=$(SMOKE_HOME) $(BIN)/python -m pytest --nbval-lax --nbval-current-env --nbval-cell-timeout=300 notebooks

browser: install
	$(BIN)/python -m pytest tests/browser

# Train the weights that come with the package, and note how: see vidseg_utils/weights/README.md. An hour on two cores.
weights: install
	$(BIN)/python -m vidseg_utils.weights.make

# make address REPO=owner/name: where the repository is on GitHub, in every badge, install cell and link.
address:
	$(PYTHON) .ci/address.py $(REPO)

clean:
	rm -rf .venv $(SMOKE_HOME) build *.egg-info .coverage

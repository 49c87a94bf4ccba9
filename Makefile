# `make` alone lists the verbs. Each sets up what it needs: a virtual environment in .venv,
# at the exact versions of constraints.txt.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip -qq --disable-pip-version-check
# pymatting compiles itself at its first import, for half a minute; here, no job waits for it.
KERNELS = echo "compiling the matting kernels …" && $(BIN)/python -c 'import worker.matting as m; m.kernels()'

.PHONY: help demo local test fidelity bench-sync bench-memory check format constraints clean

help: ## list the verbs
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(VENV)/.demo ## cut out five photographs with an embedded broker, S3 and worker; results in demo-out/
	@exec $(BIN)/python -m deploy.demo

local: $(VENV)/.demo ## keep a broker, an S3 and a worker running here, to try the commands by hand
	@exec $(BIN)/python -m deploy.playground

test: $(VENV)/.dev ## run the test suite on a real broker, a real S3 and the real weights
	$(BIN)/pytest $(ARGS)

fidelity: $(VENV)/.dev ## compare the presets with the systems they replace, on every kind of photograph
	@exec $(BIN)/python -m tests.fidelity

bench-sync: $(VENV)/.dev ## measure cutwork sync: planning, queue, kills, waiting; some minutes [ARGS='planning killed']
	@exec $(BIN)/python -m benchmarks.sync $(ARGS)

bench-memory: $(VENV)/.dev ## measure a worker's peak memory with twelve large images at once; half an hour [ARGS='default']
	@exec $(BIN)/python -m benchmarks.image_memory $(ARGS)

check: $(VENV)/.dev ## lint, format, types, direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev ## mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

constraints: $(VENV)/.dev ## write the versions in .venv to constraints.txt
	$(PIP) freeze --exclude-editable | sed 's/+cpu$$//' > constraints.txt
	sed -n 's/^onnxruntime==/onnxruntime-gpu==/p' constraints.txt >> constraints.txt

clean: ## remove what the other verbs made (the model cache stays)
	rm -rf $(VENV) demo-out build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(VENV)/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 …" >&2; exit 1; }
	@echo "making $(VENV) …"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml constraints.txt | $(VENV)/bin/pip
	@echo "installing the demo's packages into $(VENV) …"
	@$(PIP) install --constraint constraints.txt --editable '.[demo]'
	@$(KERNELS)
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/pip
	@echo "installing the development packages into $(VENV) …"
	@$(PIP) install --constraint constraints.txt --editable '.[dev]'
	@$(KERNELS)
	@touch $@ $(VENV)/.demo

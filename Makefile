.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
READY := .venv/.ready
UV_VERSION := 0.13.8
WORKERS ?= 2
# What PyTorch's build for graphics cards adds; the lock leaves it to the build that is installed.
CUDA := triton cuda-bindings cuda-pathfinder cuda-toolkit nvidia-cublas nvidia-cuda-cupti nvidia-cuda-nvrtc \
  nvidia-cuda-runtime nvidia-cudnn-cu13 nvidia-cufft nvidia-cufile nvidia-curand nvidia-cusolver nvidia-cusparse \
  nvidia-cusparselt-cu13 nvidia-nccl-cu13 nvidia-nvjitlink nvidia-nvshmem-cu13 nvidia-nvtx
# pip reads PIP_FIND_LINKS by itself; uv must be told.
FIND_LINKS := $(if $(PIP_FIND_LINKS),--find-links "$(PIP_FIND_LINKS)")

.PHONY: help setup demo test test-long test-kill test-scale lint format docs bench up down lock clean

help: ## List the verbs
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(READY) ## Make .venv with the exact versions of requirements.lock

$(READY): requirements.lock setup.cfg pyproject.toml Makefile
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
	  || { echo "Hourglass needs Python 3.11: make setup PYTHON=/path/to/python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || "$(PYTHON)" -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv==$(UV_VERSION)"
	$(BIN)/uv pip install --quiet --python $(BIN)/python $(FIND_LINKS) --compile-bytecode -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-build-isolation --no-deps -e .
	@touch $(READY)

demo: $(READY) ## The whole pipeline on the simulated market, then Airflow (DEMO_ARGS=--headless ends by itself)
	$(BIN)/hourglass demo $(DEMO_ARGS)

test: $(READY) ## The tests that every change must pass
	$(BIN)/pytest -n $(WORKERS) --dist loadscope

test-long: $(READY) ## The tests that take longest: trainings side by side, an approval in Airflow
	$(BIN)/pytest -n $(WORKERS) --dist loadscope -m long

test-kill: $(READY) ## Kill every step at random points, fifty times, and compare the end state
	$(BIN)/pytest -n 0 -m kill -p no:randomly -o addopts="--import-mode=importlib --strict-markers -ra" tests/test_kill.py

test-scale: $(READY) ## One hour through Celery, Redis, PostgreSQL and an S3 stand-in
	$(BIN)/pytest -n 0 -m scale -p no:randomly -o addopts="--import-mode=importlib --strict-markers -ra" tests/test_scale.py

lint: $(READY) ## Style, types and import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy

format: $(READY) ## Format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(READY) ## Write docs/features.md from the code
	$(BIN)/python -c 'from pipelines.feature_list import features_page; print(features_page(), end="")' > docs/features.md

bench: $(READY) ## Measure; prints, asserts nothing
	@for file in tests/benchmarks/bench_*.py; do echo "== $$file"; $(BIN)/python "$$file" || exit 1; done

up: $(READY) ## Start PostgreSQL, MLflow and Airflow
	$(BIN)/hourglass up

down: $(READY) ## Stop what `make up` started
	$(BIN)/hourglass down

lock: $(READY) ## Resolve requirements.lock anew from setup.cfg
	$(BIN)/uv pip compile --quiet setup.cfg --extra dev --universal --python-version 3.11 \
	  $(addprefix --no-emit-package ,$(CUDA)) --no-emit-find-links --no-emit-index-url --no-header -o requirements.lock

clean: ## Remove what make and the tools have made here
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

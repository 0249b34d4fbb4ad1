# Each target is one or two commands that a person could type; `make help` lists the targets.
.DEFAULT_GOAL := help
.PHONY: help set-up demo check test slow lock upgrade clean
.DELETE_ON_ERROR:
# SHELL must be set: otherwise the make of macOS (3.81) looks for `dvc` on the PATH that it was started
# with, not on the PATH that is set below.
SHELL := /bin/bash
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

help: ## Show this list; PYTHON=/path/to/python before or after a target chooses the Python
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

set-up: ## Install the locked packages into .venv; every other target does it first
	@sh infra/set-up.sh $(if $(PYTHON),"$(PYTHON)")

demo: set-up data/raw ## Train on 1,797 real digits and register version 1
	dvc repro
	fovea summary

check: set-up ## Check style, formatting, types, import contracts and spelling; takes seconds
	ruff check . && ruff format --check . && mypy && lint-imports && codespell

test: set-up ## Run doctests and all tests except the long ones, with branch coverage; takes minutes
	python -m pytest -n 2 --dist loadgroup --cov

slow: set-up ## Run the long tests
	python -m pytest -m slow -n 2 --dist loadgroup

lock: set-up ## Write requirements.lock after a change in pyproject.toml; versions that still fit stay
	uv --no-config pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet $(UPGRADE) -o requirements.lock
	python infra/cut_packages.py

upgrade: ## Write requirements.lock with the newest versions that pyproject.toml allows
	$(MAKE) lock UPGRADE=--upgrade

clean: ## Remove .venv, caches and .fovea (unfinished studies); data, results and registry stay
	rm -rf .venv .fovea .*_cache .coverage* *.egg-info

data/raw: | set-up
	fovea sample digits

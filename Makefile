# Each target is a line or two that a person could type.
.PHONY: demo test slow check clean lock
.DELETE_ON_ERROR:
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

demo: .venv/installed data/raw
	dvc repro
	fovea summary

test: .venv/installed
	python -m pytest -n 2 --dist loadgroup

slow: .venv/installed
	python -m pytest -m slow

check: .venv/installed
	ruff check . && ruff format --check . && mypy && lint-imports

clean:
	rm -rf .venv .fovea .*_cache *.egg-info

# After a change in pyproject.toml: pin everything anew, with hashes and without an index address.
lock: .venv/installed
	uv pip compile pyproject.toml --group dev --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --upgrade -o requirements.lock

.venv/installed: requirements.lock pyproject.toml
	python3 -m venv .venv
	pip install --quiet --no-deps --require-hashes -r requirements.lock
	pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

data/raw: | .venv/installed
	fovea sample digits

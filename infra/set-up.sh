#!/bin/sh
# requirements.lock → .venv with the packages that it lists, and Fovea itself in editable mode.
#
# usage: infra/set-up.sh [PYTHON]
# `make set-up` and all other targets of make that need .venv run this script.
#
# Without PYTHON, the script uses the first suitable Python in this order: python3, python3.11 (the
# Python of continuous integration), python3.12, python3.13.
# If .venv is already up to date, the script does nothing.
set -eu
cd "$(dirname "$0")/.."

fits='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'
minor='import sys; print(sys.version_info[:2])'

# Print the first argument that is the command of a suitable Python with ensurepip and venv.
find_python() {
    received=
    for candidate in "$@"; do
        version=$("$candidate" --version 2>/dev/null) || version="not found"
        if "$candidate" -c "$fits" 2>/dev/null; then
            if "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
                echo "$candidate"
                return
            fi
            version="$version without ensurepip or venv"
        fi
        received="$received${received:+, }$candidate ($version)"
    done
    echo "error: Fovea needs Python 3.11, 3.12 or 3.13 with venv and ensurepip (Debian, Ubuntu:" \
        "apt install python3-venv); install it, or give its path: make PYTHON=/path/to/python." \
        "Received: $received" >&2
    return 1
}

# Succeed if .venv was made from the current requirements.lock and pyproject.toml. If a Python is
# given, also check that .venv has the same minor version of Python.
is_up_to_date() {
    cat requirements.lock pyproject.toml | cmp -s - .venv/installed && is_same_python "$@"
}

is_same_python() {
    [ $# = 0 ] || [ "$(.venv/bin/python -c "$minor" 2>/dev/null)" = "$("$1" -c "$minor")" ]
}

# pip installs uv, and uv installs the packages. If uv cannot be installed or fails, pip installs the
# same packages. For example, there is no wheel of uv for this platform.
# Like pip, uv compiles the packages here. Otherwise, in an environment with PYTHONDONTWRITEBYTECODE,
# as in many containers, every start of a stage would compile them again, which takes seconds.
install_packages() {
    awk '/^[^ ]/ { is_uv = /^uv==/ } is_uv' requirements.lock > .venv/uv.txt
    if .venv/bin/python -m pip install --quiet --no-deps --require-hashes -r .venv/uv.txt &&
        .venv/bin/uv pip install --python .venv/bin/python --no-deps --require-hashes \
            --build-constraints requirements.lock --compile-bytecode -r requirements.lock; then
        return
    fi
    echo "uv failed; now pip installs the same packages, which takes several minutes."
    .venv/bin/python -m pip install --no-deps --require-hashes -r requirements.lock
}

if [ $# = 0 ]; then
    is_up_to_date && exit
    python=$(find_python python3 python3.11 python3.12 python3.13)
else
    python=$(find_python "$1")
    is_up_to_date "$python" && exit
fi

if ! [ -x .venv/bin/python ] || ! is_same_python "$python"; then
    echo "Making .venv with $("$python" --version) ($python)."
    "$python" -m venv --clear .venv
fi
rm -f .venv/installed # If this installation is interrupted, the next call installs again.
echo "Installing the packages of requirements.lock; the first installation downloads about 1 GB."
install_packages
.venv/bin/python -m pip install --quiet --no-deps --no-build-isolation -e .
cat requirements.lock pyproject.toml > .venv/installed

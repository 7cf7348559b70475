#!/usr/bin/env bash
# Makes a virtual environment and installs the package into it, editable, with every version
# pinned by constraints.txt. Safe to run again: what is there already is left alone.
#
#   tools/install.sh [FOLDER]        the environment's folder, .venv by default
#
# PYTHON        the interpreter to start from (python3)
# TORCH_BUILD   cpu (default): the build without CUDA; default: what the package index gives,
#               which on Linux brings CUDA and several gigabytes
# TORCH_INDEX   where the CPU build is looked for when pip's own sources lack it
set -euo pipefail
cd "$(dirname "$0")/.."

venv=${1:-.venv}
python=${PYTHON:-python3}
build=${TORCH_BUILD:-cpu}
index=${TORCH_INDEX:-https://download.pytorch.org/whl/cpu}

fail() {
    echo "install: $*" >&2
    exit 2
}

case "$build" in cpu | default) ;; *) fail "TORCH_BUILD is '$build'; use cpu or default" ;; esac
command -v "$python" >/dev/null || fail "no '$python' here; name a Python 3.11 or newer: make install PYTHON=..."
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$("$python" --version) is too old; name a Python 3.11 or newer: make install PYTHON=..."

if [ ! -x "$venv/bin/python" ]; then
    "$python" -m venv "$venv" || fail "cannot make $venv; on Debian and Ubuntu: apt install python3-venv"
fi
pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }

# PyTorch goes first and alone. Its CPU build carries the local version "+cpu", which the default
# index does not have; asked for by that full name, pip either finds the right file or stops, and
# can never fall back to gigabytes of CUDA. macOS has one build only, without CUDA.
version=$(sed -n 's/^torch==//p' constraints.txt)
have=$("$venv/bin/python" -c 'from importlib.metadata import version; print(version("torch"))' 2>/dev/null || true)
if [ "${have%%+*}" != "$version" ]; then
    echo "installing PyTorch $version"
    if [ "$build" = default ] || [ "$(uname -s)" = Darwin ]; then
        pip install -qq -c constraints.txt "torch==$version"
    elif ! pip install -qq -c constraints.txt "torch==$version+cpu" 2>/dev/null; then
        pip install -qq -c constraints.txt --extra-index-url "$index" "torch==$version+cpu" ||
            fail "no CPU build of torch $version in pip's sources or $index;" \
                "give another place (TORCH_INDEX=URL) or take the default build (TORCH_BUILD=default)"
    fi
fi

echo "installing triptych and what it needs (a minute or two)"
pip install -qq -c constraints.txt --editable '.[dev]'
# Asks for numpy<2 and a plotting stack that it does not use; see "test" in pyproject.toml.
pip install -qq -c constraints.txt --no-deps panopticapi-lite

#!/usr/bin/env bash
# Makes .venv in the checkout from requirements.txt (with --dev also requirements-dev.txt, with --photos also
# requirements-photos.txt, with --laz requirements-laz.txt, with --mesh requirements-mesh.txt).
# Instant when nothing changed. PYTHON chooses the interpreter (3.10 to 3.13).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

PYTHON="${PYTHON:-python3}"
VENV="${VENV:-.venv}"

requirements=(requirements.txt)
case "${1:-}" in --dev | --photos | --laz | --mesh) requirements+=("requirements-${1#--}.txt") ;; esac

fail() { echo "setup.sh: $*" >&2; exit 1; }

install_one() { # requirements file -> installed, and a copy kept as the stamp
    local stamp="$VENV/installed-$1"
    cmp -s "$1" "$stamp" && return 0
    if [ ! -x "$VENV/bin/python" ]; then
        command -v "$PYTHON" >/dev/null || fail "no $PYTHON found; install Python 3.10 to 3.13 or set PYTHON"
        "$PYTHON" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' ||
            fail "$("$PYTHON" --version) is not supported; set PYTHON to a Python 3.10 to 3.13"
        "$PYTHON" -m venv "$VENV" || fail "cannot make $VENV; on Debian or Ubuntu: apt-get install python3-venv"
    fi
    echo "setup.sh: installing $1 into $VENV (once; several minutes on a slow network)" >&2
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check -r "$1" || fail "pip could not install $1"
    cp "$1" "$stamp"
}

for file in "${requirements[@]}"; do install_one "$file"; done

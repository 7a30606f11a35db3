#!/usr/bin/env bash
# Makes .venv in the checkout from requirements.txt (with --dev also requirements-dev.txt, with --photos also
# requirements-photos.txt, with --laz requirements-laz.txt, with --mesh requirements-mesh.txt; any of them together).
# Instant when nothing changed. PYTHON chooses the interpreter (3.10 to 3.13). TORCH_INDEX=cpu takes PyTorch without CUDA,
# a third of the size, for machines without an NVIDIA GPU; another value is the address of an index to take it from.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

PYTHON="${PYTHON:-python3}"
VENV="${VENV:-.venv}"
TORCH_INDEX="${TORCH_INDEX:-}"
[ "$TORCH_INDEX" = cpu ] && TORCH_INDEX=https://download.pytorch.org/whl/cpu

fail() { echo "setup.sh: $*" >&2; exit 1; }

requirements=(requirements.txt)
for flag in "$@"; do
    case "$flag" in
        --dev | --photos | --laz | --mesh) requirements+=("requirements-${flag#--}.txt") ;;
        *) fail "$flag is no flag; there are --dev, --photos, --laz and --mesh" ;;
    esac
done

say_size() { # what the first installation takes, before it starts
    local gpu=yes size="about 6 GB on the disk, 3 GB to download: 5 to 15 minutes"
    command -v nvidia-smi >/dev/null 2>&1 || gpu=no
    if [ "$(uname -s)" = Darwin ] || [ -n "$TORCH_INDEX" ]; then
        size="about 2 GB on the disk: 2 to 5 minutes"
    elif [ "$gpu" = no ]; then
        size="$size (most of it CUDA; no NVIDIA GPU is found here: with TORCH_INDEX=cpu it is about 2 GB)"
    fi
    echo "setup.sh: $1: $size" >&2
}

with_signs_of_life() { # COMMAND...: run it; every five seconds say that it goes on
    local seconds=0 status=0 child
    "$@" &
    child=$!
    trap 'kill "$child" 2>/dev/null; exit 130' INT TERM
    while kill -0 "$child" 2>/dev/null; do
        sleep 1
        seconds=$((seconds + 1))
        if [ $((seconds % 5)) -eq 0 ]; then echo "setup.sh: installing, $seconds s so far" >&2; fi
    done
    wait "$child" || status=$?
    trap - INT TERM
    return "$status"
}

pip_install() { with_signs_of_life "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check "$@"; }

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
    if [ "$1" = requirements.txt ] && [ ! -e "$stamp" ]; then
        say_size "$1"
        if [ -n "$TORCH_INDEX" ]; then
            grep '^torch' "$1" >"$VENV/torch.txt"
            pip_install -r "$VENV/torch.txt" --index-url "$TORCH_INDEX" || fail "pip could not install torch from $TORCH_INDEX"
        fi
    fi
    pip_install -r "$1" || fail "pip could not install $1"
    cp "$1" "$stamp"
}

for file in "${requirements[@]}"; do install_one "$file"; done

#!/usr/bin/env bash
# Proves a GPU in one call of under ten minutes: the numerical tests on it, the golden files with TF32 off and on, speed and
# memory beside the plain definition, two ranks on one card, loss curves. Leaves a page and a JSON in $OUTDIR, complete up
# to where it failed. Flags of tools/gpu_check.py may follow on the command line.
#
# PYTHON_BIN may be any Python 3.10 to 3.13 with torch from 2.11 on; packages that it lacks are named at once. Without it
# the project's own environment is made and used.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
set_up --dev

OUTDIR="${OUTDIR:-$ROOT/outputs/gpu_check}"

exec "$PYTHON_BIN" "$ROOT/tools/gpu_check.py" --outdir "$OUTDIR" "$@"

#!/usr/bin/env bash
# All tests of the project, in an environment it makes itself. Flags of pytest may follow on the command line.
# As many run beside each other as there are cores, up to eight, with one thread each.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh --dev
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
exec .venv/bin/python -m pytest --numprocesses auto --maxprocesses 8 --dist worksteal "$@"

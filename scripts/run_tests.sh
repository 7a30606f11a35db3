#!/usr/bin/env bash
# All tests of the project, in an environment it makes itself. Flags of pytest may follow on the command line.
# Tests often wait for programs that they started, so there run one more at a time than there are cores, one thread each.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh --dev
cores="$(nproc 2>/dev/null || sysctl -n hw.ncpu)"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
exec .venv/bin/python -m pytest --numprocesses "$((cores < 8 ? cores + 1 : 8))" --dist worksteal "$@"

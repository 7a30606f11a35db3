#!/usr/bin/env bash
# All tests of the project, in an environment it makes itself. Flags of pytest may follow on the command line.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh --dev
exec .venv/bin/python -m pytest "$@"

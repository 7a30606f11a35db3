"""Makes `tests/helpers.py` importable from every test folder: pytest puts the folder of a conftest on the path."""

import os

# One OpenMP library serves torch and numba; when they use teams of different sizes, torch gets up to ten times slower.
if "OMP_NUM_THREADS" in os.environ:
    os.environ.setdefault("NUMBA_NUM_THREADS", os.environ["OMP_NUM_THREADS"])

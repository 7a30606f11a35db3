"""Makes `tests/helpers.py` importable from every test folder: pytest puts the folder of a conftest on the path."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from quick_python import quick_python as start_quick_python
from small_runs import make_data

# One OpenMP library serves torch and numba; when they use teams of different sizes, torch gets up to ten times slower.
if "OMP_NUM_THREADS" in os.environ:
    os.environ.setdefault("NUMBA_NUM_THREADS", os.environ["OMP_NUM_THREADS"])

# Without a GPU, Triton's kernels run in its interpreter, which has to be said before they are imported.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.fixture(scope="session")
def quick_python(tmp_path_factory) -> Iterator[Path]:
    """An executable that runs programs like python, without the seconds that importing torch takes."""
    with start_quick_python(tmp_path_factory.mktemp("python")) as executable:
        yield executable


@pytest.fixture(scope="session")
def small_data(tmp_path_factory) -> Path:
    """Data for every program (small_runs)."""
    return make_data(tmp_path_factory.mktemp("small"))

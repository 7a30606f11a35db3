"""Compiled functions with and without a place to keep them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import ROOT
from numba.core import caching

from numba_cache import cached_njit


def double(x):
    return 2 * x


def test_a_compiled_function_is_kept(monkeypatch, tmp_path):
    """Where a folder is writable, a file appears there."""
    monkeypatch.setattr(caching.config, "CACHE_DIR", str(tmp_path))
    assert cached_njit()(double)(4) == 8
    assert list(tmp_path.rglob("*.nbi"))


def test_without_a_writable_folder_functions_still_compile(monkeypatch):
    """numba itself refuses the decoration."""
    monkeypatch.setattr(caching.CompileResultCacheImpl, "_locator_classes", [])
    with pytest.raises(RuntimeError, match="cannot cache"):
        caching.FunctionCache(double)
    assert cached_njit(error_model="numpy")(double)(4) == 8


MODULES = {
    "numbers_there.py": "STEP = {step}\n",
    "helpers_there.py": (
        "from numba_cache import cached_njit\n\n\n@cached_njit()\ndef helped(x):\n    return x * {factor}\n"
    ),
    "main_there.py": (
        "from helpers_there import helped\nfrom numbers_there import STEP\nfrom numba_cache import cached_njit\n\n\n"
        "@cached_njit()\ndef stepped(x):\n    return helped(x) + STEP\n\n\n"
        "print(stepped(1), sum(stepped.stats.cache_hits.values()))\n"
    ),
}


def run_there(folder: Path, step: int, factor: int) -> str:
    """What a program prints that uses a number and a function of other files: the result, and if it was compiled
    already."""
    for name, text in MODULES.items():
        text = text.format(step=step, factor=factor)
        if not (folder / name).exists() or (folder / name).read_text() != text:
            (folder / name).write_text(text)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-B", str(folder / "main_there.py")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.slow
def test_what_other_files_changed_is_compiled_anew(tmp_path):
    """Numbers and functions that are imported are compiled into what uses them."""
    assert run_there(tmp_path, step=1, factor=10) == "11 0"
    assert run_there(tmp_path, step=1, factor=10) == "11 1"
    assert run_there(tmp_path, step=2, factor=10) == "12 0"
    assert run_there(tmp_path, step=2, factor=20) == "22 0"
    assert run_there(tmp_path, step=2, factor=20) == "22 1"

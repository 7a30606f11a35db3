"""Compiled functions with and without a place to keep them."""

import pytest
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

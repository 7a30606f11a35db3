"""SIMD vectors: what they read, compute and write is what numpy does with the values one by one."""

import re

import numba
import numpy as np
import pytest
import torch
from helpers import ROOT

from models.cpu.simd import load, load_bfloat16, store, store_bfloat16, total


@numba.njit
def combine(left, right, number, results, lanes):
    """a + b, a - b, a * b and a * number of two vectors, one after the other; returns the sum of the first."""
    a, b = load(left, lanes), load(right, lanes)
    step = 4 * len(lanes)
    store(results, a + b)
    store(results + step, a - b)
    store(results + 2 * step, a * b)
    store(results + 3 * step, a * number)
    return total(a)


@numba.njit
def through_bfloat16(values, halves, results, lanes):
    """Write a vector as bfloat16, and read it back as float32."""
    store_bfloat16(halves, load(values, lanes))
    store(results, load_bfloat16(halves, lanes))


@pytest.mark.parametrize("lanes", [1, 3, 8, 32])
def test_arithmetic(lanes):
    """Any number of lanes, at addresses that are no multiple of a register's size."""
    rng = np.random.default_rng(lanes)
    memory = rng.normal(size=2 * lanes + 1).astype(np.float32)
    a, b = memory[1 : lanes + 1], memory[lanes + 1 :]
    results = np.empty((4, lanes), np.float32)
    sum_of_a = combine(a.ctypes.data, b.ctypes.data, np.float32(0.3), results.ctypes.data, (None,) * lanes)
    np.testing.assert_array_equal(results, [a + b, a - b, a * b, a * np.float32(0.3)])
    assert sum_of_a == pytest.approx(a.sum(), rel=1e-5, abs=1e-6)


def test_bfloat16_is_rounded_as_torch_does():
    """To nearest, ties to even, with infinity and NaN; numbers too large for it become infinite."""
    special = [0.0, -0.0, 1 + 2**-8, 1 + 3 * 2**-8, np.inf, -np.inf, np.nan, 3.4e38]
    values = np.array([*special, *np.random.default_rng(0).normal(size=56)], np.float32)
    halves, results = np.empty(64, np.uint16), np.empty(64, np.float32)
    through_bfloat16(values.ctypes.data, halves.ctypes.data, results.ctypes.data, (None,) * 64)
    np.testing.assert_array_equal(results, torch.from_numpy(values).bfloat16().float().numpy())


def test_the_page_tells_the_truth(tmp_path):
    """The example of docs/simd.md runs."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "simd.md").read_text("utf-8"), re.DOTALL)
    path = tmp_path / "example.py"
    path.write_text(code)
    exec(compile(code, str(path), "exec"), {"__name__": "example"})

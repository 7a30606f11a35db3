"""The limits under which readers are fuzzed do fail what goes beyond them."""

import mmap

import fuzz_limits
import numpy as np
import pytest
from fuzz_limits import FREE_BYTES, Endless, Excessive, limits

from datasets.files import DataError


def test_memory():
    """A little is free; what the file's size does not justify fails, and is there again afterwards.

    The memory is mapped: an array may lie in what earlier tests gave back to the allocator, and takes nothing new then.
    """
    with limits(0):
        assert np.ones(1 << 20).sum() == 1 << 20
    with limits(4 << 20):
        mmap.mmap(-1, FREE_BYTES + (100 << 20)).close()
    with pytest.raises(Excessive), limits(0):
        mmap.mmap(-1, FREE_BYTES + (100 << 20))
    mmap.mmap(-1, FREE_BYTES + (100 << 20)).close()


def test_a_refusal_for_lack_of_memory_is_a_failure():
    """A reader that takes it for a damaged file is found out."""
    with pytest.raises(Excessive), limits(0):
        try:
            mmap.mmap(-1, FREE_BYTES << 2)
        except Exception:
            raise DataError("input: is damaged") from None


def test_other_refusals_pass():
    """They are what the tests look for."""
    with pytest.raises(DataError), limits(0):
        raise DataError("input: is damaged")


def test_endless_loops(monkeypatch):
    """They are broken, though the reader catches what it can."""
    monkeypatch.setattr(fuzz_limits, "SECONDS", 0.05)
    with pytest.raises(Endless), limits(0):
        while True:
            try:
                sum(range(1000))
            except Exception:
                continue

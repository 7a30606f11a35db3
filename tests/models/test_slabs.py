"""Slabs of rows: they cover everything, and what is made in them is what is made at once."""

import pytest
import torch

from models import slabs
from models.features import FeatureNet


@pytest.mark.parametrize("multiple", [1, 2, 8])
@pytest.mark.parametrize("slab_bytes", [1, 100, 640, 10**9])
def test_slabs_cover_all_rows_once(multiple, slab_bytes, monkeypatch):
    """In order, each from a multiple on, none larger than allowed unless it has the fewest rows there can be."""
    monkeypatch.setattr(slabs, "SLAB_BYTES", slab_bytes)
    ranges = slabs.slabs(20, 24, "cpu", multiple)
    assert [row for rows in ranges for row in range(rows.start, rows.stop)] == list(range(24))
    assert all(rows.start % multiple == 0 for rows in ranges)
    assert all((rows.stop - rows.start) * 20 <= slab_bytes or rows.stop - rows.start == multiple for rows in ranges)


def test_gpus_have_larger_slabs():
    """So few rows that a CPU's cache holds them are too little to do for a GPU."""
    assert len(slabs.slabs(slabs.SLAB_BYTES // 8, 64, "cpu")) == 8
    assert len(slabs.slabs(slabs.SLAB_BYTES // 8, 64, "cuda")) == 2


def test_neighbours_stay_inside():
    """As far as there are rows, and from a multiple to a multiple."""
    assert slabs.with_neighbours(slice(0, 4), 2, 10) == slice(0, 6)
    assert slabs.with_neighbours(slice(4, 8), 2, 10) == slice(2, 10)
    assert slabs.with_neighbours(slice(4, 8), 1, 10, multiple=2) == slice(2, 10)


@pytest.mark.parametrize("shape", [(2, 3, 48, 64), (1, 2, 3, 32, 32)])
@torch.no_grad()
def test_features_in_slabs(shape, monkeypatch):
    """Of maps and of views, with slabs of four rows."""
    torch.manual_seed(1)
    network = FeatureNet().eval()
    images = torch.rand(shape)
    whole = network(images)
    row_bytes = 4 * network.out_channels[0] * images[..., :1, :1, :].numel()
    monkeypatch.setattr(slabs, "SLAB_BYTES", 4 * row_bytes)
    for in_slabs, level in zip(network(images), whole, strict=True):
        torch.testing.assert_close(in_slabs, level, rtol=1e-5, atol=1e-6)

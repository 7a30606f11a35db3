"""Refinement and fusion by torch, wherever the tests compute: the same as by numba on the CPU, but for rounding."""

import numpy as np
import pytest
import torch
from fusion_scenes import camera, sources_of
from places import Place

from datasets.predictions import DepthView
from fusion.builtin import fuse_views
from fusion.consensus import crossed_depth, supported_depth
from fusion.refinement import Surroundings, finished_maps

SIZES = ((24, 32), (20, 30), (30, 40))
CAMERAS = (camera(), camera((30, 5, 0), 0.02), camera((-25, 0, 4), size=(30, 40)))


@pytest.fixture
def device(place: Place) -> torch.device:
    """Where torch computes; with fake tensors as far as there are values."""
    place.needs(float64=True, dtype=torch.float32)
    return place.device


@pytest.fixture
def views() -> list[DepthView]:
    """Noisy planes of different sizes; the last camera stands elsewhere. Some depths are none."""
    random = np.random.default_rng(1)
    views = [
        DepthView((1000 + random.normal(0, 6, size)).astype(np.float32), view)
        for size, view in zip(SIZES, CAMERAS, strict=True)
    ]
    for view in views:
        view.depth[3, 2:7] = (0, -5, np.nan, np.inf, 1e-30)
        view.depth[10:14, 8:14] = 800
    return views


@pytest.fixture
def confidences(views) -> list[np.ndarray]:
    """Of all views; one value is none."""
    confidences = [np.random.default_rng(2).random(view.depth.shape, np.float32) for view in views]
    confidences[1][5, 5] = np.nan
    return confidences


def assert_nearly(actual: np.ndarray, expected: np.ndarray) -> None:
    """But for pixels of which a projection lies half-way between two others, or that are as good as another."""
    assert actual.dtype == expected.dtype and actual.shape == expected.shape
    assert np.isclose(actual, expected, rtol=1e-5, atol=1e-5, equal_nan=True).mean() > 0.995


@pytest.mark.parametrize("spacing", [1, 2])
def test_supported_depth(device, views, confidences, spacing):
    """The choice among neighbours."""
    expected = supported_depth(views[0].depth, sources_of(views, confidences[1:]), spacing)
    assert (expected != views[0].depth).mean() > 0.5
    assert_nearly(supported_depth(views[0].depth, sources_of(views, confidences[1:]), spacing, device), expected)
    np.testing.assert_array_equal(
        supported_depth(views[0].depth, sources_of(views[:1], []), spacing, device), views[0].depth
    )


def test_crossed_depth(device, views, confidences):
    """The choice among what sources see, where several of their pixels fall on one."""
    own = 0.1 * confidences[0]
    expected, support = crossed_depth(views[0].depth, own, sources_of(views, confidences[1:]))
    assert 0.02 < (expected != views[0].depth).mean() < 0.98
    depth, its_support = crossed_depth(views[0].depth, own, sources_of(views, confidences[1:]), device)
    assert_nearly(depth, expected)
    assert_nearly(its_support, support)


def test_finished_maps(device, views, confidences):
    """A whole last pass."""
    around = Surroundings(np.random.default_rng(3).integers(0, 255, (*SIZES[0], 3), np.uint8), (500.0, 2000.0))
    others = sources_of(views, confidences[1:])
    expected, confidence = finished_maps(views[0].depth, confidences[0], others, around)
    found, its_confidence = finished_maps(views[0].depth, confidences[0], others, around, device)
    assert np.isclose(found, expected, rtol=1e-3).mean() > 0.98  # planes go through many pixels
    assert np.isclose(its_confidence, confidence, atol=1e-3).mean() > 0.98


def test_fused_points(device):
    """As many points as numba finds."""
    depths, images = np.full((2, *SIZES[0]), 1024, np.float32), np.full((2, *SIZES[0], 3), 9, np.uint8)
    cameras = [camera(), camera((40, 0, 0))]
    counts = [
        sum(len(view.points) for view in fuse_views(depths, images, cameras, 0.1, 1, device=d)) for d in (None, device)
    ]
    assert counts[0] == counts[1] > 0

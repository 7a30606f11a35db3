"""Refinement and fusion by torch, wherever the tests compute: the same as by numba on the CPU, but for rounding."""

import cv2
import numpy as np
import pytest
import torch
from fusion_scenes import camera, sources_of
from places import Place

from datasets.predictions import DepthView
from fusion import (
    agreement,
    agreement_torch,
    consensus,
    consensus_torch,
    photo_consistency,
    photo_consistency_torch,
)
from fusion.builtin import fuse_views
from fusion.continuation import Fits, continued
from fusion.continuation_torch import FitsOnDevice
from fusion.refinement import Surroundings, finished_maps, supported_map
from fusion.sources import Sources
from fusion.sources_torch import SourcesOnDevice

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


@pytest.fixture
def images() -> list[np.ndarray]:
    """Of all views: smooth textures, one of them bare on its right."""
    random = np.random.default_rng(3)
    images = [cv2.GaussianBlur(random.integers(0, 255, (*size, 3)).astype(np.uint8), (0, 0), 1.0) for size in SIZES]
    images[2][:, 15:] = 90
    return images


@pytest.fixture
def sources(views, confidences) -> Sources:
    """What the first view's sources see."""
    return sources_of(views, confidences[1:])


@pytest.fixture
def there(sources, device) -> SourcesOnDevice:
    """The same where torch computes."""
    return SourcesOnDevice(sources, device)


@pytest.fixture
def nobody(views, device) -> SourcesOnDevice:
    """No sources."""
    return SourcesOnDevice(sources_of(views[:1], []), device)


@pytest.mark.parametrize("spacing", [1, 2])
def test_supported_depth(views, sources, there, nobody, spacing):
    """The choice among neighbours."""
    depth = views[0].depth
    expected = consensus.supported_depth(depth, sources, spacing)
    assert (expected != depth).mean() > 0.5
    assert_nearly(consensus_torch.supported_depth(depth, there, spacing), expected)
    np.testing.assert_array_equal(consensus_torch.supported_depth(depth, nobody, spacing), depth)


def test_crossed_depth(views, confidences, sources, there, nobody):
    """The choice among what sources see, where several of their pixels fall on one."""
    depth, own = views[0].depth, 0.1 * confidences[0]
    own[4, 4] = np.nan
    expected, support = consensus.crossed_depth(depth, own, sources)
    assert 0.02 < (expected != depth).mean() < 0.98
    found, its_support = consensus_torch.crossed_depth(depth, own, there)
    assert_nearly(found, expected)
    assert_nearly(its_support, support)
    np.testing.assert_array_equal(consensus_torch.crossed_depth(depth, own, nobody), (depth, np.nan_to_num(own)))


@pytest.mark.parametrize("asked", [2, 1, 0])
def test_photos(views, images, sources, there, nobody, asked):
    """The choice by photos, as many as there are, and what they confirm."""
    depth, photos = views[0].depth, images[1 : 1 + asked]
    expected = photo_consistency.photo_consistent_depth(depth, images[0], sources, photos)
    assert not asked or 0.05 < (expected != depth).mean() < 0.98
    assert_nearly(photo_consistency_torch.photo_consistent_depth(depth, images[0], there, photos), expected)
    expected = photo_consistency.confirmation(depth, images[0], sources, photos)
    assert (expected > 0).mean() > 0.3
    assert_nearly(photo_consistency_torch.confirmation(depth, images[0], there, photos), expected)
    np.testing.assert_array_equal(photo_consistency_torch.photo_consistent_depth(depth, images[0], nobody, []), depth)
    assert not photo_consistency_torch.confirmation(depth, images[0], nobody, []).any()


def test_many_pixels_fall_into_parts(views, images, there, monkeypatch):
    """Which are compared one after the other."""
    given = (views[0].depth, images[0], there, images[1:])
    whole = photo_consistency_torch.photo_consistent_depth(*given)
    monkeypatch.setattr(photo_consistency_torch, "_AT_A_TIME", 100)
    np.testing.assert_array_equal(photo_consistency_torch.photo_consistent_depth(*given), whole)


def test_agreed_depth(views, confidences, sources, there, nobody):
    """The mean with what the sources see."""
    depth, own = views[0].depth, confidences[0]
    own[4, 4] = np.nan
    expected = agreement.agreed_depth(depth, own, sources)
    assert (expected != depth).mean() > 0.5
    assert_nearly(agreement_torch.agreed_depth(depth, own, there), expected)
    np.testing.assert_array_equal(agreement_torch.agreed_depth(depth, own, nobody), depth)


def test_continued(device, views, confidences, images):
    """Planes, where some depths are none and some count nothing."""
    depth = np.where(views[0].depth > 1, views[0].depth, np.inf)
    inverse = (1 / depth).astype(np.float32)  # of some none
    weight = np.where(confidences[0] < 0.2, 0, confidences[0])
    expected = continued(inverse, weight, Fits(images[0]))
    found = continued(inverse, weight, FitsOnDevice(images[0], device))
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    assert np.median(np.abs(found / expected - 1)) < 1e-5
    assert not continued(np.zeros_like(inverse), weight, FitsOnDevice(images[0], device)).any()


def test_passes(device, views, confidences, sources, images):
    """Whole ones."""
    depth, around = views[0].depth, Surroundings(images[0], (500.0, 2000.0), images[1:])
    assert_nearly(supported_map(depth, sources, 1, device), supported_map(depth, sources, 1))
    (expected, confidence), (found, its_confidence) = (
        finished_maps(depth, confidences[0], sources, around, place) for place in (None, device)
    )
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

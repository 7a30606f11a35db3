"""The mean of what views agree on: noise, surfaces apart, values that are none, and the definition written out."""

import numpy as np
import pytest
from fusion_scenes import camera, plane_depth, sources_of

from datasets.predictions import DepthView
from fusion.agreement import agreed_depth

SIZE = (24, 32)
CAMERAS = [camera(), camera((40, 0, 0)), camera((-40, 0, 0)), camera((0, 40, 0))]
ALL = np.ones(SIZE, np.float32)
INNER = (slice(4, 20), slice(6, 26))  # seen by all


def views_of(depths) -> list[DepthView]:
    return [DepthView(np.asarray(depth, np.float32), view) for depth, view in zip(depths, CAMERAS, strict=False)]


def test_exact_depths_stay():
    """Of a plane that slants: what another view sees between four pixels is told at the right place."""
    views = views_of([plane_depth(view, (0.2, 0.1, 1.0), 1000.0) for view in CAMERAS])
    agreed = agreed_depth(views[0].depth, ALL, sources_of(views, [ALL] * 3))
    np.testing.assert_allclose(agreed[INNER], views[0].depth[INNER], rtol=2e-4)
    flat = views_of([np.full(SIZE, 1024.0)] * 4)
    np.testing.assert_array_equal(agreed_depth(flat[0].depth, ALL, sources_of(flat, [ALL] * 3)), flat[0].depth)


def test_noise_of_four_views_is_halved():
    random = np.random.default_rng(0)
    views = views_of([1024 + random.normal(0, 2, SIZE) for _ in CAMERAS])
    agreed = agreed_depth(views[0].depth, ALL, sources_of(views, [ALL] * 3))
    before, after = (float(np.std(depth[INNER])) for depth in (views[0].depth, agreed))
    assert after < 0.55 * before


def test_the_more_confident_counts_more():
    views = views_of([np.full(SIZE, 1000.0), np.full(SIZE, 1004.0)])
    sure, unsure = ALL, np.full(SIZE, 0.01, np.float32)
    assert agreed_depth(views[0].depth, sure, sources_of(views, [unsure]))[INNER].max() < 1000.1
    assert agreed_depth(views[0].depth, unsure, sources_of(views, [sure]))[INNER].min() > 1003.9
    nothing = np.full(SIZE, np.nan, np.float32)
    np.testing.assert_array_equal(agreed_depth(views[0].depth, sure, sources_of(views, [nothing])), views[0].depth)


@pytest.mark.parametrize("other", [1300, 700, 0, -5, np.nan, np.inf])
def test_another_surface_or_none_does_not_count(other):
    views = views_of([np.full(SIZE, 1000.0), np.full(SIZE, other)])
    np.testing.assert_array_equal(agreed_depth(views[0].depth, ALL, sources_of(views, [ALL])), views[0].depth)


@pytest.mark.parametrize("bad", [0, -5, np.nan, np.inf])
def test_what_is_no_depth_stays_what_it_is(bad):
    depth = np.full(SIZE, 1000.0)
    depth[10, 10] = bad
    views = views_of([depth, np.full(SIZE, 1004.0)])
    agreed = agreed_depth(views[0].depth, ALL, sources_of(views, [ALL]))
    assert np.array_equal(agreed[10, 10], np.float32(bad), equal_nan=True)
    assert 1001 < agreed[10, 11] < 1003
    np.testing.assert_array_equal(agreed_depth(views[0].depth, ALL, sources_of(views[:1], [])), views[0].depth)


def test_edges_are_not_mixed():
    """Before and behind an edge lie 512 and 1024."""
    edge = np.full(SIZE, 1024.0)
    edge[:, :16] = 512
    views = [DepthView(edge.astype(np.float32), CAMERAS[0])] * 3
    np.testing.assert_array_equal(agreed_depth(views[0].depth, ALL, sources_of(views, [ALL] * 2)), edge)


def by_definition(reference, own, sources, confidences) -> np.ndarray:
    """The mean pixel by pixel, as the module's text has it."""
    mean = reference.depth.astype(np.float64)
    for y, x in np.ndindex(*reference.depth.shape):
        depth, weights, depths = float(reference.depth[y, x]), [own[y, x]], [reference.depth[y, x]]
        for source, confidence in zip(sources, confidences, strict=True):
            src_T_ref = source.camera.projection() @ np.linalg.inv(reference.camera.projection())
            u, v, z = (src_T_ref @ [x * depth, y * depth, depth, 1])[:3]
            u, v = u / z, v / z
            row, column = nearest = int(np.floor(v + 0.5)), int(np.floor(u + 0.5))
            height, width = source.depth.shape
            if not (0 <= row < height and 0 <= column < width):
                continue
            found = source.depth[nearest]
            if 0 <= u < width - 1 and 0 <= v < height - 1:
                around = source.depth[int(v) : int(v) + 2, int(u) : int(u) + 2].astype(np.float64)
                if around.max() < 1.02 * around.min():
                    found = np.array([1 - v % 1, v % 1]) @ around @ np.array([1 - u % 1, u % 1])
            share, change = (found - z) / z / 0.02, (found - z) / (src_T_ref[2, :3] @ [x, y, 1])
            if abs(share) < 1 and abs(change) < 0.02 * depth:
                weights.append(confidence[nearest] * (1 - share**2))
                depths.append(depth + change)
        mean[y, x] = np.average(depths, weights=weights)
    return mean


def test_is_what_its_definition_says_for_sources_of_other_sizes():
    random = np.random.default_rng(1)
    sizes = (SIZE, (20, 30), (30, 40))
    cameras = (camera(), camera((30, 5, 0), 0.02), camera((-25, 0, 4), size=(30, 40)))
    views = [
        DepthView((1000 + random.normal(0, 8, size)).astype(np.float32), view)
        for size, view in zip(sizes, cameras, strict=True)
    ]
    confidences = [random.random(size, np.float32) for size in sizes]
    agreed = agreed_depth(views[0].depth, confidences[0], sources_of(views, confidences[1:]))
    expected = by_definition(views[0], confidences[0], views[1:], confidences[1:])
    assert (agreed != views[0].depth).mean() > 0.5
    assert (np.abs(agreed / expected - 1) < 1e-6).mean() > 0.995  # a position may lie half-way between two pixels

"""Depth that other views support: known geometry, edges, invalid values, and the definition written out."""

import numpy as np
import pytest
from fusion_scenes import camera, plane_depth, sources_of

from datasets.predictions import DepthView
from fusion.consensus import crossed_depth, supported_depth
from fusion.sources import Sources

SIZE = (24, 32)
CAMERAS = [camera(), camera((40, 0, 0)), camera((-40, 0, 0)), camera((0, 40, 0))]


def views_of(depths) -> list[DepthView]:
    return [DepthView(np.asarray(depth, np.float32), view) for depth, view in zip(depths, CAMERAS, strict=False)]


def sure(views) -> list[np.ndarray]:
    """Full confidence everywhere."""
    return [np.ones(view.depth.shape, np.float32) for view in views]


def test_what_all_views_agree_on_stays():
    views = views_of([np.full(SIZE, 1024.0)] * 4)
    np.testing.assert_array_equal(supported_depth(views[0].depth, sources_of(views, sure(views[1:]))), views[0].depth)


def test_single_wrong_pixels_of_a_slanted_plane_take_a_neighbours_depth():
    exact = [plane_depth(view, (0.2, 0.1, 1.0), 1000.0) for view in CAMERAS]
    noisy = exact[0].copy()
    wrong = np.zeros(SIZE, bool)
    wrong[4:20:4, 4:28:4] = True
    noisy[wrong] *= 1.3
    views = views_of([noisy, *exact[1:]])
    refined = supported_depth(views[0].depth, sources_of(views, sure(views[1:])))
    step = (
        2 * np.abs(np.diff(exact[0])).max() + 2 * np.abs(np.diff(exact[0], axis=0)).max()
    )  # to the farthest neighbour
    assert np.abs(refined - exact[0]).max() <= step < 0.02 * exact[0].min()  # where it was 0.3


def test_a_blurred_edge_becomes_sharp():
    """Before and behind an edge lie 512 and 1024; the reference has their mean in between, at neither surface."""
    sharp = np.full(SIZE, 1024.0)
    sharp[:, :16] = 512
    blurred = sharp.copy()
    blurred[:, 15:17] = 768
    parallel = [DepthView(sharp.astype(np.float32), CAMERAS[0])] * 2  # the same place: the edge is where it is
    refined = supported_depth(blurred, Sources(parallel[0], parallel, sure(parallel)))
    np.testing.assert_array_equal(refined, sharp)


def test_spacing_reaches_farther():
    exact = np.full(SIZE, 1024.0, np.float32)
    hole = exact.copy()
    hole[6:15, 6:15] = 700  # its middle is 5 pixels from the border
    views = views_of([hole, exact, exact])
    near = supported_depth(views[0].depth, sources_of(views, sure(views[1:])))
    far = supported_depth(views[0].depth, sources_of(views, sure(views[1:])), spacing=3)
    assert near[10, 10] == 700 and far[10, 10] == 1024


@pytest.mark.parametrize(("depth", "expected"), [(32, 32), (700, 1024)])
def test_what_lies_behind_tells_nothing_against_a_thing_that_nobody_sees_through(depth, expected):
    """All others see the wall. At 32 a thing is beside their images, so near to this camera; at 700 they see through
    it."""
    wall = np.full(SIZE, 1024.0, np.float32)
    before_it = wall.copy()
    before_it[8:16, 8:16] = depth
    views = views_of([before_it, wall, wall, wall])
    crossed, _ = crossed_depth(views[0].depth, np.full(SIZE, 0.01, np.float32), sources_of(views, sure(views[1:])))
    chosen = supported_depth(views[0].depth, sources_of(views, sure(views[1:])), spacing=3)
    assert (crossed[8:16, 8:16] == expected).all() and (chosen[10:14, 10:14] == expected).all()
    assert (crossed[:8] == 1024).all() and (chosen[:8] == 1024).all()


def test_the_more_confident_source_decides():
    depth = np.full(SIZE, 1024.0)
    depth[:, 16:] = 512
    views = [DepthView(d.astype(np.float32), CAMERAS[0]) for d in (depth, np.full(SIZE, 1024.0), np.full(SIZE, 512.0))]
    for strong in (0, 1):
        confidences = [np.full(SIZE, 0.9 if k == strong else 0.3, np.float32) for k in (0, 1)]
        refined = supported_depth(views[0].depth, sources_of(views, confidences))
        assert (refined[:, 14:18] == (1024, 512)[strong]).all()


@pytest.mark.parametrize("bad", [0, -5, np.nan, np.inf])
def test_pixels_without_depth(bad):
    """In the reference they take a supported neighbour's, in a source they support nothing."""
    depth = np.full(SIZE, 1024.0)
    depth[10, 10] = bad
    views = views_of([depth, np.full(SIZE, 1024.0), np.full(SIZE, bad)])
    by_another, by_none = (Sources(views[0], [source], sure([source])) for source in views[1:])
    assert supported_depth(views[0].depth, by_another)[10, 10] == 1024
    np.testing.assert_array_equal(supported_depth(views[0].depth, by_none), views[0].depth)


def test_confidence_that_is_not_a_number_counts_as_none():
    views = views_of([np.where(np.eye(*SIZE) > 0, 700.0, 1024.0), np.full(SIZE, 1024.0)])
    nothing = [np.full(SIZE, np.nan, np.float32)]
    np.testing.assert_array_equal(supported_depth(views[0].depth, sources_of(views, nothing)), views[0].depth)


def test_without_sources_depth_stays():
    view = views_of([np.full(SIZE, 1024.0)])[0]
    refined = supported_depth(view.depth, sources_of([view], []))
    np.testing.assert_array_equal(refined, view.depth)
    assert refined is not view.depth


def by_definition(reference, sources, confidences, spacing) -> np.ndarray:
    """The choice pixel by pixel, as the module's text has it."""
    height, width = reference.depth.shape
    shifts = [(dy * spacing, dx * spacing) for dy in range(-2, 3) for dx in range(-2, 3)]
    shifts.remove((0, 0))
    chosen = reference.depth.copy()
    for y in range(height):
        for x in range(width):
            inside = [(y, x)] + [(y + b, x + a) for b, a in shifts if 0 <= y + b < height and 0 <= x + a < width]
            votes = [support(y, x, reference.depth[at], reference, sources, confidences) for at in inside]
            own, through = reference.depth[y, x], votes[0][1]
            supports = [
                min(agreed, through) if 0 < 1.006 * own < reference.depth[at] else agreed
                for at, (agreed, _) in zip(inside, votes, strict=True)
            ]
            supports[0] = max(supports[0], 1.5 * supports[0])  # the pixel's own
            chosen[y, x] = reference.depth[inside[int(np.argmax(supports))]]
    return chosen


def support(y, x, depth, reference, sources, confidences) -> tuple[float, float]:
    """How much the sources support a depth, and how much they see through it."""
    total = through = 0.0
    for source, confidence in zip(sources, confidences, strict=True):
        src_T_ref = source.camera.projection() @ np.linalg.inv(reference.camera.projection())
        u, v, z = (src_T_ref @ [x * float(depth), y * float(depth), depth, 1])[:3]
        column, row = int(np.floor(u / z + 0.5)), int(np.floor(v / z + 0.5))
        if 0 <= row < source.depth.shape[0] and 0 <= column < source.depth.shape[1]:
            difference = (source.depth[row, column] - z) / z / 0.006
            agreement = max(0, 1 - difference**2) if difference < 1 else -0.1 * min(1, difference - 1)
            total += confidence[row, column] * agreement
            through += confidence[row, column] * max(0, -agreement) / 0.1
    return total, through


@pytest.mark.parametrize("spacing", [1, 2])
def test_is_what_its_definition_says_for_sources_of_other_sizes(spacing):
    random = np.random.default_rng(spacing)
    sizes = (SIZE, (20, 30), (30, 40))
    cameras = (camera(), camera((30, 5, 0), 0.02), camera((-25, 0, 4), size=(30, 40)))
    views = [
        DepthView((1000 + random.normal(0, 6, size)).astype(np.float32), view)
        for size, view in zip(sizes, cameras, strict=True)
    ]
    confidences = [random.random(size, np.float32) for size in sizes[1:]]
    expected = by_definition(views[0], views[1:], confidences, spacing)
    refined = supported_depth(views[0].depth, sources_of(views, confidences), spacing)
    assert (refined != views[0].depth).mean() > 0.5
    assert (refined == expected).mean() > 0.995  # a projection may lie half-way between two pixels

"""Depth continued over what nothing confirms, and a whole pass of refinement."""

import numpy as np
import pytest
from fusion_scenes import camera, plane_depth, sources_of

from datasets.predictions import DepthView
from fusion.consensus import crossed_depth
from fusion.continuation import Fits, continued
from fusion.refinement import Surroundings, finished_maps

SIZE = (48, 64)
CAMERAS = [camera(), camera((40, 0, 0)), camera((-40, 0, 0)), camera((0, 40, 0))]
GREY = np.full((*SIZE, 3), 128, np.uint8)
AROUND = Surroundings(GREY, (100, 5000))
HOLE = (slice(16, 32), slice(20, 44))


# ---------------------------------------------------------------- planes


def inverse_plane() -> np.ndarray:
    """Inverse depths of a slanted plane: affine in the pixel."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    return (1e-3 + 5e-6 * x - 3e-6 * y).astype(np.float32)


@pytest.mark.parametrize("wrong", [0, 2e-3])
def test_a_slanted_plane_goes_on_over_a_hole(wrong):
    """Nothing there, or something wrong that nothing confirms: the plane through what is around it."""
    exact, weight = inverse_plane(), np.ones(SIZE, np.float32)
    inverse = exact.copy()
    inverse[HOLE], weight[HOLE] = wrong, 0
    assert np.abs(continued(inverse, weight, Fits(GREY)) / exact - 1)[HOLE].max() < 0.02
    assert np.abs(continued(inverse, weight, Fits(GREY)) / exact - 1).mean() < 0.005


def test_what_contradicts_its_surroundings_counts_less():
    """A tenth of the pixels is far off, as well confirmed as the others."""
    exact = inverse_plane()
    wrong = np.random.default_rng(0).random(SIZE) < 0.1
    found = continued(np.where(wrong, 3 * exact, exact), np.ones(SIZE, np.float32), Fits(GREY))
    assert np.abs(found / exact - 1).mean() < 0.02


def test_surfaces_end_where_the_image_changes():
    """The left half is near, the right half far; of the right half only the far end is known."""
    inverse = np.full(SIZE, 2e-3, np.float32)
    inverse[:, 32:] = 1e-3
    weight = np.ones(SIZE, np.float32)
    weight[:, 32:44] = 0
    inverse[:, 32:44] = 0
    image = GREY.copy()
    image[:, 32:] = 250
    found = continued(inverse, weight, Fits(image))
    assert np.abs(found[:, 40:] / 1e-3 - 1).max() < 0.25 and np.abs(found[:, :28] / 2e-3 - 1).max() < 0.05
    blind = continued(inverse, weight, Fits(GREY))
    assert np.abs(blind[:, 36:] - 1e-3).mean() > 2 * np.abs(found[:, 36:] - 1e-3).mean()


def test_units_do_not_matter():
    """Millimetres or light years."""
    inverse, weight = inverse_plane(), np.random.default_rng(0).random(SIZE).astype(np.float32)
    near = continued(inverse, weight, Fits(GREY))
    np.testing.assert_allclose(continued(inverse * np.float32(1e-9), weight, Fits(GREY)) * 1e9, near, rtol=1e-3)


def test_nothing_known_nothing_continued():
    assert not continued(np.zeros(SIZE, np.float32), np.ones(SIZE, np.float32), Fits(GREY)).any()


# ---------------------------------------------------------------- what sources see there


def views_of(depths) -> list[DepthView]:
    return [DepthView(np.asarray(depth, np.float32), view) for depth, view in zip(depths, CAMERAS, strict=False)]


def unsure(view: DepthView) -> np.ndarray:
    """No confidence anywhere."""
    return np.zeros(view.depth.shape, np.float32)


def sure(views, value: float = 1.0) -> list[np.ndarray]:
    return [np.full(view.depth.shape, value, np.float32) for view in views]


def test_a_surface_that_two_sources_see_replaces_what_none_confirms():
    """However far from any pixel that has it."""
    exact = np.full(SIZE, 1024.0)
    wrong = exact.copy()
    wrong[HOLE] = 700
    views = views_of([wrong, exact, exact, exact])
    depth, support = crossed_depth(views[0].depth, unsure(views[0]), sources_of(views, sure(views[1:])))
    np.testing.assert_allclose(depth, 1024, rtol=1e-5)
    assert support.max() == pytest.approx(3, abs=1e-3)


def test_one_source_alone_does_not_outdo_the_others():
    """It supports its own surface by half; two that see through it take that back, or support what is there.

    At the border the two do not see what the reference sees.
    """
    exact, other = np.full(SIZE, 1024.0), np.full(SIZE, 700.0)
    views = views_of([exact, other, exact, exact])
    depth, _ = crossed_depth(views[0].depth, unsure(views[0]), sources_of(views, sure(views[1:])))
    inside = (slice(6, -6), slice(6, -6))
    np.testing.assert_array_equal(depth[inside], views[0].depth[inside])


def test_sources_without_confidence_are_not_carried_over():
    views = views_of([np.full(SIZE, 700.0), np.full(SIZE, 1024.0)])
    depth, support = crossed_depth(views[0].depth, unsure(views[0]), sources_of(views, sure(views[1:], 0.001)))
    np.testing.assert_array_equal(depth, views[0].depth)
    assert not (support > 0).any()


def test_a_confident_pixel_is_not_outdone():
    """Its own confidence counts like that of the sources."""
    views = views_of([np.full(SIZE, 700.0), np.full(SIZE, 1024.0)])
    for own, expected in ((0.9, 700), (0.1, 1024)):
        confidence = np.full(SIZE, own, np.float32)
        depth, _ = crossed_depth(views[0].depth, confidence, sources_of(views, sure(views[1:], 0.6)))
        np.testing.assert_allclose(np.median(depth), expected, rtol=1e-5)


# ---------------------------------------------------------------- a pass


def test_a_pass_mends_what_is_wrong_and_leaves_what_is_confirmed():
    """No view knows the hole: the plane goes on over it. Elsewhere depths stay to the bit."""
    exact = [plane_depth(view, (0.2, 0.1, 1.0), 1000.0) for view in CAMERAS]
    size = exact[0].shape
    hole = (slice(size[0] // 3, size[0] // 2), slice(size[1] // 3, size[1] // 2))
    image, depths = np.full((*size, 3), 128, np.uint8), [depth.copy() for depth in exact]
    for k, depth in enumerate(depths):
        depth[hole] *= 1.3 + 0.2 * k
    views = views_of(depths)
    confidences = sure(views[1:])
    for confidence in confidences:
        confidence[hole] = 0.001
    around = Surroundings(image, (100, 5000))
    refined, _ = finished_maps(views[0].depth, confidences[0], sources_of(views, confidences), around)
    assert np.abs(refined / exact[0] - 1)[hole].max() < 0.05
    corner = (slice(2, 6), slice(2, 6))
    assert np.abs(refined / exact[0] - 1)[corner].max() < 0.01


def test_nothing_confirmed_nothing_changed():
    views = views_of([np.full(SIZE, 700.0), np.full(SIZE, 1024.0)])
    refined, _ = finished_maps(views[0].depth, unsure(views[0]), sources_of(views, sure(views[1:], 0)), AROUND)
    np.testing.assert_array_equal(refined, views[0].depth)
    alone, confidence = finished_maps(views[0].depth, unsure(views[0]), sources_of(views[:1], []), AROUND)
    np.testing.assert_array_equal(alone, views[0].depth)
    np.testing.assert_array_equal(confidence, unsure(views[0]))


def test_planes_stay_between_the_limits():
    exact = np.full(SIZE, 1024.0)
    exact[:, 32:] = 0
    views = views_of([exact, exact, exact])
    around = Surroundings(GREY, (900, 1000))
    refined, _ = finished_maps(views[0].depth, unsure(views[0]), sources_of(views, sure(views[1:])), around)
    assert refined[:, 40:].max() <= 1000 and refined[:, 40:].min() >= 900

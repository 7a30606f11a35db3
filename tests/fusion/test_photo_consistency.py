"""Depth at which the photos agree: things whose edges depth maps have lost, bare surfaces, slants, and values that are
none."""

import numpy as np
import pytest
from fusion_scenes import camera, plane_depth, sources_of

from datasets.predictions import DepthView
from fusion.consensus import crossed_depth
from fusion.photo_consistency import confirmation, photo_consistent_depth
from fusion.sources import Sources

SIZE = (48, 64)
FAR, NEAR = 1024.0, 512.0
# Both surfaces move by whole pixels from view to view: by 4 and 8.
SHIFTS = [(0, 0), (0, 4), (0, -4), (4, 0), (-4, 0)]
CAMERAS = [camera((8 * right, 8 * down, 0), size=SIZE) for down, right in SHIFTS]
POST = slice(28, 38)  # the columns of a post before a wall
INNER = (slice(10, -10), slice(14, -14))  # seen by all


def seen_from(shift: tuple[int, int], far: np.ndarray, near: np.ndarray, post: slice) -> np.ndarray:
    """What a view sees of the far surface's values and, before it, of the near one's in the columns of the post."""
    down, right = shift
    values = np.roll(far, (-down, -right), axis=(0, 1))
    columns = slice(post.start - 2 * right, post.stop - 2 * right)
    values[:, columns] = np.roll(near, (-2 * down, -2 * right), axis=(0, 1))[:, columns]
    return values


def depths(post: slice = POST) -> list[np.ndarray]:
    surfaces = np.full(SIZE, FAR, np.float32), np.full(SIZE, NEAR, np.float32)
    return [seen_from(shift, *surfaces, post) for shift in SHIFTS]


def photos() -> list[np.ndarray]:
    """Of two textures, bright and dark, that nobody can take for each other."""
    random = np.random.default_rng(0)
    far, near = (random.integers(low, low + 100, (*SIZE, 1)).astype(np.uint8).repeat(3, axis=2) for low in (20, 130))
    return [seen_from(shift, far, near, POST) for shift in SHIFTS]


def views_of(maps) -> list[DepthView]:
    return [DepthView(np.asarray(depth, np.float32), view) for depth, view in zip(maps, CAMERAS, strict=False)]


def sure(views, value: float = 0.3) -> list[np.ndarray]:
    return [np.full(view.depth.shape, value, np.float32) for view in views]


def refined(views: list[DepthView], images: list[np.ndarray]) -> np.ndarray:
    return photo_consistent_depth(views[0].depth, images[0], sources_of(views, sure(views[1:])), images[1:])


def test_right_depth_stays_to_the_bit():
    views = views_of(depths())
    np.testing.assert_array_equal(refined(views, photos())[INNER], views[0].depth[INNER])


def test_a_post_that_all_views_have_eroded_grows_again():
    """Their depth maps agree on the wall behind its sides. Only the photos tell that it is not there."""
    eroded = views_of(depths(slice(POST.start + 3, POST.stop - 3)))
    exact = depths()[0][INNER]
    crossed, _ = crossed_depth(eroded[0].depth, sure(eroded)[0], sources_of(eroded, sure(eroded[1:])))
    by_photos = refined(eroded, photos())
    wrong = [(np.abs(found[INNER] / exact - 1) > 0.01).mean() for found in (eroded[0].depth, crossed, by_photos)]
    assert wrong[0] > 0.16 and wrong[1] > 0.16 and wrong[2] < 0.01


def test_a_post_that_the_view_itself_has_missed_comes_from_the_others():
    views = views_of(depths())
    missed = DepthView(np.full(SIZE, FAR, np.float32), CAMERAS[0])
    found = refined([missed, *views[1:]], photos())
    assert (found[INNER] == views[0].depth[INNER]).mean() > 0.99


def test_a_thing_beside_all_other_photos_stays():
    """It is so near to the camera that the others pass it by: that they show the wall behind it tells nothing."""
    near = depths(slice(0, 0))
    near[0][20:28, 28:36] = 32
    found = refined(views_of(near), photos())
    assert (found[20:28, 28:36] == 32).all()


def test_bare_surfaces_change_nothing():
    """All candidates match equally badly: each pixel keeps its own."""
    eroded = views_of(depths(slice(POST.start + 3, POST.stop - 3)))
    grey = [np.full((*SIZE, 3), 128, np.uint8)] * len(eroded)
    np.testing.assert_array_equal(refined(eroded, grey)[INNER], eroded[0].depth[INNER])


def test_other_brightness_and_contrast_do_not_matter():
    eroded, images = views_of(depths(slice(POST.start + 3, POST.stop - 3))), photos()
    darker = [images[0], *((image // 2 + 10).astype(np.uint8) for image in images[1:])]
    assert (refined(eroded, darker)[INNER] == depths()[0][INNER]).mean() > 0.98


def test_the_photos_of_the_first_sources_are_enough():
    eroded, images = views_of(depths(slice(POST.start + 3, POST.stop - 3))), photos()
    assert (refined(eroded, images[:4])[INNER] == depths()[0][INNER]).mean() > 0.98


def test_a_neighbours_plane_goes_on_to_the_pixel():
    """Of a wall that turns away, 0.4 % nearer with every pixel to the right and down: a neighbour's depth would be
    wrong. The sources are not sure enough to tell theirs."""
    normal, offset = (0.25, 0.25, 0.45), 500.0
    exact = [plane_depth(view, normal, offset, SIZE) for view in CAMERAS]
    texture = np.random.default_rng(1).integers(0, 255, (64, 64)).astype(np.float64)
    images = []
    for view, depth in zip(CAMERAS, exact, strict=True):
        points = view.lift(depth, np.ones(SIZE, bool)).reshape(*SIZE, 3)
        places = [points[..., axis] / 16 % 63 for axis in (2, 1)]
        left, top = (place.astype(int) for place in places)
        across, along = places[0] - left, places[1] - top
        upper = texture[top, left] * (1 - across) + texture[top, left + 1] * across
        lower = texture[top + 1, left] * (1 - across) + texture[top + 1, left + 1] * across
        images.append((upper * (1 - along) + lower * along).astype(np.uint8)[..., None].repeat(3, axis=2))
    wrong = exact[0].copy()
    wrong[20:28, 30:34] *= 1.2
    views = views_of([wrong, *exact[1:]])
    found = photo_consistent_depth(views[0].depth, images[0], sources_of(views, sure(views[1:], 0.01)), images[1:])
    hole = (slice(20, 28), slice(30, 34))
    assert (np.abs(found / exact[0] - 1)[hole] < 0.002).mean() > 0.8


@pytest.mark.parametrize("bad", [0, -5, np.nan, np.inf])
def test_what_is_no_depth_stays_and_is_no_candidate(bad):
    maps = [depth.copy() for depth in depths()]
    for depth in maps:
        depth[20:24, 20:24] = bad
    found = refined(views_of(maps), photos())
    np.testing.assert_array_equal(found[20:24, 20:24], maps[0][20:24, 20:24])
    outside = np.ones(SIZE, bool)
    outside[20:24, 20:24] = False
    np.testing.assert_array_equal(found[INNER][outside[INNER]], depths()[0][INNER][outside[INNER]])


@pytest.mark.parametrize("absurd", [1e-40, 1e-30, 1e-6, 3e38])
def test_absurd_depths_spread_nowhere(absurd):
    """They project anywhere, or nowhere that a float can tell."""
    maps = [depth.copy() for depth in depths()]
    for depth in maps:
        depth[20:24, 20:24] = absurd
    found = refined(views_of(maps), photos())
    outside = np.ones(SIZE, bool)
    outside[20:24, 20:24] = False
    np.testing.assert_array_equal(found[INNER][outside[INNER]], depths()[0][INNER][outside[INNER]])
    assert np.isin(found[20:24, 20:24], np.float32([FAR, absurd])).all()


def test_without_sources_or_photos_depth_stays():
    views, images = views_of(depths()), photos()
    for sources, their_images in (([], []), (views[1:], [])):
        of_them = Sources(views[0], sources, sure(sources))
        found = photo_consistent_depth(views[0].depth, images[0], of_them, their_images)
        np.testing.assert_array_equal(found, views[0].depth)
        assert found is not views[0].depth


def test_sources_of_another_size():
    """One is smaller than the others: beyond its border it says nothing."""
    eroded, images = views_of(depths(slice(POST.start + 3, POST.stop - 3))), photos()
    eroded[1] = DepthView(eroded[1].depth[:40, :50], CAMERAS[1])
    images[1] = images[1][:40, :50]
    assert (refined(eroded, images)[INNER] == depths()[0][INNER]).mean() > 0.98


def confirmed(views: list[DepthView], images: list[np.ndarray]) -> np.ndarray:
    return confirmation(views[0].depth, images[0], sources_of(views, sure(views[1:])), images[1:])


def test_what_four_views_see_and_photos_show_is_confirmed():
    """By a third of the four's confidence."""
    found = confirmed(views_of(depths()), photos())[INNER]
    assert np.median(found) == pytest.approx(4 * 0.3 / 3, rel=0.01)
    assert (found > 0.39).mean() > 0.7  # at the post's edges windows show both


def test_what_all_see_behind_a_lost_thing_is_hardly_confirmed():
    """Where the sides of the post are missing from all maps the wall has the full support of the sources' depth."""
    eroded = depths(slice(POST.start + 3, POST.stop - 3))
    lost = (eroded[0] != depths()[0])[INNER]
    found = confirmed(views_of(eroded), photos())[INNER]
    assert np.median(found[lost]) < 0.5 * np.median(found)


def test_without_photos_something_counts_and_without_sources_or_depth_nothing():
    views, images = views_of(depths()), photos()
    assert np.median(confirmed(views, images[:1])[INNER]) == pytest.approx(0.2 * 4 * 0.3 / 3, rel=0.01)
    assert not confirmed(views[:1], images[:1]).any()
    for bad in (0, -5, np.nan, np.inf):
        views[0].depth[20:24, 20:24] = bad
        assert not confirmed(views, images)[20:24, 20:24].any()
    elsewhere = [views_of(depths())[0], *(DepthView(view.depth * 3, view.camera) for view in views[1:])]
    assert not confirmed(elsewhere, images)[INNER].any()

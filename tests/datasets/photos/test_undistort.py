"""Straightened images against the models' formulas, written out here once more."""

import numpy as np
import pytest

from datasets.files import DataError
from datasets.photos.posed import Lens, make_lens
from datasets.photos.undistort import straight_lens, straighten

SIZE = (320, 240)


def lens_of(fisheye: bool = False, f: float = 250, **coefficients: float) -> Lens:
    """A lens whose principal point is not in the middle."""
    return make_lens({"fx": f, "fy": f * 1.1, "cx": 155.0, "cy": 123.0, **coefficients}, SIZE, fisheye, "a test")


def distorted_pixels(lens: Lens, rays: np.ndarray) -> np.ndarray:
    """Where rays [..., 2] (x, y, 1) fall, pixels [..., 2] counted as the lens does (colmap.github.io/cameras.html)."""
    x, y = rays[..., 0], rays[..., 1]
    r = np.hypot(x, y)
    if lens.fisheye:
        angle = np.arctan(r)
        k1, k2, k3, k4 = lens.distortion
        bent = angle * (1 + k1 * angle**2 + k2 * angle**4 + k3 * angle**6 + k4 * angle**8)
        x, y = (c * bent / np.maximum(r, 1e-9) for c in (x, y))
    else:
        k1, k2, p1, p2, k3, k4, k5, k6 = lens.distortion
        radial = (1 + k1 * r**2 + k2 * r**4 + k3 * r**6) / (1 + k4 * r**2 + k5 * r**4 + k6 * r**6)
        x, y = (
            x * radial + 2 * p1 * x * y + p2 * (r**2 + 2 * x**2),
            y * radial + p1 * (r**2 + 2 * y**2) + 2 * p2 * x * y,
        )
    return np.stack([x, y], axis=-1) * lens.K[[0, 1], [0, 1]] + lens.K[:2, 2]


LENSES = {
    "barrel": lens_of(k1=-0.25),
    "pincushion": lens_of(k1=0.2),
    "radial": lens_of(k1=-0.3, k2=0.12),
    "opencv": lens_of(k1=-0.2, k2=0.05, p1=0.004, p2=-0.003),
    "rational": lens_of(k1=0.1, k2=0.02, k3=0.01, k4=0.25, k5=0.02),
    "fisheye": lens_of(True, 150, k1=0.03, k2=-0.01),
    "equidistant": lens_of(True, 150),
}


@pytest.mark.parametrize("lens", LENSES.values(), ids=LENSES)
def test_pixels_come_from_where_the_formula_says(lens):
    """An image whose values are its own pixels' places, straightened, shows where each pixel was taken from."""
    width, height = lens.size
    places = np.stack(
        [*np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), np.zeros((height, width))], axis=2
    )
    straight = straight_lens(lens, "a test")
    found = straighten(places.astype(np.float32), lens, straight)
    columns, rows = np.meshgrid(np.arange(straight.size[0]) + 0.5, np.arange(straight.size[1]) + 0.5)
    rays = (np.stack([columns, rows], axis=-1) - straight.K[:2, 2]) / straight.K[[0, 1], [0, 1]]
    expected = distorted_pixels(lens, rays)
    assert found.shape == (straight.size[1], straight.size[0], 3) and straight.distortion == ()
    # Every pixel comes from inside the image; remap rounds places to 1/32 of a pixel.
    assert (expected > -0.1).all() and (expected < np.array(lens.size) + 0.1).all()
    inside = ((expected > 1) & (expected < np.array(lens.size) - 1)).all(axis=-1)
    assert np.abs(found[..., :2] - expected)[inside].max() < 0.05
    assert np.abs(found[..., :2] - expected).max() < 0.6  # half a pixel at the border, where nothing is made up


@pytest.mark.parametrize("lens", LENSES.values(), ids=LENSES)
def test_as_large_as_possible(lens):
    """One pixel more on all sides, and the image would end somewhere on each of them."""
    straight = straight_lens(lens, "a test")
    width, height = straight.size
    xs, ys = np.linspace(0, width, 50), np.linspace(0, height, 50)
    sides = [(-2, ys), (width + 2, ys), (xs, -2), (xs, height + 2)]
    for side in sides:
        pixels = np.stack(np.broadcast_arrays(*map(np.asarray, side)), axis=-1)
        places = distorted_pixels(lens, (pixels - straight.K[:2, 2]) / straight.K[[0, 1], [0, 1]])
        assert ((places < 0) | (places > lens.size)).any()


def test_pinholes_are_left_alone():
    """The very image and lens."""
    lens, image = lens_of(), np.zeros((240, 320, 3), np.uint8)
    assert straight_lens(lens, "a test") is lens and straighten(image, lens, lens) is image


def test_very_wide_lenses_stay_bounded():
    """The straight image of a lens that sees half a sphere would have no end."""
    straight = straight_lens(lens_of(True, 90), "a test")
    assert all(side <= 2 * most for side, most in zip(straight.size, SIZE, strict=True))


def test_nonsense_is_refused():
    """A lens that folds the image onto itself."""
    with pytest.raises(DataError, match="a test: holds a lens whose distortion cannot be undone"):
        straight_lens(lens_of(k1=-50.0, k2=-9e5), "a test")

"""Straightened images against the models' formulas, written out here once more."""

import numpy as np
import pytest

from datasets.files import DataError
from datasets.photos.distortion import COEFFICIENTS, bend, unbend
from datasets.photos.posed import Lens, make_lens
from datasets.photos.undistort import straight_lens, straighten

SIZE = (320, 240)


def lens_of(fisheye: bool = False, f: float = 250, **coefficients: float) -> Lens:
    """A lens whose principal point is not in the middle."""
    return make_lens(
        {"fx": f, "fy": f * 1.1, "cx": 155.0, "cy": 123.0, **coefficients},
        SIZE,
        "fisheye" if fisheye else "opencv",
        "a test",
    )


def distorted_pixels(lens: Lens, rays: np.ndarray) -> np.ndarray:
    """Where rays [..., 2] (x, y, 1) fall, pixels [..., 2] counted as the lens does (colmap.github.io/cameras.html)."""
    x, y = rays[..., 0], rays[..., 1]
    r = np.hypot(x, y)
    if lens.model == "fisheye":
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

# Lenses that OpenCV lacks: model, coefficients in order, and COLMAP's name for it.
OWN_LENSES = {
    "FOV": ("fov", (0.7,)),
    "DIVISION": ("division", (-0.15,)),
    "EUCM": ("eucm", (0.55, 1.1)),
    "THIN_PRISM_FISHEYE": ("thin_prism_fisheye", (0.05, -0.02, 0.004, -0.003, 0.01, 0.002, 0.003, -0.002)),
    "RAD_TAN_THIN_PRISM_FISHEYE": (
        "rad_tan_thin_prism_fisheye",
        (0.05, -0.02, 0.01, 0.004, 0.001, 0.0005, 0.004, -0.003, 0.003, 0.001, -0.002, 0.001),
    ),
}


@pytest.mark.parametrize("name", OWN_LENSES)
def test_places_are_those_of_pycolmap(name):
    """Rays fall where COLMAP says, and come back from there."""
    pycolmap = pytest.importorskip("pycolmap")
    model, coefficients = OWN_LENSES[name]
    rays = np.random.default_rng(0).uniform(-0.6, 0.6, (100, 2))
    camera = pycolmap.Camera.create_from_model_name(1, name, 100.0, *SIZE)
    camera.params = [1.0, 1.0, 0.0, 0.0, *coefficients]
    places = bend(model, coefficients, rays)
    expected = [camera.img_from_cam(np.array([*ray, 1.0])) for ray in rays]
    np.testing.assert_allclose(places, expected, atol=1e-12)
    np.testing.assert_allclose(unbend(model, coefficients, places), rays, atol=1e-9)


@pytest.mark.parametrize(
    ("model", "coefficients"),
    [*OWN_LENSES.values(), ("radial8", (-0.12, 0.05, 0.001, 0.002, -0.02, 0.1)), ("measured_radial", (0.1,))],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_own_lenses_are_straightened(model, coefficients):
    """A straightened image of its own pixels' places shows where each was taken from."""
    numbers = {"fx": 180.0, "fy": 190.0, "cx": 155.0, "cy": 123.0}
    lens = make_lens(numbers | dict(zip(COEFFICIENTS[model], coefficients, strict=True)), SIZE, model, "a test")
    columns, rows = np.meshgrid(np.arange(SIZE[0]) + 0.5, np.arange(SIZE[1]) + 0.5)
    places = np.stack([columns, rows, np.zeros_like(rows)], axis=2)
    straight = straight_lens(lens, "a test")
    found = straighten(places.astype(np.float32), lens, straight)
    columns, rows = np.meshgrid(np.arange(straight.size[0]) + 0.5, np.arange(straight.size[1]) + 0.5)
    rays = (np.stack([columns, rows], axis=-1) - straight.K[:2, 2]) / straight.K[[0, 1], [0, 1]]
    expected = bend(model, coefficients, rays) * (180, 190) + (155, 123)
    assert min(straight.size) > 100
    np.testing.assert_allclose(found[..., :2], np.clip(expected, 0.5, (319.5, 239.5)), atol=0.05)


def test_the_formula_of_r8():
    """Nerfstudio's k4, written out once more."""
    x, y, r2 = 0.3, -0.4, 0.25
    k1, k2, p1, p2, k3, k4 = coefficients = (-0.12, 0.05, 0.001, 0.002, -0.02, 0.1)
    radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3 + k4 * r2**4
    expected = [
        x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
        y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
    ]
    np.testing.assert_allclose(bend("radial8", coefficients, np.array([x, y])), expected, atol=1e-15)


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

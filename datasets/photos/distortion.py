"""Where lenses bend rays to: the camera models that OpenCV lacks, as COLMAP and other programs define them.

A ray is (x, y) of (x, y, 1) in the camera's axes; a lens takes it to a place (x, y) on the image at focal length 1.
Sources: colmap.github.io/cameras.html and COLMAP's sensor/models.h; nerfstudio's camera_utils (r^8); VisualSFM's format
NVM (distortion of the measured place instead of the ray).
"""

from collections.abc import Callable

import numpy as np

# The coefficients of each model in order. Of "opencv" and "fisheye" OpenCV itself knows the formulas.
COEFFICIENTS = {
    "opencv": ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6"),
    "fisheye": ("k1", "k2", "k3", "k4"),
    "radial8": ("k1", "k2", "p1", "p2", "k3", "k4"),
    "fov": ("omega",),
    "division": ("k",),
    "measured_radial": ("k",),
    "eucm": ("alpha", "beta"),
    "thin_prism_fisheye": ("k1", "k2", "p1", "p2", "k3", "k4", "sx1", "sy1"),
    "rad_tan_thin_prism_fisheye": ("k0", "k1", "k2", "k3", "k4", "k5", "p0", "p1", "s0", "s1", "s2", "s3"),
}
OPENCV_MODELS = ("opencv", "fisheye")

# They bend straight lines whatever their coefficients are.
_ALWAYS_BENT = ("fisheye", "thin_prism_fisheye", "rad_tan_thin_prism_fisheye")

_SMALL = 1e-12
_STEPS, _DERIVATIVE_STEP = 100, 1e-7
_WIDEST = 1.55  # radians from the axis: beyond, a pinhole image has no place

Bend = Callable[[np.ndarray, np.ndarray, tuple[float, ...]], tuple[np.ndarray, np.ndarray]]


def is_straight(model: str, coefficients: tuple[float, ...]) -> bool:
    """Whether a lens of these coefficients is a pinhole."""
    if model in _ALWAYS_BENT:
        return False
    return coefficients[0] == 0 if model == "eucm" else not any(coefficients)


def bend(model: str, coefficients: tuple[float, ...], rays: np.ndarray) -> np.ndarray:
    """Where rays [..., 2] fall, [..., 2]; not-a-number where the model has no place for them."""
    with np.errstate(all="ignore"):
        return np.stack(_BENDS[model](rays[..., 0], rays[..., 1], coefficients), axis=-1)


def unbend(model: str, coefficients: tuple[float, ...], places: np.ndarray) -> np.ndarray:
    """The rays [n, 2] that fall on places [n, 2], by Newton's method; not-a-number where there are none."""
    rays = _first_guess(model, coefficients, places)
    steps = np.array([[_DERIVATIVE_STEP, 0], [0, _DERIVATIVE_STEP]])
    with np.errstate(all="ignore"):
        for _ in range(_STEPS):
            error = places - bend(model, coefficients, rays)
            columns = [
                (bend(model, coefficients, rays + step) - bend(model, coefficients, rays - step))
                / (2 * _DERIVATIVE_STEP)
                for step in steps
            ]
            (a, c), (b, d) = (column.T for column in columns)
            change = np.stack([d * error[:, 0] - b * error[:, 1], a * error[:, 1] - c * error[:, 0]], axis=1)
            change /= (a * d - b * c)[:, None]
            # A step of at most the ray's own length keeps what starts on the right side there.
            length, most = np.linalg.norm(change, axis=1), np.linalg.norm(rays, axis=1) + 0.1
            rays = rays + change * np.minimum(1, most / np.maximum(length, _SMALL))[:, None]
        found = np.linalg.norm(places - bend(model, coefficients, rays), axis=1) < 1e-6
    return np.where(found[:, None], rays, np.nan)


def _first_guess(model: str, coefficients: tuple[float, ...], places: np.ndarray) -> np.ndarray:
    """The rays of the model's main term."""
    radius = np.maximum(np.hypot(*places.T), _SMALL)
    angle = radius * abs(coefficients[0]) if model == "fov" else radius
    if model == "fov" and coefficients[0]:
        length = np.tan(np.minimum(angle, _WIDEST)) / (2 * np.tan(abs(coefficients[0]) / 2))
    elif model in _ALWAYS_BENT:
        length = np.tan(np.minimum(angle, _WIDEST))
    else:
        length = radius
    return places * (length / radius)[:, None]


def _radial8(x: np.ndarray, y: np.ndarray, c: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """OpenCV's terms, and k4 as the coefficient of r^8: Nerfstudio's, Metashape's."""
    k1, k2, p1, p2, k3, k4 = c
    r2 = x * x + y * y
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * (k3 + r2 * k4)))
    return (
        x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
        y * radial + 2 * p2 * x * y + p1 * (r2 + 2 * y * y),
    )


def _fov(x: np.ndarray, y: np.ndarray, c: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    radius = np.maximum(np.hypot(x, y), _SMALL)
    factor = np.arctan(2 * radius * np.tan(c[0] / 2)) / (radius * c[0])
    return x * factor, y * factor


def _division(x: np.ndarray, y: np.ndarray, c: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The place whose radius r fulfils: ray's radius = r / (1 + k r^2)."""
    factor = 2 / (1 + np.sqrt(1 - 4 * c[0] * (x * x + y * y)))
    return x * factor, y * factor


def _measured_radial(x: np.ndarray, y: np.ndarray, c: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The place whose radius r fulfils: ray's radius = r (1 + k r^2)."""
    ray = np.hypot(x, y)
    radius = ray.copy()
    for _ in range(_STEPS):
        radius = radius - (radius * (1 + c[0] * radius**2) - ray) / (1 + 3 * c[0] * radius**2)
    factor = np.where(np.abs(radius * (1 + c[0] * radius**2) - ray) < 1e-9, radius / np.maximum(ray, _SMALL), np.nan)
    factor = np.where(ray < _SMALL, 1.0, factor)
    return x * factor, y * factor


def _eucm(x: np.ndarray, y: np.ndarray, c: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    alpha, beta = c
    factor = 1 / (alpha * np.sqrt(beta * (x * x + y * y) + 1) + 1 - alpha)
    return x * factor, y * factor


def _equidistant(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    radius = np.maximum(np.hypot(x, y), _SMALL)
    factor = np.arctan(radius) / radius
    return x * factor, y * factor


def _thin_prism_fisheye(x: np.ndarray, y: np.ndarray, c: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    k1, k2, p1, p2, k3, k4, sx1, sy1 = c
    x, y = _equidistant(x, y)
    r2 = x * x + y * y
    u, v = _radial8(x, y, (k1, k2, p1, p2, k3, k4))
    return u + sx1 * r2, v + sy1 * r2


def _rad_tan_thin_prism_fisheye(x: np.ndarray, y: np.ndarray, c: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    k, (p0, p1), (s0, s1, s2, s3) = c[:6], c[6:8], c[8:]
    x, y = _equidistant(x, y)
    t2 = x * x + y * y
    radial = 1 + sum(value * t2 ** (i + 1) for i, value in enumerate(k))
    x, y = x * radial, y * radial
    r2 = x * x + y * y
    return (
        x + 2 * p0 * x * x + p0 * r2 + 2 * p1 * x * y + s0 * r2 + s1 * r2**2,
        y + 2 * p1 * y * y + p1 * r2 + 2 * p0 * x * y + s2 * r2 + s3 * r2**2,
    )


_BENDS: dict[str, Bend] = {
    "radial8": _radial8,
    "fov": _fov,
    "division": _division,
    "measured_radial": _measured_radial,
    "eucm": _eucm,
    "thin_prism_fisheye": _thin_prism_fisheye,
    "rad_tan_thin_prism_fisheye": _rad_tan_thin_prism_fisheye,
}

"""Metres by GPS: known flights and walks with GPS's errors; EXIF as phones write it; sets that are too small."""

import math

import numpy as np
import PIL.Image
import pytest
from PIL.TiffImagePlugin import IFDRational
from scipy.spatial.transform import Rotation

from datasets.files import DataError
from datasets.photos.georeference import units_of_gps
from datasets.photos.gps import GpsPlace, gps_of_tags, metres_around, read_gps
from datasets.units import similarity, transformed

MUNICH = GpsPlace(48.137154, 11.576124, 519.0, math.nan)
R = Rotation.from_euler("xyz", [0.4, -0.9, 1.3]).as_matrix()
SCAN_T_WORLD = similarity(0.2, R, np.array([3.0, -1, 7]))
UP = R[:, 2]


def places(metres: np.ndarray) -> list[GpsPlace]:
    """Where metres east, north, up of Munich are, by the Earth's curvature there."""
    step = 1e-3  # degrees
    beside = MUNICH._replace(latitude=MUNICH.latitude + step, longitude=MUNICH.longitude + step)
    east, north, _ = metres_around([beside], MUNICH)[0] / step
    return [
        GpsPlace(MUNICH.latitude + y / north, MUNICH.longitude + x / east, MUNICH.height + z, math.nan)
        for x, y, z in metres
    ]


def walk(kind: str) -> np.ndarray:
    """Places of photos in metres: a flight over a field, a walk around a house, a row along a street."""
    rng = np.random.default_rng(0)
    if kind == "flight":
        x, y = np.meshgrid(np.linspace(-80, 80, 6), np.linspace(-60, 60, 5))
        return np.stack([x.ravel(), y.ravel(), np.full(30, 90.0)], axis=1) + rng.normal(size=(30, 3))
    if kind == "row":
        return np.stack([np.linspace(0, 60, 20), np.linspace(0, 25, 20), np.full(20, 1.6)], axis=1)
    angles = np.linspace(0, 2 * math.pi, 24, endpoint=False)
    return np.stack([30 * np.cos(angles), 25 * np.sin(angles), np.full(24, 1.6)], axis=1)


@pytest.mark.parametrize("kind", ["flight", "around", "row"])
def test_lengths_and_north(kind):
    """With GPS's errors of a metre, and two photos that are fifty metres off: lengths to 3 %, north to 2 degrees."""
    metres, rng = walk(kind), np.random.default_rng(1)
    measured = metres + rng.normal(size=metres.shape)
    measured[[2, 7]] += [50, -30, 0]
    centres = transformed(SCAN_T_WORLD, metres)[0]
    units = units_of_gps(centres, places(measured), UP, "photos")
    assert units.units == "metres" and abs(units.scale - 5) < 0.15 and 0.5 < units.residual < 3
    assert f"GPS of {len(metres)} photos" in units.source and "agree" in units.source
    axes = units.world_T_scan[:3, :3] / units.scale @ R
    assert math.degrees(np.linalg.norm(Rotation.from_matrix(axes).as_rotvec())) < 2.5
    found = transformed(units.world_T_scan, centres)[0] + metres_around([GpsPlace(*units.place, math.nan)], MUNICH)
    assert np.abs(found - metres)[:, :2].max() < 3


def test_a_flight_tells_what_is_up():
    """Though the cameras' up was wrong by forty degrees, as of photos that look straight down."""
    metres = walk("flight") + np.random.default_rng(1).normal(size=(30, 3))
    wrong = R @ Rotation.from_euler("x", 40, degrees=True).as_matrix()[:, 2]
    units = units_of_gps(transformed(SCAN_T_WORLD, walk("flight"))[0], places(metres), wrong, "photos")
    up = units.world_T_scan[2, :3] / units.scale
    assert math.degrees(math.acos(min(1.0, up @ UP))) < 3


@pytest.mark.parametrize(("size", "error", "words"), [(1.0, 3.0, "GPS errs by"), (0.05, 0.0, "GPS errs by 1.0 m")])
def test_too_small_for_gps(size, error, words):
    """A statue that one walked around in three metres; a thing on a table. A wrong length is worse than none."""
    metres = walk("around") * size / 10
    measured = metres + np.random.default_rng(1).normal(size=metres.shape) * error
    with pytest.raises(DataError, match=words) as error:
        units_of_gps(transformed(SCAN_T_WORLD, metres)[0], places(measured), UP, "photos")
    assert "marker" in str(error.value)


def test_what_the_receiver_tells_counts():
    """A row of twenty metres with an error of ten told by the phone."""
    metres = walk("row") / 3
    told = [place._replace(error=10.0) for place in places(metres)]
    with pytest.raises(DataError, match="errs by 10"):
        units_of_gps(transformed(SCAN_T_WORLD, metres)[0], told, UP, "photos")


def test_too_few():
    with pytest.raises(DataError, match="2 photos tell a place"):
        units_of_gps(np.zeros((2, 3)), places(walk("row")[:2]), UP, "photos")


def test_metres_on_the_ellipsoid():
    """One degree of latitude at 48 degrees is 111.2 km, of longitude 74.6 km; across the date line it is short."""
    east, north, up = metres_around([GpsPlace(48.5, 12.0, 7.0, 0.0)], GpsPlace(47.5, 11.0, 5.0, 0.0))[0]
    assert north == pytest.approx(111.2e3, rel=2e-3) and east == pytest.approx(75.4e3, rel=5e-3) and up == 2
    east = metres_around([GpsPlace(0.0, -179.999, 0.0, 0.0)], GpsPlace(0.0, 179.999, 0.0, 0.0))[0][0]
    assert east == pytest.approx(222.6, rel=1e-2)


# ---------------------------------------------------------------- EXIF


def test_exif_comes_back(tmp_path):
    """South and west, below the sea, with a receiver's error; without a place, none."""
    exif = PIL.Image.Exif()
    tags = exif.get_ifd(0x8825)
    tags.update({1: "S", 2: (33.0, 51.0, 25.02), 3: "W", 4: (70.0, 39.0, 0.6), 5: b"\x01", 6: 12.5, 31: 4.7})
    PIL.Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", exif=exif)
    place = read_gps(tmp_path / "a.jpg")
    assert place.latitude == pytest.approx(-33.856950, abs=1e-6) and place.longitude == pytest.approx(
        -70.650167, abs=1e-6
    )
    assert (place.height, place.error) == pytest.approx((-12.5, 4.7), rel=1e-3)
    PIL.Image.new("RGB", (8, 8)).save(tmp_path / "b.jpg")
    assert read_gps(tmp_path / "b.jpg") is None
    (tmp_path / "c.jpg").write_bytes(b"\xff\xd8\xffdamaged")
    assert read_gps(tmp_path / "c.jpg") is None


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {1: "N", 2: (0, 0, 0), 3: "E", 4: (0, 0, 0)},
        {1: "N", 2: (95, 0, 0), 3: "E", 4: (10, 0, 0)},
        {1: "N", 2: (48, 0), 3: "E", 4: (11, 0, 0)},
        {1: "N", 2: (IFDRational(1, 0), 0, 0), 3: "E", 4: (11, 0, 0)},
        {1: "N", 2: "48", 3: "E", 4: None},
    ],
)
def test_tags_that_tell_no_place(tags):
    """Zeros of a camera without a fix, numbers that are none, places that are not on the Earth."""
    assert gps_of_tags(tags) is None


def test_a_height_that_is_not_told():
    place = gps_of_tags({1: "N", 2: (48, 0, 0), 3: "E", 4: (11, 0, 0)})
    assert math.isnan(place.height) and math.isnan(place.error)

"""Printed markers in rendered photos: the length of their sides, and what is no marker."""

import cv2
import numpy as np
import pytest
from marker_photos import looking_at, photo_of_plane

from datasets.camera import Camera
from datasets.photos.markers import detect, locate, triangulate

SIDE = 0.12  # in the units of the scan


def printed(number: int = 7, dictionary: int = cv2.aruco.DICT_5X5_1000, pixels: int = 200) -> np.ndarray:
    """A sheet: a marker with its white border on grey, RGB, whose black square fills the middle half."""
    marker = cv2.aruco.generateImageMarker(cv2.aruco.getPredefinedDictionary(dictionary), number, pixels)
    sheet = np.full((2 * pixels, 2 * pixels), 255, np.uint8)
    sheet[pixels // 2 : pixels // 2 + pixels, pixels // 2 : pixels // 2 + pixels] = marker
    return np.repeat(sheet[..., None], 3, axis=2)


def cameras() -> list[Camera]:
    return [looking_at((x, -0.25, 0.9), (0.0, 0.0, 0.0)) for x in (-0.35, 0.0, 0.3)]


def test_the_length_of_a_side():
    """To half a percent, from three photos of 640 x 480; the corners lie on the table."""
    views = [(photo_of_plane(printed(), 2 * SIDE, camera), camera) for camera in cameras()]
    (marker,) = locate(views)
    assert (marker.dictionary, marker.number, marker.photos) == ("5X5_1000", 7, 3)
    assert marker.side == pytest.approx(SIDE, rel=5e-3) and marker.spread < 0.02
    assert np.abs(marker.corners[:, 2]).max() < 0.003


def test_a_photo_with_a_wrong_pose_is_left_out():
    """Three of four agree: the length is theirs."""
    views = [(photo_of_plane(printed(), 2 * SIDE, camera), camera) for camera in cameras()]
    wrong = looking_at((0.1, -0.3, 0.8), (0.05, 0.02, 0.0))
    views.append((photo_of_plane(printed(), 2 * SIDE, looking_at((0.1, -0.3, 0.8), (0, 0, 0))), wrong))
    (marker,) = locate(views)
    assert marker.photos == 3 and marker.side == pytest.approx(SIDE, rel=5e-3)


def test_one_photo_or_one_place_tell_nothing():
    """A length needs two sights from places apart."""
    camera = cameras()[0]
    photo = photo_of_plane(printed(), 2 * SIDE, camera)
    assert locate([(photo, camera)]) == [] and locate([(photo, camera), (photo, camera)]) == []


def test_no_marker():
    """Noise is none."""
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    assert detect(noise) == {}


def test_triangulation_far_from_the_origin():
    """In a world of UTM coordinates, exactly."""
    far = np.array([5e5, 4.5e6, 100.0])
    point = far + np.array([0.02, -0.01, 0.05])
    views = [looking_at(tuple(far + at), tuple(far)) for at in ((-0.3, -0.2, 0.9), (0.3, -0.2, 0.9))]
    pixels = np.array([[float(value[0]) for value in camera.project(point[None])[:2]] for camera in views])
    np.testing.assert_allclose(triangulate(pixels, views), point, atol=1e-6)

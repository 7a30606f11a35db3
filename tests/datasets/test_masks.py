"""Masks: where they lie beside photos, what they say, and black frames that photos of a lens share."""

import cv2
import numpy as np
import pytest
from PIL import Image

from datasets.files import DataError
from datasets.formats.images import write_image
from datasets.masks import black_frame, find_mask, masks_among, read_mask, read_view_mask
from datasets.photos.folders import PhotoFolders

SIZE = (64, 48)


def half(size=SIZE) -> np.ndarray:
    """A mask whose left half is inside."""
    mask = np.zeros(size[::-1], np.uint8)
    mask[:, : size[0] // 2] = 255
    return mask


@pytest.mark.parametrize(
    "name",
    [
        *("masks/a.jpg", "masks/a.png", "masks/a.jpg.png", "masks/a_mask.png", "mask/a.png"),
        *("a_mask.png", "a.mask.png", "a.jpg.png"),
    ],
)
def test_masks_among_photos(name):
    """They are told from photos by the photo that they belong to."""
    assert masks_among(["a.jpg", name]) == {"a.jpg": name}


def test_photos_in_a_folder_of_masks_are_photos():
    """As long as no other photo has their name: somebody may photograph masks."""
    assert masks_among(["masks/1.jpg", "masks/2.jpg"]) == {}
    assert masks_among(["b/1.jpg", "masks/b/1.png", "b/2.jpg", "b/masks/2.jpg"]) == {
        "b/1.jpg": "masks/b/1.png",
        "b/2.jpg": "b/masks/2.jpg",
    }


def test_masks_beside_the_folder_of_photos(tmp_path):
    """images/ and masks/ in one folder, as radiance fields have them; a photo is never its own mask."""
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.png").touch()
    (tmp_path / "images" / "b.png").touch()
    folders = PhotoFolders((tmp_path / "images",))
    assert find_mask(folders, "a.png", tmp_path / "images" / "a.png") == tmp_path / "masks" / "a.png"
    assert find_mask(folders, "b.png", tmp_path / "images" / "b.png") is None


def test_a_mask_is_scaled_to_its_photo(tmp_path):
    """White is inside; 0 and 1 stand for black and white."""
    write_image(tmp_path / "a.png", half())
    expected = half((32, 24)) > 0
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png", (32, 24)), expected)
    np.testing.assert_array_equal(read_view_mask(tmp_path / "a.png", (32, 24)), expected)
    write_image(tmp_path / "b.png", half() // 255)
    np.testing.assert_array_equal(read_mask(tmp_path / "b.png", SIZE), half() > 0)


def test_masks_that_cannot_be_right(tmp_path):
    """Made from another image, or from the file before EXIF turned it; or nothing is inside."""
    write_image(tmp_path / "a.png", half())
    with pytest.raises(DataError, match="turn it as the photo is shown"):
        read_mask(tmp_path / "a.png", SIZE[::-1])
    with pytest.raises(DataError, match="make it from this photo"):
        read_mask(tmp_path / "a.png", (64, 64))
    Image.new("L", SIZE).save(tmp_path / "b.png")
    with pytest.raises(DataError, match="black all over"):
        read_mask(tmp_path / "b.png", SIZE)


def test_a_black_frame():
    """As other programs leave when they straighten photos: all of it goes, and nothing dark in the middle."""
    rng = np.random.default_rng(0)
    inside = np.zeros((120, 160), np.uint8)
    cv2.ellipse(inside, (80, 60), (88, 66), 0, 0, 360, 255, -1)  # corners and parts of the borders are black
    images = []
    for _ in range(3):
        image = rng.integers(60, 255, (120, 160, 3), np.uint8)
        image[50:60, 70:80] = 0  # a dark thing
        image[inside == 0] = rng.integers(0, 6, (int((inside == 0).sum()), 3))  # noise of JPEG
        images.append(image)
    found = black_frame(images)
    assert not found[inside == 0].any() and found[55, 75]
    assert found[cv2.erode(inside, np.ones((9, 9), np.uint8)) > 0].mean() > 0.99
    assert black_frame(images[:2]) is None  # two photos tell nothing
    assert black_frame([np.maximum(image, 30) for image in images]) is None

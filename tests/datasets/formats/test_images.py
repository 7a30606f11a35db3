"""Photos as cameras write them: turned upright, and what EXIF data tells about the lens."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from datasets.formats.images import read_image, read_photo

ORIENTATION, EXIF_IFD = 0x0112, 0x8769


def picture() -> np.ndarray:
    """An image that none of the eight orientations leaves as it is."""
    return np.random.default_rng(0).integers(0, 256, (6, 10, 3), dtype=np.uint8)


def save(path, image: np.ndarray, tags: dict | None = None, details: dict | None = None):
    """Write an image with EXIF data."""
    exif = Image.Exif()
    exif.update(tags or {})
    exif.get_ifd(EXIF_IFD).update(details or {})
    Image.fromarray(image).save(path, exif=exif)
    return path


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_orientations(tmp_path, suffix, orientation):
    """Pillow's own way of turning them agrees; `read_image` leaves pixels as they are stored."""
    path = save(tmp_path / f"a.{suffix}", picture(), {ORIENTATION: orientation})
    expected = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    np.testing.assert_array_equal(read_photo(path)[0], expected)
    np.testing.assert_array_equal(read_image(path), np.asarray(Image.open(path)))


@pytest.mark.parametrize(
    ("details", "share"),
    [
        ({0xA405: 36}, 36 / 43.2666 * np.hypot(10, 6) / 10),  # equivalent on 35 mm film, by the diagonal
        ({0x920A: 5.0, 0xA20E: 200.0, 0xA210: 3, 0xA002: 20}, 5 * 20 / 20),  # 20 pixels a mm; taken 20 pixels wide
        ({0x920A: 5.0, 0xA20E: 254.0, 0xA002: 100}, 5 * 10 / 100),  # inches are the default
        ({0x920A: 5.0}, None),
        ({0xA405: 0, 0x920A: 5.0, 0xA20E: 0.0, 0xA002: 20}, None),
        ({0xA405: 60000}, None),
        ({}, None),
    ],
)
def test_focal_length(tmp_path, details, share):
    """As a share of the longer side, which scaling does not change; nonsense is unknown."""
    _, info = read_photo(save(tmp_path / "a.jpg", picture(), {0x010F: "Maker", 0x0110: "Model\0"}, details))
    assert info.camera == "Maker Model"
    assert info.focal == (None if share is None else pytest.approx(share, rel=1e-4))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_is_black(tmp_path, mode):
    """As in Blender's scenes, whatever colour the file has there; half of a colour is half as bright."""
    image = Image.fromarray(np.full((1, 3, 4), (200, 200, 200, 255), np.uint8)).convert(mode if mode != "P" else "RGBA")
    image.putalpha(Image.fromarray(np.uint8([[255, 128, 0]])))
    (image.quantize(method=Image.Quantize.FASTOCTREE) if mode == "P" else image).save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as saved:
        assert saved.mode == mode
    found = read_image(tmp_path / "a.png")
    assert found.shape == (1, 3, 3) and np.abs(found[0, :, 0] - np.array([200, 100, 0])).max() <= 12
    np.testing.assert_array_equal(read_photo(tmp_path / "a.png")[0], found)


def test_damaged_exif_is_none(tmp_path):
    """The photo itself is fine."""
    path = save(tmp_path / "a.jpg", picture(), {0x010F: "Maker"}, {0xA405: 28})
    content = path.read_bytes()
    start = content.index(b"Exif\0\0") + 6
    for at in range(start, start + 60, 3):
        path.write_bytes(content[:at] + b"\xff\xff\xff" + content[at + 3 :])
        image, _ = read_photo(path)
        assert image.shape == (6, 10, 3)


def test_photos_without_exif(tmp_path):
    """Nothing is known of the lens."""
    Image.fromarray(picture()).save(tmp_path / "a.png")
    assert read_photo(tmp_path / "a.png")[1] == ("", None)

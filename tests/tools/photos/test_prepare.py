"""Photos on their way to structure from motion: HEIC, mixed shapes, masks, black frames."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from datasets.formats.images import read_image, read_image_size, write_image
from tools.photos.gathering import gather
from tools.photos.prepare import prepare_photos

needs_heif = pytest.mark.skipif(
    importlib.util.find_spec("pillow_heif") is None, reason="pillow-heif is not installed (requirements-photos.txt)"
)


def noise(seed: int, height: int = 48, width: int = 64) -> np.ndarray:
    """A photo of nothing, nowhere black."""
    return np.random.default_rng(seed).integers(40, 256, (height, width, 3), dtype=np.uint8)


def prepare(folder: Path, out: Path):
    """What comes of a folder of photos."""
    photos = gather(folder, out / "frames", 50, lambda: None)
    return prepare_photos(photos, out, 1600, strict=False)


@needs_heif
def test_photos_of_an_iphone(tmp_path):
    """HEIC, some upright, with a JPEG among them; every pixel is kept."""
    import pillow_heif

    (tmp_path / "photos").mkdir()
    for name, size in (("IMG_1.HEIC", (64, 48)), ("IMG_2.heic", (48, 64))):
        smooth = np.zeros((size[1], size[0], 3), np.uint8) + np.uint8([200, 100, 50])
        pillow_heif.from_bytes("RGB", size, smooth.tobytes()).save(tmp_path / "photos" / name, quality=95)
    write_image(tmp_path / "photos" / "IMG_3.jpg", noise(3))
    prepared = prepare(tmp_path / "photos", tmp_path / "out")
    assert prepared.own_names == {"IMG_1.jpg": "IMG_1.HEIC", "IMG_2.jpg": "IMG_2.heic", "IMG_3.jpg": "IMG_3.jpg"}
    assert prepared.left_out == {} and len(prepared.groups) == 2
    assert read_image_size(tmp_path / "out" / "images" / "IMG_2.jpg") == (48, 64)
    middle = read_image(tmp_path / "out" / "images" / "IMG_1.jpg")[24, 32].astype(int)
    assert np.abs(middle - [200, 100, 50]).max() < 12


def test_masks_come_along(tmp_path):
    """Named as COLMAP wants them; they are no photos, and a photo without one has none."""
    photos = tmp_path / "photos"
    for k in range(3):
        write_image(photos / f"{k}.jpg", noise(k))
    mask = np.zeros((96, 128), np.uint8)  # of any size of the photo's shape
    mask[:, 64:] = 255
    write_image(photos / "masks" / "0.png", mask)
    write_image(photos / "1_mask.png", mask)
    prepared = prepare(photos, tmp_path / "out")
    assert prepared.names == ["0.jpg", "1.jpg", "2.jpg"] and prepared.masked
    assert sorted(path.name for path in (tmp_path / "out" / "masks").iterdir()) == ["0.jpg.png", "1.jpg.png"]
    found = read_image(tmp_path / "out" / "masks" / "0.jpg.png")[..., 0]
    assert found.shape == (48, 64) and not found[:, :31].any() and (found[:, 33:] == 255).all()


def test_a_mask_that_does_not_fit(tmp_path, capsys):
    """It is named and not used; its photo is."""
    for k in range(2):
        write_image(tmp_path / "photos" / f"{k}.jpg", noise(k))
    write_image(tmp_path / "photos" / "0_mask.png", np.full((64, 48), 255, np.uint8))
    prepared = prepare(tmp_path / "photos", tmp_path / "out")
    assert prepared.names == ["0.jpg", "1.jpg"] and not prepared.masked
    assert "turn it as the photo is shown" in prepared.left_out["mask of 0.jpg"]
    assert "mask of 0.jpg" in capsys.readouterr().out


def test_black_frames_are_masked(tmp_path):
    """Photos that another program straightened: its frame gives no features and no depth."""
    for k in range(4):
        image = noise(k)
        image[:6] = image[-6:] = 0
        write_image(tmp_path / "photos" / f"{k}.png", image)
    prepared = prepare(tmp_path / "photos", tmp_path / "out")
    assert prepared.masked
    for k in range(4):
        mask = read_image(tmp_path / "out" / "masks" / f"{k}.png.png")[..., 0]
        assert not mask[:6].any() and mask[10:-10].all() and not mask[-6:].any()

"""tools/photos_to_poses.py: which photos register and where, and a line for what is wrong with them."""

import importlib.util
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import ROOT, change_times, end_process, error_line, run_program, start_process, succeed, wait_until
from PIL import Image

from datasets.files import DataError, read_json, write_json
from datasets.formats.colmap import read_colmap
from datasets.formats.images import read_image, read_image_size, write_image
from datasets.io import read_camera
from datasets.synthetic.scans import Look, render_scene
from tools.photos.gathering import Photos, find_photos
from tools.photos.prepare import prepare_photos

needs_pycolmap = pytest.mark.skipif(
    importlib.util.find_spec("pycolmap") is None, reason="pycolmap is not installed (requirements-photos.txt)"
)
HERZ_JESUS = ROOT.parent / "shared" / "data" / "herz_jesus"
ORIENTATION, EXIF_IFD, FOCAL_35MM = 0x0112, 0x8769, 0xA405


def find_poses(folder: Path, outdir: Path, *flags: object):
    return run_program("tools/photos_to_poses.py", "--photos", folder, "--outdir", outdir, *flags)


def noise(height: int = 48, width: int = 64) -> np.ndarray:
    """A photo of nothing."""
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save(path: Path, image: np.ndarray, orientation: int = 1, focal_35mm: int = 0) -> None:
    """Write a photo with EXIF data."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    if focal_35mm:
        exif.get_ifd(EXIF_IFD)[FOCAL_35MM] = focal_35mm
    Image.fromarray(image).save(path, exif=exif, quality=95)


def alignment_errors(centres: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Distances [N] of camera centres to the given ones after the best similarity, in lengths of the given's extent.

    Umeyama, PAMI 1991.
    """
    a, b = centres - centres.mean(axis=0), given - given.mean(axis=0)
    U, sizes, Vt = np.linalg.svd(b.T @ a)
    signs = np.array([1, 1, np.sign(np.linalg.det(U @ Vt))])
    scale = (sizes * signs).sum() / (a**2).sum()
    rotated = scale * a @ (U @ np.diag(signs) @ Vt).T
    return np.linalg.norm(rotated - b, axis=1) / np.linalg.norm(np.ptp(given, axis=0))


# ---------------------------------------------------------------- rendered photos

FIRST, SECOND = 9, 5  # photos of two scenes that have nothing in common


@pytest.fixture(scope="module")
def mixture(tmp_path_factory):
    """Two unconnected scenes and a photo of nothing; of the first scene one is a larger PNG, one lies on its side."""
    root = tmp_path_factory.mktemp("mixture")
    (root / "photos").mkdir()
    look = Look(rich=True, rig="arc")  # a few degrees apart, as photos are taken
    first, second = (render_scene(seed, 320, 256, n, look=look) for seed, n in ((1, FIRST), (2, SECOND)))
    for k, image in enumerate(first.images[3]):
        if k == 1:
            image = np.asarray(Image.fromarray(image).resize((400, 320), Image.Resampling.BICUBIC))
            write_image(root / "photos" / "first_1.png", image)
        elif k == 2:
            save(root / "photos" / "first_2.jpg", np.rot90(image), orientation=6)
        else:
            save(root / "photos" / f"first_{k}.jpg", image)
    for k, image in enumerate(second.images[3]):
        save(root / "photos" / f"second_{k}.jpg", image)
    save(root / "photos" / "nothing.jpg", noise(256, 320))
    output = succeed(find_poses(root / "photos", root / "poses"))
    return root, first, output


@needs_pycolmap
@pytest.mark.slow
def test_the_larger_group_is_used(mixture):
    """All of the first scene, of whatever size and orientation; its poses are right."""
    root, first, output = mixture
    assert f"poses: {FIRST} of {FIRST + SECOND + 1} photos" in output
    scene = read_colmap(root / "poses")
    names = [photo.name for photo in scene.photos]
    assert names == [f"first_{k}.{'png' if k == 1 else 'jpg'}" for k in range(FIRST)]
    given = np.array([np.linalg.inv(camera.cam_T_world)[:3, 3] for camera in first.cameras])
    errors = alignment_errors(np.array([photo.centre for photo in scene.photos]), given)
    assert errors.max() < 0.03  # at 320x256 and without a known focal length


@needs_pycolmap
@pytest.mark.slow
def test_what_is_left_out_is_named(mixture):
    """The group that does not connect, and the photo that fits nowhere, each in a line that says what to do."""
    lines = mixture[2].splitlines()
    (group,) = [line for line in lines if "does not connect" in line]
    assert all(f"second_{k}.jpg" in group for k in range(SECOND)) and "take photos between" in group
    (alone,) = [line for line in lines if "without a pose" in line]
    assert "nothing.jpg" in alone and "second" not in alone and "take photos between" in alone


@needs_pycolmap
@pytest.mark.slow
def test_the_poses_can_be_imported(mixture, tmp_path):
    """One step further: a scan in the test layout, of the larger group only."""
    succeed(run_program("tools/import_colmap.py", "--model", mixture[0] / "poses", "--outdir", tmp_path / "scan"))
    assert len(list((tmp_path / "scan" / "cams").iterdir())) == FIRST


@needs_pycolmap
@pytest.mark.slow
def test_a_rerun_does_nothing(mixture):
    """As long as photos and settings are the same."""
    root = mixture[0]
    times = change_times(root / "poses", "*")
    assert "are there already" in succeed(find_poses(root / "photos", root / "poses"))
    assert change_times(root / "poses", "*") == times


@needs_pycolmap
def test_photos_that_do_not_fit_together(tmp_path):
    """One line, with what to do; no model."""
    (tmp_path / "photos").mkdir()
    for k in range(3):
        image = np.random.default_rng(k).integers(0, 256, (96, 128, 3), dtype=np.uint8)
        save(tmp_path / "photos" / f"{k}.jpg", image)
    line = error_line(find_poses(tmp_path / "photos", tmp_path / "poses"))
    assert "no photos of these fit together; take more" in line
    assert not (tmp_path / "poses" / "sparse").exists()


@needs_pycolmap
@pytest.mark.slow
def test_a_phones_video(tmp_path):
    """Rendered as somebody walks round: its frames have poses; a rerun does nothing."""
    scene = render_scene(1, 320, 256, 10, look=Look(rig="arc"))
    writer = cv2.VideoWriter(str(tmp_path / "walk.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 10, (320, 256))
    for image in scene.images[3]:
        for _ in range(2):
            writer.write(np.ascontiguousarray(image[..., ::-1]))
    writer.release()
    output = succeed(find_poses(tmp_path / "walk.mp4", tmp_path / "poses"))
    frames = sorted(path.name for path in (tmp_path / "poses" / "frames" / "walk").glob("*.jpg"))
    assert 6 <= len(frames) <= 12 and f"poses: {len(frames)} of {len(frames)} photos" in output
    times = change_times(tmp_path / "poses", "*")
    assert "are there already" in succeed(find_poses(tmp_path / "walk.mp4", tmp_path / "poses"))
    assert change_times(tmp_path / "poses", "*") == times


@needs_pycolmap
@pytest.mark.slow
def test_a_camera_that_only_turned(tmp_path):
    """Photos from one place share much and tell nothing of depth: said, instead of a model without a size."""
    rng, size, focal = np.random.default_rng(0), (400, 300), 380.0
    layers = [cv2.GaussianBlur(rng.normal(size=(900, 1600)).astype(np.float32), (0, 0), s) * s for s in (1, 2, 5, 12)]
    far = np.clip(128 + 40 * sum(layer / layer.std() for layer in layers) / 2, 0, 255).astype(np.uint8)
    K = np.array([[focal, 0, 200], [0, focal, 150], [0, 0, 1]])
    wide = np.array([[focal, 0, 800], [0, focal, 450], [0, 0, 1]])
    for k in range(5):
        angle = np.radians(8 * k - 16)
        turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
        seen = cv2.warpPerspective(far, K @ turn @ np.linalg.inv(wide), size, flags=cv2.INTER_LINEAR)
        noisy = np.clip(seen + rng.normal(0, 2, seen.shape), 0, 255).astype(np.uint8)
        (tmp_path / "photos").mkdir(exist_ok=True)
        save(tmp_path / "photos" / f"{k}.jpg", np.repeat(noisy[..., None], 3, axis=2), focal_35mm=33)
    line = error_line(find_poses(tmp_path / "photos", tmp_path / "poses"))
    assert "the camera turned but did not move" in line and "a step to the side" in line


@needs_pycolmap
@pytest.mark.slow
def test_a_search_that_was_cut_off_goes_on(mixture, tmp_path):
    """Photos, features and matches that are there are not made again; the model is the same."""
    root = mixture[0]
    shutil.copytree(root / "poses", tmp_path / "poses")
    record = read_json(tmp_path / "poses" / "poses.json")
    names = sorted(path.name for path in (tmp_path / "poses" / "images").iterdir())
    groups = [[names, [320, 256], None]]  # their cameras are in the database
    kept = {"groups": groups, "own": {name: name for name in names}, "left_out": {}, "masked": False}
    write_json(tmp_path / "poses" / "poses.json", {"unfinished": record, "prepared": kept})
    shutil.rmtree(tmp_path / "poses" / "sparse")
    times = change_times(tmp_path / "poses" / "images", "*")
    output = succeed(find_poses(root / "photos", tmp_path / "poses"))
    assert "features:" not in output and "matching" not in output
    assert f"poses: {FIRST} of {FIRST + SECOND + 1} photos" in output
    assert change_times(tmp_path / "poses" / "images", "*") == times


@needs_pycolmap
@pytest.mark.slow
def test_a_signal_ends_it(tmp_path):
    """While COLMAP computes: soon, in one line, with the usual status."""
    (tmp_path / "photos").mkdir()
    for k in range(6):
        save(tmp_path / "photos" / f"{k}.png", noise(900, 1200))
    flags = ("--photos", tmp_path / "photos", "--outdir", tmp_path / "poses")
    process = start_process(sys.executable, "tools/photos_to_poses.py", *flags)
    wait_until((tmp_path / "poses" / "database.db").exists, process)
    process.terminate()
    result = end_process(process)
    assert result.returncode == 143 and result.stderr == "stopped by SIGTERM\n"


@needs_pycolmap
@pytest.mark.slow
@pytest.mark.skipif(not HERZ_JESUS.is_dir(), reason=f"{HERZ_JESUS} is not there")
def test_herz_jesus(tmp_path):
    """25 photos without their calibration: all register, within half a percent of the given poses. Two minutes."""
    shutil.copytree(HERZ_JESUS / "images", tmp_path / "photos")
    assert "poses: 25 of 25 photos" in succeed(find_poses(tmp_path / "photos", tmp_path / "poses"))
    cameras = [read_camera(path) for path in sorted((HERZ_JESUS / "cams").iterdir())]
    given = np.array([np.linalg.inv(camera.cam_T_world)[:3, 3] for camera in cameras])
    centres = np.array([photo.centre for photo in read_colmap(tmp_path / "poses").photos])
    assert alignment_errors(centres, given).max() < 0.005


# ---------------------------------------------------------------- preparation


def test_photos_are_grouped_by_size_camera_and_focal_length(tmp_path):
    """After turning and scaling; a focal length of EXIF data is in pixels of the image that is used."""
    for name, size, orientation, focal in (
        ("a.jpg", (60, 80), 1, 36),
        ("b.jpg", (60, 80), 3, 36),
        ("c.jpg", (60, 80), 6, 36),
        ("d.jpg", (60, 80), 1, 50),
        ("e.jpg", (60, 80), 1, 0),
        ("f.jpg", (30, 40), 1, 0),
    ):
        save(tmp_path / name, noise(*size), orientation, focal)
    photos = Photos(tmp_path, [f"{letter}.jpg" for letter in "abcdef"], {})
    groups = prepare_photos(photos, tmp_path / "out", max_side=40).groups
    assert [(group.names, group.size) for group in groups] == [
        (["a.jpg", "b.jpg"], (40, 30)),
        (["c.jpg"], (30, 40)),
        (["d.jpg"], (40, 30)),
        (["e.jpg", "f.jpg"], (40, 30)),
    ]
    assert groups[0].focal == pytest.approx(36 / 43.2666 * 50, abs=0.01) == groups[1].focal
    assert groups[3].focal is None
    assert read_image_size(tmp_path / "out" / "images" / "c.jpg") == (30, 40)


# ---------------------------------------------------------------- mistakes


def test_no_photos(tmp_path):
    """Not a folder, an empty one, one photo, and formats that are not read: each in a line."""
    assert "cannot list this folder" in error_line(find_poses(tmp_path / "nowhere", tmp_path / "out"))
    (tmp_path / "photos").mkdir()
    line = error_line(find_poses(tmp_path / "photos", tmp_path / "out"))
    assert "holds no photos" in line and "put at least three overlapping ones there" in line
    save(tmp_path / "photos" / "a.JPG", noise())
    assert "holds only one photo" in error_line(find_poses(tmp_path / "photos", tmp_path / "out"))
    (tmp_path / "photos" / "b.TIF").touch()
    assert "save b.TIF as JPEG" in error_line(find_poses(tmp_path / "photos", tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    (tmp_path / "photos" / "clip.mp4").touch()
    line = error_line(find_poses(tmp_path / "photos" / "clip.mp4", tmp_path / "out"))
    assert "clip.mp4: is no video that can be read" in line


def test_photos_of_phones_and_other_programs(tmp_path, capsys):
    """In subfolders, as .jfif, grey with 16 bits; what cannot be read is named as what it is, and left out."""
    photos = tmp_path / "photos"
    for name in ("a", "b"):
        (photos / name).mkdir(parents=True)
    save(photos / "a" / "1.jpg", noise())
    save(photos / "b" / "1.jpg", noise())
    (photos / "a" / "2.jfif").write_bytes((photos / "a" / "1.jpg").read_bytes())
    (photos / "a" / "1.jfif").write_bytes((photos / "a" / "1.jpg").read_bytes())
    Image.fromarray(np.uint16([[0, 257 * 100, 65535]] * 3)).save(photos / "grey.png")
    (photos / "b" / "phone.jpg").write_bytes(b"\0\0\0\x24ftypheic" + bytes(40))
    names = find_photos(photos)
    assert names == ["a/1.jfif", "a/1.jpg", "a/2.jfif", "b/1.jpg", "b/phone.jpg", "grey.png"]
    prepared = prepare_photos(Photos(photos, names, {}), tmp_path / "out", 1600, strict=False)
    assert prepared.names == ["a/1.jfif.jpg", "a/1.jpg", "a/2.jpg", "b/1.jpg", "grey.png"]
    assert prepared.own_names["a/2.jpg"] == "a/2.jfif"
    assert read_image(tmp_path / "out" / "images" / "grey.png")[0, :, 0].tolist() == [0, 100, 255]
    assert list(prepared.left_out) == ["b/phone.jpg"]
    assert "b/phone.jpg: is not a readable image" in capsys.readouterr().out


def test_a_link_to_a_folder_is_named(tmp_path, capsys):
    """Its photos are not used, and it is said; a link to a photo is a photo."""
    for name in ("photos/a.jpg", "elsewhere/b.jpg", "c.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        save(tmp_path / name, noise())
    (tmp_path / "photos" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "photos" / "around").symlink_to(tmp_path)
    (tmp_path / "photos" / "c.jpg").symlink_to(tmp_path / "c.jpg")
    assert find_photos(tmp_path / "photos") == ["a.jpg", "c.jpg"]
    told = capsys.readouterr().out
    assert "photos/more: is a link to a folder, and not entered" in told and "photos/around: is a link" in told


def test_all_that_cannot_be_read_is_named_at_once(tmp_path):
    """Nobody has to start again for each damaged photo."""
    for name in ("a.jpg", "b.jpg", "c.jpg", "d.jpg"):
        save(tmp_path / name, noise())
    for name in ("b.jpg", "d.jpg"):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:400])
    photos = Photos(tmp_path, ["a.jpg", "b.jpg", "c.jpg", "d.jpg"], {})
    with pytest.raises(DataError, match=r"2 files cannot be used \(b.jpg: .*d.jpg: "):
        prepare_photos(photos, tmp_path / "out", 1600, strict=True)
    assert prepare_photos(photos, tmp_path / "out", 1600, strict=False).names == ["a.jpg", "c.jpg"]


def test_names_with_spaces(tmp_path):
    """COLMAP's lists of pairs cannot hold them: they are written without, and no two photos become one."""
    names = ["my photo.jpg", "my_photo.jpg"]
    for name in names:
        save(tmp_path / name, noise())
    prepared = prepare_photos(Photos(tmp_path, names, {}), tmp_path / "out", 1600)
    assert len(prepared.names) == 2 and sorted(prepared.own_names.values()) == names
    assert not any(" " in name for name in prepared.names)


@needs_pycolmap
def test_an_unreadable_photo(tmp_path):
    """It is named, and nothing is computed."""
    (tmp_path / "photos").mkdir()
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        save(tmp_path / "photos" / name, noise())
    path = tmp_path / "photos" / "b.jpg"
    path.write_bytes(path.read_bytes()[:400])
    line = error_line(find_poses(tmp_path / "photos", tmp_path / "out", "--strict"))
    assert "b.jpg: is not a readable image" in line and "remove" in line
    assert not (tmp_path / "out" / "database.db").exists()


def test_without_pycolmap(tmp_path, monkeypatch):
    """It says what to install."""
    monkeypatch.setitem(sys.modules, "pycolmap", None)
    for name in ("a.jpg", "b.jpg"):
        save(tmp_path / name, noise())
    line = error_line(find_poses(tmp_path, tmp_path / "out"))
    assert "pip install -r requirements-photos.txt" in line and not (tmp_path / "out").exists()


def test_somebodys_photos_are_not_removed(tmp_path):
    """An output folder that has an `images` of its own, perhaps the very photos."""
    (tmp_path / "images").mkdir()
    for name in ("a.jpg", "b.jpg"):
        save(tmp_path / "images" / name, noise())
    assert "that this program did not make" in error_line(find_poses(tmp_path / "images", tmp_path))
    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == ["a.jpg", "b.jpg"]

"""Samples of both layouts: shapes, intrinsics, sizes, labels, ground truth, augmentation, and mistakes."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import default_collate

from datasets.files import DataError
from datasets.formats.images import read_image, write_image
from datasets.formats.pfm import read_pfm, write_pfm
from datasets.io import read_camera, read_pairs, write_pairs
from datasets.layouts.general import SingleScan
from datasets.mvs import MVSDataset, Settings, open_dataset
from datasets.results import scan_number
from datasets.sample import STAGE_SCALES, fitted_size, stage_maps
from datasets.synthetic.scans import write_test_layout, write_training_layout

WIDTH, HEIGHT, VIEWS = 96, 64, 4
SIZES = {"stage1": (16, 24), "stage2": (32, 48), "stage3": (64, 96)}


@pytest.fixture(scope="session")
def rendered(tmp_path_factory) -> Path:
    """Two scans in the training layout (lights 3 and 6) and two in the test layout of 100x70 images."""
    root = tmp_path_factory.mktemp("scenes")
    write_training_layout(root / "train", {"scan1": 1, "scan2": 2}, WIDTH, HEIGHT, VIEWS)
    write_test_layout(root / "test", {"scan1": 1, "Family": 2}, 100, 70, VIEWS)
    return root


@pytest.fixture
def train_root(rendered, tmp_path) -> Path:
    """A copy of the training layout to damage; the folder's name is new, so nothing is cached."""
    return Path(shutil.copytree(rendered / "train", tmp_path / "train"))


@pytest.fixture
def test_root(rendered, tmp_path) -> Path:
    """A copy of the test layout to damage."""
    return Path(shutil.copytree(rendered / "test", tmp_path / "test"))


def dtu(root: Path, scans: str = "all", **settings) -> MVSDataset:
    """The training layout's dataset, 3 views and light 6 unless told otherwise."""
    return open_dataset("dtu_yao", root, scans, Settings(**{"views": 3, "light": 6, **settings}))


def general(root: Path, scans: str = "all", **settings) -> MVSDataset:
    """The test layout's dataset, 3 views unless told otherwise."""
    return open_dataset("general_eval", root, scans, Settings(**{"views": 3, **settings}))


# ---------------------------------------------------------------- samples


def test_sample_of_the_training_layout(rendered):
    """Shapes, types, names, and images of the reference and its best sources in 0..1."""
    dataset = dtu(rendered / "train")
    assert len(dataset) == 2 * VIEWS
    sample = dataset[VIEWS + 1]
    assert (sample["scan"], sample["view"]) == ("scan2", 1)
    assert sample.keys() == {"imgs", "proj_matrices", "depth_values", "scan", "view"}
    assert sample["imgs"].shape == (3, 3, HEIGHT, WIDTH) and sample["imgs"].dtype == np.float32
    assert sample["depth_values"].shape == (192,)
    sources = dict(read_pairs(rendered / "train" / "Cameras" / "pair.txt"))[1]
    for i, view in enumerate([1, *sources[:2]]):
        path = rendered / "train" / "Rectified" / "scan2_train" / f"rect_{view + 1:03d}_6_r5000.png"
        np.testing.assert_array_equal(sample["imgs"][i], read_image(path).transpose(2, 0, 1).astype(np.float32) / 255)


def test_stage_intrinsics_of_the_training_layout(rendered):
    """Camera files hold K at a quarter of the size: stage 1 as it is, stage 2 twice, stage 3 four times."""
    sample = dtu(rendered / "train")[0]
    camera = read_camera(rendered / "train" / "Cameras" / "train" / "00000000_cam.txt")
    for stage, factor in (("stage1", 1), ("stage2", 2), ("stage3", 4)):
        matrices = sample["proj_matrices"][stage]
        assert matrices.shape == (3, 2, 4, 4) and matrices.dtype == np.float32
        np.testing.assert_allclose(matrices[0, 0], camera.cam_T_world, rtol=1e-6)
        np.testing.assert_allclose(matrices[0, 1, :3, :3], camera.scaled(factor, factor).K, rtol=1e-6)


def test_images_are_fitted_and_intrinsics_follow(rendered):
    """100x70 becomes 96x64, each axis of K scaled by its own factor; the camera file is for the full image."""
    sample = general(rendered / "test")[0]
    assert sample["scan"] == "Family" and sample["imgs"].shape == (3, 3, 64, 96)
    camera = read_camera(rendered / "test" / "Family" / "cams" / "00000000_cam.txt")
    for stage, scale in STAGE_SCALES.items():
        K = camera.scaled(96 / 100 / scale, 64 / 70 / scale).K
        np.testing.assert_allclose(sample["proj_matrices"][stage][0, 1, :3, :3], K, rtol=1e-6)


@pytest.mark.parametrize(
    ("size", "max_size", "expected"),
    [
        ((640, 512), (640, 512), (640, 512)),
        ((1600, 1200), (1152, 864), (1152, 864)),
        ((1920, 1080), (1152, 864), (1152, 640)),
        ((1080, 1920), (1152, 864), (640, 1152)),  # an upright photo turns the limits
        ((1080, 1920), (864, 1152), (640, 1152)),
        ((1920, 1080), (864, 1152), (864, 480)),
        ((170, 110), (1152, 864), (160, 96)),  # never scaled up
        ((1600, 1200), (1600, 100), (128, 96)),
    ],
)
def test_fitted_size(size, max_size, expected):
    """Scaled down to fit, then the sides rounded down to multiples of 32."""
    assert fitted_size(*size, max_size) == expected


def test_max_size_scales_down(rendered):
    """Images larger than asked for shrink, and stay multiples of 32."""
    assert general(rendered / "test", max_size=(64, 64))[0]["imgs"].shape == (3, 3, 32, 64)


def test_sources_take_the_size_of_the_reference(test_root):
    """A source photographed at another size is resized, and its K with it."""
    pairs = dict(read_pairs(test_root / "scan1" / "pair.txt"))
    source = pairs[0][0]
    path = test_root / "scan1" / "images" / f"{source:08d}.jpg"
    write_image(path, np.repeat(read_image(path), 2, axis=1))  # twice as wide
    dataset = general(test_root, light=None)
    index = next(i for i, entry in enumerate(dataset.entries) if (entry.scan, entry.reference) == ("scan1", 0))
    sample = dataset[index]
    assert sample["imgs"].shape == (3, 3, 64, 96)
    camera = read_camera(test_root / "scan1" / "cams" / f"{source:08d}_cam.txt")
    K = camera.scaled(96 / 200, 64 / 70).K
    np.testing.assert_allclose(sample["proj_matrices"]["stage3"][1, 1, :3, :3], K, rtol=1e-6)


def test_too_few_sources_repeat_the_best(test_root):
    """As in the official code; views without any source are no references."""
    write_pairs(test_root / "scan1" / "pair.txt", [(0, [(2, 9.0), (1, 3.0)]), (1, [(0, 1.0)]), (2, []), (3, [])])
    (test_root / "scans.txt").write_text("scan1")
    dataset = general(test_root, test_root / "scans.txt", views=5)
    assert [(entry.reference, entry.sources) for entry in dataset.entries] == [(0, (2, 1, 2, 2)), (1, (0, 0, 0, 0))]
    assert dataset[0]["imgs"].shape[0] == 5


def test_depth_range_of_each_sample(test_root):
    """A batch keeps the range of each reference's own camera file."""
    path = test_root / "scan1" / "cams" / "00000000_cam.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:-1], "100 1.5 64"]))
    (test_root / "scans.txt").write_text("scan1")
    dataset = general(test_root, test_root / "scans.txt", interval_scale=1.06)
    batch = default_collate([dataset[0], dataset[1]])
    ends = batch["depth_values"][:, [0, -1]].numpy()
    last = [100 + 191 / 192 * 1.06 * 64 * 1.5, 425 + 191 * 2.5 * 1.06]
    np.testing.assert_allclose(ends, [[100, last[0]], [425, last[1]]], rtol=1e-5)
    assert batch["view"].tolist() == [0, 1] and batch["imgs"].shape == (2, 3, 3, 64, 96)


def test_lights(rendered):
    """Every light there is for training, one for labels."""
    every = dtu(rendered / "train", light=None)
    assert len(every) == 2 * 2 * VIEWS and {entry.light for entry in every.entries} == {3, 6}
    assert not np.array_equal(every[0]["imgs"], every[VIEWS]["imgs"])
    assert {entry.light for entry in dtu(rendered / "train", light=3).entries} == {3}


def test_all_scans_and_lists(rendered, tmp_path):
    """ "all" is every scan of the folder, a list file the scans it names, in its order."""
    (tmp_path / "scans.txt").write_text("scan2\n")
    for dataset in (dtu(rendered / "train"), general(rendered / "test")):
        assert len({entry.scan for entry in dataset.entries}) == 2
    assert {entry.scan for entry in dtu(rendered / "train", tmp_path / "scans.txt").entries} == {"scan2"}


def test_single_scan(rendered):
    """One scan's own folder as a data set, whatever its name."""
    layout = SingleScan(rendered / "test" / "Family")
    dataset = MVSDataset(layout, layout.scans("all"), Settings(views=3))
    assert {entry.scan for entry in dataset.entries} == {"Family"} and len(dataset) == VIEWS
    assert scan_number("scan024") == 24 and scan_number("Family") is None and scan_number("scan1b") is None


def test_image_size_without_loading(rendered):
    """The size a sample will have, from the image's header."""
    assert dtu(rendered / "train").view_keys(0)[0].size == (96, 64)
    assert general(rendered / "test").view_keys(0)[0].size == (96, 64)


@pytest.mark.parametrize("suffix", [".png", ".JPG", ".jpeg"])
def test_image_suffixes(test_root, suffix):
    """Own photos may be PNG, or have capital letters in their suffix."""
    for path in (test_root / "scan1" / "images").glob("*.jpg"):
        image = read_image(path)
        path.unlink()
        write_image(path.with_suffix(suffix), image)
    assert len(general(test_root)) == 2 * VIEWS
    assert general(test_root)[VIEWS]["imgs"].shape == (3, 3, 64, 96)


# ---------------------------------------------------------------- ground truth and labels


def test_ground_truth(rendered):
    """Exact depth at every stage, nearest pixels, valid inside the depth values."""
    sample = dtu(rendered / "train", ground_truth=True)[1]
    exact = read_pfm(rendered / "train" / "Depths_raw" / "scan1" / "depth_map_0001.pfm")
    for stage, scale in STAGE_SCALES.items():
        assert sample["depth"][stage].shape == SIZES[stage]
        np.testing.assert_array_equal(sample["depth"][stage], exact[::scale, ::scale])
        low, high = sample["depth_values"][[0, -1]]
        np.testing.assert_array_equal(
            sample["depth_mask"][stage], (exact >= low)[::scale, ::scale] & (exact <= high)[::scale, ::scale]
        )
    assert "depth" not in dtu(rendered / "train")[1]


def test_ground_truth_of_the_test_layout(rendered):
    """Depth at the image's fitted size."""
    sample = general(rendered / "test", ground_truth=True)[0]
    assert sample["depth"]["stage3"].shape == (64, 96) and sample["depth_mask"]["stage3"].mean() > 0.9


def test_large_ground_truth_is_halved_and_cropped(train_root):
    """As DTU's 1600x1200: every second pixel, then the centre of the image's size; invisible pixels are 0."""
    folder = train_root / "Depths_raw" / "scan1"
    full = 500 + np.random.default_rng(1).uniform(0, 100, (140, 200)).astype(np.float32)
    visual = np.full((140, 200), 255, np.uint8)
    visual[:70] = 0
    write_pfm(folder / "depth_map_0000.pfm", full)
    write_image(folder / "depth_visual_0000.png", visual)
    depth = dtu(train_root, ground_truth=True)[0]["depth"]["stage3"]
    # Half is 70x100; 64x96 starts at row 3 and column 2.
    expected = full[6:134:2, 4:196:2].copy()
    expected[: 35 - 3] = 0
    np.testing.assert_array_equal(depth, expected)


def test_too_small_ground_truth(train_root):
    """Ground truth that cannot be of this image."""
    write_pfm(train_root / "Depths_raw" / "scan1" / "depth_map_0000.pfm", np.ones((64, 90), np.float32))
    with pytest.raises(DataError, match=r"depth_map_0000\.pfm: half its size, 45x32, is below the image's 96x64"):
        dtu(train_root, ground_truth=True)[0]


def test_views_without_ground_truth(train_root):
    """Where a depth map is missing the sample has none; a not-a-number is unknown."""
    folder = train_root / "Depths_raw" / "scan1"
    (folder / "depth_map_0000.pfm").unlink()
    depth = read_pfm(folder / "depth_map_0001.pfm")
    depth[:10] = np.nan
    write_pfm(folder / "depth_map_0001.pfm", depth)
    dataset = dtu(train_root, ground_truth=True)
    assert "depth" not in dataset[0]
    assert not dataset[1]["depth_mask"]["stage3"][:10].any() and (dataset[1]["depth"]["stage3"][:10] == 0).all()


@pytest.fixture
def labels(tmp_path) -> Path:
    """Random labels of every view of scan1: mu 380..950 with holes, sigma 0..5."""
    rng = np.random.default_rng(1)
    for view in range(VIEWS):
        mu = rng.uniform(380, 950, (HEIGHT, WIDTH)).astype(np.float32)
        mu[:5] = 0
        folder = tmp_path / "labels" / "scan1"
        write_pfm(folder / "checked_depth" / f"{view:08d}.pfm", mu)
        write_pfm(folder / "fused_sigma" / f"{view:08d}.pfm", rng.uniform(0, 5, (HEIGHT, WIDTH)).astype(np.float32))
    (tmp_path / "scan1.txt").write_text("scan1\n")
    return tmp_path / "labels"


def test_labels(train_root, labels):
    """Nearest neighbours at every stage; valid inside the camera file's depth range, here 425 to 905."""
    sample = dtu(train_root, labels.parent / "scan1.txt", labels=labels)[2]
    mu = read_pfm(labels / "scan1" / "checked_depth" / "00000002.pfm")
    sigma = read_pfm(labels / "scan1" / "fused_sigma" / "00000002.pfm")
    for stage, scale in STAGE_SCALES.items():
        np.testing.assert_array_equal(sample["mu"][stage], mu[::scale, ::scale])
        np.testing.assert_array_equal(sample["sigma"][stage], sigma[::scale, ::scale])
        np.testing.assert_array_equal(sample["label_mask"][stage], ((mu > 425) & (mu < 905))[::scale, ::scale])
        assert 0 < sample["label_mask"][stage].mean() < 1


def test_stage_maps_are_contiguous():
    """Ready to be a tensor, at sizes that divide by 4."""
    for stage, values in stage_maps(np.arange(64 * 96.0).reshape(64, 96)).items():
        assert values.flags.c_contiguous and values.shape == SIZES[stage]


@pytest.mark.parametrize("kind", ["checked_depth", "fused_sigma"])
def test_missing_label(train_root, labels, kind):
    """Noticed at the start, not in the middle of a training."""
    (labels / "scan1" / kind / "00000003.pfm").unlink()
    with pytest.raises(DataError, match=rf"scan1/{kind}/00000003\.pfm: this pseudo-label is missing"):
        dtu(train_root, labels.parent / "scan1.txt", labels=labels)


def test_scan_without_labels(train_root, labels):
    """Scan 2 has none."""
    with pytest.raises(DataError, match=r"scan2/checked_depth/0000000\d\.pfm: this pseudo-label is missing"):
        dtu(train_root, labels=labels)


def test_label_of_another_size(train_root, labels):
    """Labels belong to the size they were made at."""
    write_pfm(labels / "scan1" / "checked_depth" / "00000000.pfm", np.ones((32, 48), np.float32))
    with pytest.raises(DataError, match=r"checked_depth/00000000\.pfm: is 48x32, the image 96x64"):
        dtu(train_root, labels.parent / "scan1.txt", labels=labels)[0]


# ---------------------------------------------------------------- augmentation


def test_augmentation_is_the_same_for_all_views(test_root):
    """With the same photo as every view, the changed views are the same too, and differ from the photo."""
    folder = test_root / "scan1" / "images"
    for view in range(1, VIEWS):
        shutil.copy(folder / "00000000.jpg", folder / f"{view:08d}.jpg")
    (test_root / "scans.txt").write_text("scan1")
    plain = general(test_root, test_root / "scans.txt", augment=False)[0]["imgs"]
    augmented = general(test_root, test_root / "scans.txt", augment=True)
    first, second = (np.asarray(augmented[0]["imgs"]) for _ in range(2))
    for imgs in (first, second):
        assert imgs.shape == plain.shape and imgs.min() >= 0 and imgs.max() <= 1
        np.testing.assert_allclose(imgs[1], imgs[0], atol=1e-6)
    assert np.abs(first - plain).max() > 0.01 and np.abs(first - second).max() > 0.01


# ---------------------------------------------------------------- mistakes


def missing_image(root: Path) -> str:
    (root / "Rectified" / "scan1_train" / "rect_003_6_r5000.png").unlink()
    return r"pair\.txt: names view 2 of scan1, but .*rect_003_6_r5000\.png is missing"


def missing_camera(root: Path) -> str:
    (root / "Cameras" / "train" / "00000001_cam.txt").unlink()
    return r"pair\.txt: names view 1 of scan1, but .*00000001_cam\.txt is missing"


def missing_pairs(root: Path) -> str:
    (root / "Cameras" / "pair.txt").unlink()
    return r"Cameras/pair\.txt: no such file"


def pair_with_a_view_that_is_not_there(root: Path) -> str:
    write_pairs(root / "Cameras" / "pair.txt", [(0, [(1, 1.0), (49, 0.5)])])
    return r"pair\.txt: names view 49 of scan1, but .*00000049_cam\.txt is missing"


def wrong_light(root: Path) -> str:
    for path in (root / "Rectified" / "scan1_train").glob("*_6_*"):
        path.unlink()
    return r"scan1 has no light 6, only \[3\]"


def no_image_of_the_layout(root: Path) -> str:
    for path in (root / "Rectified" / "scan1_train").glob("*"):
        path.rename(path.with_suffix(".bmp"))
    return r"scan1_train: holds no image named rect_<view>_<light>_r5000\.png"


def missing_scan(root: Path) -> str:
    shutil.rmtree(root / "Rectified" / "scan1_train")
    return r"Rectified/scan1_train: cannot list this folder"


MISTAKES = (
    missing_image,
    missing_camera,
    missing_pairs,
    pair_with_a_view_that_is_not_there,
    wrong_light,
    no_image_of_the_layout,
    missing_scan,
)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_named_at_the_start(train_root, mistake):
    """Before any sample is loaded."""
    (train_root / "scans.txt").write_text("scan1\nscan2\n")
    with pytest.raises(DataError, match=mistake(train_root)):
        dtu(train_root, train_root / "scans.txt")


def test_sides_must_fit_in_the_training_layout(train_root):
    """Its images are taken as they are, so their sides must be multiples of 32, and the same for all views."""
    path = train_root / "Rectified" / "scan1_train" / "rect_001_6_r5000.png"
    image = read_image(path)
    write_image(path, image[:50])
    with pytest.raises(DataError, match=r"rect_001_6_r5000\.png: is 96x50; its sides must be multiples of 32"):
        dtu(train_root)[0]
    write_image(path, image[:32])
    with pytest.raises(DataError, match=r"rect_00\d_6_r5000\.png: is 96x64, its reference view 96x32"):
        dtu(train_root)[0]


def test_images_below_32_pixels(test_root):
    """Too small for the networks."""
    path = test_root / "Family" / "images" / "00000000.jpg"
    write_image(path, read_image(path)[:31])
    with pytest.raises(DataError, match=r"Family/images/00000000\.jpg: is 100x31; its sides"):
        general(test_root)[0]


def test_mistakes_of_the_test_layout(test_root):
    """Scans and files that are not there."""
    (test_root / "scans.txt").write_text("Famly\n")
    with pytest.raises(DataError, match="test/Famly: no such scan; check the scan list"):
        general(test_root, test_root / "scans.txt")
    with pytest.raises(DataError, match="nowhere: no such folder"):
        general(test_root / "nowhere")
    with pytest.raises(DataError, match="images: holds no scan"):
        general(test_root / "scan1" / "images")
    with pytest.raises(DataError, match="nowhere: no such folder"):
        SingleScan(test_root / "nowhere")
    with pytest.raises(DataError, match="1 views are too few"):
        general(test_root, views=1)


def test_settings_cannot_change():
    """They are part of what identifies results."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings(views=3).views = 5

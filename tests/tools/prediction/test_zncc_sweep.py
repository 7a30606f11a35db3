"""The plain plane sweep: its score, its peak, its depth on surfaces that are known, and its program."""

import cv2
import numpy as np
import pytest
from helpers import change_times, error_line, run_program, succeed

from datasets.camera import Camera
from datasets.formats.pfm import read_pfm
from datasets.layouts.general import GeneralScans
from datasets.sample import View
from datasets.synthetic.scans import write_test_layout
from tools.evaluation.depth import depth_metrics
from tools.prediction.zncc import Patches, Peaks, inverse_depths, sweep

SIZE = (64, 48)
FOCAL = 100.0


def texture(seed: int) -> np.ndarray:
    """A grey picture [48, 320] of random blobs some pixels wide, in 0..1."""
    noise = np.random.default_rng(seed).random((SIZE[1], 320)).astype(np.float32)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 1.5), None, 0, 1, cv2.NORM_MINMAX)


def view_of_plane(picture: np.ndarray, disparity: float, depth: float = 500.0) -> View:
    """What a camera sees of a textured plane at a depth, moved to the right so that it shifts by `disparity` pixels."""
    shift = np.float32([[1, 0, -100 - disparity], [0, 1, 0]])
    image = cv2.warpAffine(picture, shift, SIZE, flags=cv2.INTER_CUBIC)
    cam_T_world = np.eye(4)
    cam_T_world[0, 3] = -disparity * depth / FOCAL
    K = np.array([[FOCAL, 0, SIZE[0] / 2], [0, FOCAL, SIZE[1] / 2], [0, 0, 1]])
    return View(np.repeat(image[..., None], 3, axis=2), Camera(K, cam_T_world))


def views_of_plane(*disparities: float) -> list[View]:
    picture = texture(1)
    return [view_of_plane(picture, disparity) for disparity in (0, *disparities)]


# Inverse depths in steps of a pixel of disparity, for a view that is 10 pixels from the reference at depth 500.
HYPOTHESES = np.arange(4.5, 17) / 10 / 500
INSIDE = (slice(4, -4), slice(16, -16))  # seen by views that are shifted by up to 12 pixels


# ---------------------------------------------------------------- score


def test_score_is_the_correlation_of_windows():
    """At any pixel away from the border: numpy's correlation of the two 7x7 windows."""
    a, b = texture(1), 0.5 * texture(1) + 0.5 * texture(2)
    score = Patches(a, 7).zncc(Patches(b, 7))
    for y, x in ((3, 3), (20, 31), (44, 300)):
        windows = (image[y - 3 : y + 4, x - 3 : x + 4].ravel() for image in (a, b))
        assert score[y, x] == pytest.approx(np.corrcoef(*windows)[0, 1], abs=1e-3)


def test_score_ignores_brightness_and_contrast_but_not_their_sign():
    """Nearly so in the flattest windows, where what keeps rounding out weighs most."""
    patches = Patches(texture(1), 7)
    assert patches.zncc(Patches(0.3 * texture(1) + 0.2, 7)).min() > 0.97
    assert patches.zncc(Patches(1 - texture(1), 7)).max() < -0.97


def test_flat_windows_correlate_with_nothing():
    flat = Patches(np.full(SIZE, 0.7, np.float32), 7)
    assert np.abs(flat.zncc(flat)).max() < 0.5
    assert np.abs(flat.zncc(Patches(texture(1)[:, : SIZE[0]].T.copy(), 7))).max() < 0.1


# ---------------------------------------------------------------- peak


def test_peaks_of_streamed_maps_are_those_of_the_whole_volume():
    """The first highest score above the least; the parabola through it and its neighbours; the ends as they are."""
    volume = np.random.default_rng(0).random((9, 6, 5)).astype(np.float32)
    volume[4, 0, 0] = volume[6, 0, 0] = 2  # a tie
    volume[0, 1, 1] = volume[8, 2, 2] = 2  # at the ends
    volume[:, 3, 3] = -1
    peaks = Peaks((6, 5), -1)
    for index, score in enumerate(volume):
        peaks.add(index, score)
    position = peaks.position()
    for y, x in np.ndindex(6, 5):
        scores = volume[:, y, x].astype(float)
        top = int(scores.argmax())
        expected = float(top)
        if 0 < top < 8:
            a, b, _ = np.polyfit([-1, 0, 1], scores[top - 1 : top + 2], 2) if (y, x) != (3, 3) else (1, 0, 0)
            expected += -b / (2 * a)
        assert position[y, x] == pytest.approx(-1 if (y, x) == (3, 3) else expected, abs=1e-3)
    assert np.array_equal(peaks.score[:3], volume[:, :3].max(axis=0))


# ---------------------------------------------------------------- depth


def test_depth_of_a_plane():
    """It lies in the middle between two hypotheses, 5 % from either; the parabola finds it to 2 %, mostly to 0.5 %."""
    depth, score = sweep(views_of_plane(10, -10), HYPOTHESES, window=7, best=2)
    assert depth.dtype == score.dtype == np.float32 and depth.shape == score.shape == SIZE[::-1]
    assert np.abs(depth[INSIDE] / 500 - 1).max() < 0.02
    assert np.median(np.abs(depth[INSIDE] / 500 - 1)) < 0.005
    assert score[INSIDE].min() > 0.7


def test_the_order_of_hypotheses_does_not_matter():
    views = views_of_plane(10, -10)
    there, back = (sweep(views, inverse, window=7, best=2)[0] for inverse in (HYPOTHESES, HYPOTHESES[::-1]))
    np.testing.assert_allclose(there[INSIDE], back[INSIDE], rtol=1e-4)


def test_only_the_best_sources_count():
    """Two of four sources see something else: the best two decide; with all four the score is far lower."""
    other = texture(5)
    views = [*views_of_plane(10, -10), view_of_plane(other, 8), view_of_plane(other, -8)]
    depth, score = sweep(views, HYPOTHESES, window=7, best=2)
    assert np.abs(depth[INSIDE] / 500 - 1).max() < 0.02
    _, score_of_all = sweep(views, HYPOTHESES, window=7, best=4)
    assert np.median(score_of_all[INSIDE]) < np.median(score[INSIDE]) - 0.2


def test_fewer_sources_than_the_best():
    """One source alone: its interpolation errors are not averaged out."""
    depth, _ = sweep(views_of_plane(10), HYPOTHESES, window=7, best=2)
    assert np.abs(depth[INSIDE] / 500 - 1).max() < 0.05
    assert np.median(np.abs(depth[INSIDE] / 500 - 1)) < 0.005


def test_what_no_source_sees_has_no_depth():
    """The one source looks past the left part of the reference at every hypothesis."""
    depth, score = sweep(views_of_plane(10), HYPOTHESES, window=7, best=2)
    assert (depth[:, :4] == 0).all() and (score[:, :4] == -1).all()  # 4.5 pixels of shift at the least
    assert (depth[:, 20:] > 0).all()


def test_inverse_depths_are_evenly_spaced():
    inverse = inverse_depths(400, 800, 5)
    assert inverse[0] == 1 / 400 and inverse[-1] == 1 / 800
    assert np.diff(inverse) == pytest.approx(-1 / 3200)


# ---------------------------------------------------------------- program


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """A procedural scan, and the sweep's predictions for it."""
    folder = tmp_path_factory.mktemp("sweep")
    write_test_layout(folder / "scenes", {"scan1": 1}, width=128, height=96, views=5)
    succeed(sweep_scan(folder))
    return folder


def sweep_scan(folder, *flags):
    flags = ("--num_view", 5, "--hypotheses", 48, "--interval_scale", 1, *flags)
    return run_program("tools/zncc_sweep.py", "--testpath", folder / "scenes", "--outdir", folder / "out", *flags)


def test_program_finds_the_surface(scenes):
    """Half of the pixels are within a few mm of the exact depth; confident ones are better."""
    layout = GeneralScans(scenes / "scenes")
    metrics = depth_metrics(layout, scenes / "out", ["scan1"], (2.0,), (0.01,), (0.0, 0.9))
    assert metrics["pixels"] == 5 * 128 * 96 and metrics["median_relative"] < 0.01
    everywhere, confident = metrics["curve"]
    assert confident["completeness"] > 0.2 and confident["mean"] < 0.7 * everywhere["mean"]


def test_predictions_can_be_fused(scenes):
    """They are those of test.py in name and kind: its fusion takes them."""
    for folder, suffixes in {
        "depth_est": "pfm png json",
        "confidence": "pfm png",
        "cams": "txt",
        "images": "jpg",
    }.items():
        names = {path.name for path in (scenes / "out" / "scan1" / folder).iterdir()}
        tail = "_cam." if folder == "cams" else "."
        assert names == {f"{view:08d}{tail}{suffix}" for view in range(5) for suffix in suffixes.split()}
    confidence = read_pfm(scenes / "out" / "scan1" / "confidence" / "00000000.pfm")
    assert confidence.min() >= 0 and 0.8 < confidence.max() <= 1.001
    flags = ("--testpath", scenes / "scenes", "--outdir", scenes / "out", "--skip_depth")
    printed = succeed(run_program("test.py", *flags, "--filter_method", "normal", "--thres_view", 2))
    assert int(printed.split("scan1: ")[1].split()[0]) > 1000


def test_rerun_makes_only_what_is_missing_and_other_settings_start_anew(scenes):
    before = change_times(scenes / "out", "*.pfm")
    (scenes / "out" / "scan1" / "depth_est" / "00000003.pfm").unlink()
    assert "4 views are finished already" in succeed(sweep_scan(scenes))
    after = change_times(scenes / "out", "*.pfm")
    assert {name for name in before if before[name] != after[name]} == {
        f"scan1/{kind}/00000003.pfm" for kind in ("depth_est", "confidence")
    }
    assert "finished" not in succeed(sweep_scan(scenes, "--window", 5))
    assert not set(after.values()) & set(change_times(scenes / "out", "*.pfm").values())


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (("--window", 6), "--window 6"),
        (("--window", 1), "--window 1"),
        (("--hypotheses", 1), "--hypotheses 1"),
        (("--interval_scale", 0), "--interval_scale"),
        (("--num_view", 1), "1 views are too few"),
        (("--max_w", 16), "multiples of 32"),
    ],
)
def test_mistaken_flags(scenes, tmp_path, flags, named):
    assert named in error_line(sweep_scan(scenes, *flags, "--outdir", tmp_path / "out"))
    assert not list(tmp_path.rglob("*.pfm"))

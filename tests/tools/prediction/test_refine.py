"""Refinement of a scan's files: what it improves, what it keeps, and that nothing is lost when it is cut off."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from exact_results import HEIGHT, UNSURE_ROWS, VIEWS, WIDTH, write_exact_result
from helpers import FAST, change_times, error_line, run_process, run_program, succeed, write_checkpoint

from datasets.files import DataError
from datasets.formats.pfm import read_pfm, write_pfm
from datasets.layouts.general import GeneralScans
from datasets.results import RAW_FOLDER, REFINE_RECORD, is_refined
from tools.prediction.refine import refine, restore

SCANS = {"garden": 3, "house": 4}


def maps(folder: Path, name: str = "depth_est") -> list[np.ndarray]:
    return [read_pfm(folder / name / f"{view:08d}.pfm") for view in range(VIEWS)]


@pytest.fixture
def noisy(tmp_path) -> tuple[GeneralScans, Path]:
    """Scans in the test layout, and their exact depths with every tenth pixel far off."""
    testpath, outdir = write_exact_result(tmp_path, SCANS)
    random = np.random.default_rng(0)
    for scan in SCANS:
        for view, depth in enumerate(maps(outdir / scan)):
            wrong = random.random(depth.shape) < 0.1
            write_pfm(outdir / scan / "depth_est" / f"{view:08d}.pfm", np.where(wrong, depth * np.float32(1.2), depth))
    return GeneralScans(testpath), outdir


def far_off(layout: GeneralScans, outdir: Path, name: str = "depth_est") -> np.ndarray:
    """Of all pixels with known depth that are not unsure, which are off by more than 5 %."""
    wrong = []
    for scan in SCANS:
        for view, depth in enumerate(maps(outdir / scan, name)):
            truth = layout.ground_truth(scan, view, (WIDTH, HEIGHT))[UNSURE_ROWS:]
            wrong.append((np.abs(depth[UNSURE_ROWS:] - truth) > 0.05 * truth)[truth > 0])
    return np.concatenate(wrong)


@pytest.mark.parametrize(("passes", "still_wrong"), [(1, 0.6), (3, 0.2)])
def test_wrong_pixels_become_right_and_the_networks_depth_is_kept(noisy, passes, still_wrong):
    layout, outdir = noisy
    wrong, confidence = far_off(layout, outdir), maps(outdir / "garden", "confidence")
    refine(outdir, layout, list(SCANS), passes)
    refined = far_off(layout, outdir)
    assert refined[wrong].mean() < still_wrong
    assert refined[~wrong].mean() < 0.07  # most of them at edges that no other view sees
    np.testing.assert_array_equal(far_off(layout, outdir, RAW_FOLDER), wrong)
    for scan in SCANS:
        folders = {path.name for path in (outdir / scan).iterdir() if path.is_dir()}
        assert folders == {"cams", "images", "confidence", "confidence_raw", "depth_est", RAW_FOLDER}
        for name in ("depth_est", "confidence"):
            assert len(list((outdir / scan / name).glob("*.png"))) == VIEWS
    np.testing.assert_array_equal(maps(outdir / "garden", "confidence_raw"), confidence)
    refined = np.stack(maps(outdir / "garden", "confidence"))
    assert (refined >= confidence).all() and (refined > confidence).mean() > 0.2


def test_a_rerun_leaves_refined_scans_and_other_passes_start_from_the_network(noisy):
    layout, outdir = noisy
    raw = maps(outdir / "garden")
    refine(outdir, layout, ["garden"], 2)
    times = change_times(outdir, "*.pfm")
    refine(outdir, layout, ["garden"], 2)
    assert times == change_times(outdir, "*.pfm")
    twice = maps(outdir / "garden")

    refine(outdir, layout, ["garden"], 1)
    np.testing.assert_array_equal(maps(outdir / "garden", RAW_FOLDER), raw)
    assert (np.stack(maps(outdir / "garden")) != np.stack(twice)).any()
    refine(outdir, layout, ["garden"], 2)
    np.testing.assert_array_equal(maps(outdir / "garden"), twice)


# In which order the folders take each other's names when refined maps are finished.
RENAMES = (
    ("confidence", "confidence_raw"),
    ("depth_est", "depth_raw"),
    ("confidence_refined", "confidence"),
    ("depth_refined", "depth_est"),
)
MOMENTS = ("in a pass", "before the record", "while restoring", "by an older version", *range(len(RENAMES)))


@pytest.mark.parametrize("moment", MOMENTS)
def test_cut_off_it_starts_again_from_the_networks_depth(noisy, moment):
    layout, outdir = noisy
    folder = outdir / "garden"
    raw, confidence = maps(folder), maps(folder, "confidence")
    refine(outdir, layout, ["garden"], 2)
    finished, its_confidence = maps(folder), maps(folder, "confidence")
    if moment == "in a pass":
        restore(folder)
        write_pfm(folder / "depth_pass_1" / "00000000.pfm", np.ones((HEIGHT, WIDTH), np.float32))
        write_pfm(folder / "depth_pass_2" / "00000009.pfm", np.ones((HEIGHT, WIDTH), np.float32))
    elif moment in range(len(RENAMES)):  # after so many of the renames
        (folder / REFINE_RECORD).unlink()
        for before, after in reversed(RENAMES[moment:]):
            (folder / after).rename(folder / before)
    elif moment == "by an older version":  # whose refined depth had the network's confidence
        shutil.rmtree(folder / "confidence")
        (folder / "confidence_raw").rename(folder / "confidence")
    elif moment == "before the record":
        (folder / REFINE_RECORD).unlink()
    else:
        (folder / REFINE_RECORD).unlink()
        (folder / "depth_est" / "00000000.pfm").unlink()
    refine(outdir, layout, ["garden"], 2)
    np.testing.assert_array_equal(maps(folder, RAW_FOLDER), raw)
    np.testing.assert_array_equal(maps(folder, "confidence_raw"), confidence)
    np.testing.assert_array_equal(maps(folder), finished)
    np.testing.assert_array_equal(maps(folder, "confidence"), its_confidence)
    restore(folder)
    np.testing.assert_array_equal([maps(folder), maps(folder, "confidence")], [raw, confidence])
    assert not list(folder.glob("*_r*"))
    refine(outdir, layout, ["garden"], 2)
    assert is_refined(folder) and not list(folder.glob("depth_pass_*"))


def test_a_missing_view_is_named(noisy):
    layout, outdir = noisy
    (outdir / "house" / "depth_est" / "00000002.pfm").unlink()
    with pytest.raises(DataError, match=r"00000002\.pfm"):
        refine(outdir, layout, ["house"], 1)
    assert not (outdir / "house" / RAW_FOLDER).exists()


def test_program(tmp_path):
    """test.py refines what it predicted; without the flag the network's depth is back, without a prediction anew."""
    testpath, _ = write_exact_result(tmp_path, {"garden": 3})
    checkpoint = write_checkpoint(tmp_path / "model.ckpt")
    flags = ("--testpath", testpath, "--outdir", tmp_path / "new", "--loadckpt", checkpoint, *FAST)
    flags += ("--filter_method", "none")
    folder = tmp_path / "new" / "garden"

    succeed(run_program("test.py", *flags))
    raw, times = maps(folder), change_times(folder / "depth_est", "*.pfm")
    succeed(run_program("test.py", *flags, "--refine", 2))
    assert change_times(folder / RAW_FOLDER, "*.pfm") == times  # moved, not made anew
    refined = maps(folder)
    assert (np.stack(refined) != np.stack(raw)).any()

    times = change_times(folder, "*.pfm")
    succeed(run_program("test.py", *flags, "--refine", 2))
    assert change_times(folder, "*.pfm") == times
    succeed(run_program("test.py", *flags))
    np.testing.assert_array_equal(maps(folder), raw)
    succeed(run_program("test.py", *flags, "--skip_depth", "--refine", 2))
    np.testing.assert_array_equal(maps(folder), refined)

    for again in ((), ("--skip_depth", "--outdir", testpath.parent)):  # refined depth would go, or is not there
        line = error_line(
            run_program("test.py", *flags, "--filter_method", "gipuma", "--fuse_depth", "refined", *again)
        )
        assert line.startswith("error: --fuse_depth refined: without --refine there is no refined depth of garden")
    np.testing.assert_array_equal(maps(folder), refined)

    other = write_checkpoint(tmp_path / "model.ckpt", seed=62)
    succeed(run_program("test.py", *flags, "--refine", 1, "--loadckpt", other))
    assert (np.stack(maps(folder, RAW_FOLDER)) != np.stack(raw)).any()


@pytest.mark.slow
def test_two_processes_share_the_views(noisy):
    """torchrun with two gloo processes makes the files of one."""
    layout, outdir = noisy
    two = outdir.with_name("two")
    shutil.copytree(outdir, two)
    refine(outdir, layout, list(SCANS), 2)
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
    flags = ("--testpath", layout.root, "--outdir", two, "--skip_depth", "--refine", 2, "--filter_method", "none")
    succeed(run_process(*launcher, "test.py", *flags, "--device", "cpu"))
    for scan in SCANS:
        names = sorted(path.relative_to(outdir) for path in (outdir / scan).rglob("*.*"))
        assert names == sorted(path.relative_to(two) for path in (two / scan).rglob("*.*"))
        np.testing.assert_array_equal(maps(two / scan), maps(outdir / scan))

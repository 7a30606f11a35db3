"""A rerun makes anew exactly what depends on what has changed: weights, settings, images, cameras, pairs, depth maps.

The scans' views stand in a ring in which each has the next one as its only source. So depth of view 2, say, depends on
views 2 and 3; its label on the same depth maps; its depth after two passes of refinement on those of views 2, 3 and 4.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import FAST, error_line, run_program, succeed, write_checkpoint

from datasets.files import read_json
from datasets.formats.images import read_image, write_image
from datasets.formats.pfm import read_pfm, write_pfm
from datasets.io import read_camera, write_pairs
from datasets.layouts import base
from datasets.results import mapped_views
from datasets.synthetic.scans import write_test_layout

VIEWS = 6
ALL = set(range(VIEWS))
SCANS = {"garden": 3, "house": 4}
CHANGED = 3  # the view whose files are changed
BEFORE = {2, 3}  # the views that see it, as reference or as source


def write_ring(path: Path, sources: dict[int, list[int]] | None = None, score: float = 1.0) -> None:
    """The pair file of the ring, with other sources for some views."""
    pairs = {view: [(view + 1) % VIEWS] for view in range(VIEWS)} | (sources or {})
    write_pairs(path, [(view, [(source, score) for source in listed]) for view, listed in pairs.items()])


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """data/, model.ckpt, and what each program makes of them: predict/, zncc/, test/ (refined, with clouds), labels/ of
    predict/, exact/ (labels)."""
    root = tmp_path_factory.mktemp("made")
    write_test_layout(root / "data", SCANS, 64, 64, VIEWS)
    for scan in SCANS:
        write_ring(root / "data" / scan / "pair.txt")
    write_checkpoint(root / "model.ckpt")
    for name in COMMANDS:
        run(root, name)
    return root


COMMANDS: dict[str, tuple] = {
    "predict": ("tools/predict.py", "--dataset", "general_eval", "--testpath", "data", "--loadckpt", "model.ckpt"),
    "zncc": ("tools/zncc_sweep.py", "--testpath", "data", "--num_view", 2, "--hypotheses", 8),
    "test": ("test.py", "--testpath", "data", "--loadckpt", "model.ckpt", "--refine", 2, "--disp_threshold", 5),
    "labels": ("tools/check_and_encode.py", "--testpath", "predict", "--pairpath", "data", "--thres_view", 1),
    "exact": ("tools/label_exact.py", "--testpath", "data"),
}
NETWORK = ("predict", "test")
PATHS = ("data", "predict", "test", "model.ckpt")


def run(root: Path, name: str, *flags: object) -> str:
    """Run a program in a folder like `made`; returns what it prints."""
    base._read_pairs_once.cache_clear()  # a process of its own would begin without
    base.folder_names.cache_clear()
    program, *given = COMMANDS[name]
    given = [root / word if word in PATHS else word for word in given]
    network = (*FAST, "--num_view", 2) if name in NETWORK else ()
    return succeed(run_program(program, *given, *network, "--outdir", root / name, *flags))


@pytest.fixture
def folder(made, tmp_path) -> Path:
    """A copy of it all, to change."""
    return Path(shutil.copytree(made, tmp_path / "copy"))


def times(root: Path, name: str, kind: str) -> dict[tuple[str, int], int]:
    """When the map of each view was written."""
    return {
        (scan, view): (root / name / scan / kind / f"{view:08d}.pfm").stat().st_mtime_ns
        for scan in SCANS
        for view in mapped_views(root / name / scan / kind)
    }


def anew(root: Path, name: str, *flags: object, kind: str = "depth_est") -> set[int]:
    """The views of the garden whose maps a rerun writes; those of the house, unless all are, must stay."""
    before = times(root, name, kind)
    run(root, name, *flags)
    after = times(root, name, kind)
    changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    garden, house = ({view for scan, view in changed if scan == wanted} for wanted in SCANS)
    assert house in ((ALL,) if garden == ALL and house else (set(),))
    return garden


# ---------------------------------------------------------------- inputs of a prediction


def other_image(scan: Path) -> None:
    path = scan / "images" / f"{CHANGED:08d}.jpg"
    write_image(path, np.random.default_rng(1).integers(0, 255, read_image(path).shape, np.uint8))


def image_of_the_same_content(scan: Path) -> None:
    path = scan / "images" / f"{CHANGED:08d}.jpg"
    path.write_bytes(path.read_bytes())


def replace_in_camera(scan: Path, old: Callable[[list[str]], int], change: Callable[[float], float]) -> None:
    """Change one number of the camera file, the one at a place among its words."""
    path = scan / "cams" / f"{CHANGED:08d}_cam.txt"
    words = path.read_text().split()
    place = old(words)
    words[place] = repr(change(float(words[place])))
    path.write_text(" ".join(words))
    read_camera(path)


def moved_camera(scan: Path) -> None:
    replace_in_camera(scan, lambda words: 4, lambda value: value + 5)


def other_focal_length(scan: Path) -> None:
    replace_in_camera(scan, lambda words: words.index("intrinsic") + 1, lambda value: value * 1.02)


def other_depth_range(scan: Path) -> None:
    replace_in_camera(scan, lambda words: words.index("intrinsic") + 10, lambda value: value * 1.01)


def other_depth_interval(scan: Path) -> None:
    replace_in_camera(scan, lambda words: words.index("intrinsic") + 11, lambda value: value * 1.01)


def camera_of_the_same_numbers(scan: Path) -> None:
    replace_in_camera(scan, lambda words: 4, lambda value: value)


def other_source(scan: Path) -> None:
    write_ring(scan / "pair.txt", {2: [5]})


def further_source(scan: Path) -> None:
    """More than --num_view uses."""
    write_ring(scan / "pair.txt", {2: [3, 5]})


def other_scores(scan: Path) -> None:
    write_ring(scan / "pair.txt", score=2.0)


INPUTS = [
    (other_image, BEFORE),
    (image_of_the_same_content, set()),
    (moved_camera, BEFORE),
    (other_focal_length, BEFORE),
    (other_depth_range, {CHANGED}),
    (other_depth_interval, {CHANGED}),
    (camera_of_the_same_numbers, set()),
    (other_source, {2}),
    (further_source, set()),
    (other_scores, set()),
]


@pytest.mark.parametrize(("change", "expected"), INPUTS)
@pytest.mark.parametrize("name", ["predict", "zncc"])
def test_depth_follows_its_inputs(folder, name, change, expected):
    """And a second run changes nothing."""
    assert anew(folder, name) == set()
    change(folder / "data" / "garden")
    assert anew(folder, name) == expected
    assert anew(folder, name) == set()


@pytest.mark.parametrize(
    "flags",
    [
        ("--num_view", 3),
        ("--numdepth", 96),
        ("--interval_scale", 1),
        ("--max_w", 32),
        ("--ndepths", "16,8,8"),
        ("--depth_inter_r", "2,1,1"),
        ("--read_out", "local"),
        ("--confidence", "last"),
        ("--dataset", "tanks"),
    ],
)
def test_depth_follows_the_settings(folder, flags):
    if flags[0] == "--max_w":
        flags += ("--max_h", 32)
    assert anew(folder, "predict", *flags) == ALL


@pytest.mark.parametrize(
    "flags",
    [("--num_view", 3), ("--numdepth", 96), ("--interval_scale", 1), ("--hypotheses", 9), ("--window", 5),
     ("--best", 1), ("--dataset", "tanks")],
)  # fmt: skip
def test_the_sweep_follows_its_settings(folder, flags):
    assert anew(folder, "zncc", *flags) == ALL


def test_depth_follows_the_weights(folder):
    write_checkpoint(folder / "model.ckpt", seed=2)
    assert anew(folder, "predict") == ALL


def test_a_view_that_is_no_longer_wanted_goes(folder):
    """Of a view that has lost its sources nothing is left but what others need."""
    write_ring(folder / "data" / "garden" / "pair.txt", {CHANGED: []})
    assert anew(folder, "predict") == {CHANGED}
    assert mapped_views(folder / "predict" / "garden" / "depth_est") == sorted(ALL - {CHANGED})


def test_depth_without_a_record_is_made_anew(folder):
    """As earlier versions left it: nobody knows what it was made from."""
    (folder / "predict" / "garden" / "depth_est" / "00000001.json").unlink()
    assert anew(folder, "predict") == {1}


def test_finished_views_are_told_with_their_folder(folder):
    out = run(folder, "predict")
    assert f"{2 * VIEWS} views are finished already in {folder / 'predict'}\n" in out


def test_images_are_read_once(folder, monkeypatch):
    """Size and time tell whether one has changed; content is looked at only where they have."""
    read = []
    monkeypatch.setattr("datasets.records.read_bytes", lambda path: read.append(path) or Path(path).read_bytes())
    image_of_the_same_content(folder / "data" / "garden")
    run(folder, "predict")
    assert {path.name for path in read} == {f"{CHANGED:08d}.jpg"}


# ---------------------------------------------------------------- refinement


def test_refined_depth_follows_the_networks(folder):
    """Two passes reach two views further; what stays is taken again."""
    assert anew(folder, "test") == anew(folder, "test", kind="depth_raw") == set()
    other_image(folder / "data" / "garden")
    before = times(folder, "test", "depth_raw")
    assert anew(folder, "test") == BEFORE | {1, 0}
    after = times(folder, "test", "depth_raw")
    assert {view for (scan, view), time in after.items() if before[scan, view] != time} == BEFORE
    assert not list((folder / "test" / "garden").glob("depth_refined"))
    assert anew(folder, "test") == set()


def test_refined_depth_follows_pairs_confidences_and_passes(folder):
    other_source(folder / "data" / "garden")
    assert anew(folder, "test", "--skip_depth") == {2, 1}  # view 1 takes of what view 2 was after the first pass
    path = folder / "test" / "house" / "confidence_raw" / "00000003.pfm"
    write_pfm(path, 1 - read_pfm(path))
    before = times(folder, "test", "depth_est")
    run(folder, "test", "--skip_depth")
    after = times(folder, "test", "depth_est")
    # To the views that have it as a source, and in the last pass to itself.
    assert {key for key in after if before[key] != after[key]} == {("house", 3), ("house", 2), ("house", 1)}
    assert anew(folder, "test", "--refine", 1) == ALL


def test_without_refinement_the_networks_depth_is_back(folder):
    raw = times(folder, "test", "depth_raw")
    run(folder, "test", "--refine", 0)
    assert times(folder, "test", "depth_est") == raw
    assert {path.name for path in (folder / "test" / "garden").iterdir()} == {
        "depth_est", "confidence", "cams", "images", "prediction.json", "fusion.json"
    }  # fmt: skip


# ---------------------------------------------------------------- clouds


def test_clouds_are_made_of_the_networks_depth(folder):
    """Unless --fuse_depth asks for the refined maps."""
    cloud = folder / "test" / "gipuma_pcd" / "garden.ply"
    with_refinement = cloud.read_bytes()
    run(folder, "test", "--fuse_depth", "refined")
    assert cloud.read_bytes() != with_refinement
    run(folder, "test", "--refine", 0)
    assert cloud.read_bytes() == with_refinement


def test_a_cloud_of_other_settings_is_made_anew(folder):
    """The limit of views is one of them, and the record tells it."""
    cloud, record = folder / "test" / "gipuma_pcd" / "garden.ply", folder / "test" / "garden" / "fusion.json"
    assert read_json(record)["sources"] == 0 and "is there already" in run(folder, "test")
    with_all = cloud.read_bytes()
    assert "garden: the cloud of these depth maps is there already" not in run(folder, "test", "--fusion_sources", 2)
    assert read_json(record)["sources"] == 2 and cloud.read_bytes() != with_all
    assert "garden: the cloud of these depth maps is there already" in run(folder, "test", "--fusion_sources", 2)
    run(folder, "test", "--fusion_sources", 99)
    assert cloud.read_bytes() == with_all


def test_no_cloud_of_other_depth_stays(folder):
    """Where none is fused; that of a scan whose depth stayed is kept."""
    run(folder, "test", "--filter_method", "none")
    clouds = folder / "test" / "gipuma_pcd"
    assert sorted(path.name for path in clouds.iterdir()) == ["garden.ply", "house.ply"]
    other_image(folder / "data" / "garden")
    out = run(folder, "test", "--filter_method", "none")
    assert f"{clouds / 'garden.ply'}: removed" in out
    assert [path.name for path in clouds.iterdir()] == ["house.ply"]


# ---------------------------------------------------------------- labels


def other_depth(scan: Path) -> None:
    path = scan / "depth_est" / f"{CHANGED:08d}.pfm"
    write_pfm(path, read_pfm(path) * np.float32(1.01))


def other_confidence(scan: Path) -> None:
    path = scan / "confidence" / f"{CHANGED:08d}.pfm"
    write_pfm(path, 1 - read_pfm(path))


def depth_of_the_same_content(scan: Path) -> None:
    for path in (scan / "depth_est").iterdir():
        os.utime(path, ns=(0, path.stat().st_mtime_ns + (10**9 if path.suffix == ".pfm" else 0)))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (other_depth, BEFORE),
        (depth_of_the_same_content, set()),
        (other_confidence, {CHANGED}),
        (moved_camera, BEFORE),
        (other_focal_length, BEFORE),
        (other_depth_range, set()),
    ],
)
def test_labels_follow_the_files_of_the_prediction(folder, change, expected):
    assert anew(folder, "labels", kind="checked_depth") == set()
    change(folder / "predict" / "garden")
    assert anew(folder, "labels", kind="checked_depth") == expected
    assert anew(folder, "labels", kind="checked_depth") == set()


@pytest.mark.parametrize(("change", "expected"), [(other_source, {2}), (further_source, {2}), (other_scores, set())])
def test_labels_follow_the_pairs(folder, change, expected):
    change(folder / "data" / "garden")
    assert anew(folder, "labels", kind="checked_depth") == expected


@pytest.mark.parametrize(
    "flags",
    [("--conf", 0.1), ("--reproject_dist", 2), ("--depth_diff", 0.1), ("--thres_view", 0), ("--check", "dynamic")],
)
def test_labels_follow_the_settings(folder, flags):
    record = folder / "labels" / "garden" / "check_and_encode.json"
    before = record.read_bytes()
    assert anew(folder, "labels", *flags, kind="checked_depth") == ALL
    assert record.read_bytes() != before  # by which a training tells its labels


def test_labels_follow_predictions_that_are_made_anew(folder):
    record = folder / "labels" / "garden" / "check_and_encode.json"
    before = record.read_bytes()
    other_image(folder / "data" / "garden")
    run(folder, "predict")
    assert anew(folder, "labels", kind="checked_depth") == BEFORE | {1}
    assert record.read_bytes() != before


def test_labels_follow_refinement(folder):
    flags = ("--testpath", folder / "test")
    run(folder, "labels", *flags)
    run(folder, "test", "--refine", 0)
    assert anew(folder, "labels", *flags, kind="checked_depth") == ALL
    assert anew(folder, "labels", *flags, kind="checked_depth") == set()


def other_truth(scan: Path) -> None:
    path = scan / "gt" / f"{CHANGED:08d}.pfm"
    write_pfm(path, read_pfm(path) * np.float32(1.01))


@pytest.mark.parametrize(
    ("change", "flags", "expected"),
    [
        (other_truth, (), {CHANGED}),
        (other_depth_interval, (), {CHANGED}),
        (other_image, (), set()),
        (other_scores, ("--sigma", 1), ALL),
        (other_scores, ("--spacing", "inverse"), ALL),
        (other_scores, ("--max_w", 32, "--max_h", 32), ALL),
    ],
)
def test_exact_labels_follow_the_truth(folder, change, flags, expected):
    assert anew(folder, "exact", kind="checked_depth") == set()
    change(folder / "data" / "garden")
    assert anew(folder, "exact", *flags, kind="checked_depth") == expected


def test_labels_of_two_kinds_do_not_mix(folder):
    """Exact labels in the folder of others replace them, and are replaced by them."""
    run(folder, "exact", "--outdir", folder / "labels")
    assert anew(folder, "labels", kind="checked_depth") == ALL


# ---------------------------------------------------------------- nothing meets in one name


def test_results_never_replace_what_they_are_made_from(folder):
    program, *given = COMMANDS["predict"]
    given = [folder / word if word in PATHS else word for word in given]
    line = error_line(run_program(program, *given, *FAST, "--outdir", folder / "data"))
    assert "holds the cameras and images of garden itself; name another folder" in line

"""Choosing a checkpoint without ground truth: the score, what --select keeps, that it leaves no trace, the ranking."""

import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import FAST, end_process, error_line, golden_network, run_program, start_ranks, succeed, write_checkpoint

from datasets.formats.images import read_image
from datasets.formats.metrics import read_scalars
from datasets.formats.pfm import read_pfm
from datasets.mvs import Settings
from datasets.synthetic.scans import write_test_layout, write_training_layout
from models.checkpoint import load_model
from tools.evaluation.checkpoints import correlations, rank_correlation
from tools.prediction.predictor import PredictedView
from tools.training.selection import Score, Selection, SelectionRecord, open_selection, score_of, view_sums
from tools.training.step import TrainingStep
from tools.training.trainer import Trainer

CPU = torch.device("cpu")
SIZE = (160, 128)
BEST = "model_best.ckpt"


# ---------------------------------------------------------------- the score


@pytest.fixture(scope="module")
def garden(tmp_path_factory) -> Path:
    """A scan of 6 views of 160x128 in the test layout, with exact depth."""
    root = tmp_path_factory.mktemp("garden")
    write_test_layout(root, {"garden": 3}, *SIZE)
    return root / "garden"


@pytest.fixture(scope="module")
def held_out(garden) -> Selection:
    """The scan as --select opens it."""
    return open_selection("general_eval", str(garden.parent), "all", Settings(views=5), 3, "off", CPU)


def scored(held_out: Selection, garden: Path, change) -> Score:
    """The score of a network whose depth maps are `change(exact depth, view)`."""
    views = {}
    for view in range(6):
        camera = held_out.layout.camera("garden", view)
        exact = read_pfm(garden / "gt" / f"{view:08d}.pfm")
        depth = np.asarray(change(exact, view), np.float32)
        image = read_image(garden / "images" / f"{view:08d}.jpg")
        views[view] = PredictedView(view, image, camera, depth, [])
    return score_of(sum(held_out.scan_sums("garden", views)))


def test_exact_depth_scores_highest(held_out, garden):
    """More noise is a lower score, down to nothing; the exact depth's colours are far nearer than a plane's."""
    rng = np.random.default_rng(1)
    scores = [
        scored(held_out, garden, lambda depth, _, noise=noise: depth + rng.normal(0, noise, depth.shape))
        for noise in (0, 1, 2, 4, 50)
    ]
    assert [score.score for score in scores] == sorted((score.score for score in scores), reverse=True)
    assert scores[0].survived > 0.6 and scores[0].residual < 0.4 * scores[0].flat
    assert scores[-1].score < 0.1


@pytest.mark.parametrize("depth", [430, 520, 600, 680, 900])
def test_smooth_wrong_depth_does_not_win(held_out, garden, depth):
    """One plane in the world, seen by every camera: more of it survives the check than of exact depth, which sees
    occlusions, but it explains little; noisy depth scores higher."""
    normal = held_out.layout.camera("garden", 0).cam_T_world[2]  # the first view's optical axis

    def plane(exact: np.ndarray, view: int) -> np.ndarray:
        camera = held_out.layout.camera("garden", view)
        y, x = np.mgrid[: exact.shape[0], : exact.shape[1]]
        world_T_cam = np.linalg.inv(camera.cam_T_world)
        rays = np.stack([x, y, np.ones_like(x)], -1) @ np.linalg.inv(camera.K).T @ world_T_cam[:3, :3].T
        centre = normal[:3] @ world_T_cam[:3, 3] + normal[3]
        return np.maximum((depth - centre) / (rays @ normal[:3]), 1)

    rng = np.random.default_rng(1)
    exact, flat = scored(held_out, garden, lambda depth, _: depth), scored(held_out, garden, plane)
    noisy = scored(held_out, garden, lambda depth, _: depth + rng.normal(0, 2, depth.shape))
    assert flat.survived > 0.4
    assert flat.score < 0.3 * exact.score and flat.score < 0.5 * noisy.score


def test_depth_that_is_not_one_is_no_survivor(held_out, garden):
    """0, NaN and infinity everywhere: the lowest score, and no number that is not finite."""
    for bad in (0, np.nan, np.inf):
        score = scored(held_out, garden, lambda depth, _, bad=bad: np.full_like(depth, bad))
        assert score == Score(0, 1, 1, 0)


def test_fewer_sources_than_asked_for(held_out, garden):
    """Then all of them must confirm: two views can be scored."""
    views = []
    for view in range(2):
        depth = read_pfm(garden / "gt" / f"{view:08d}.pfm")
        image = read_image(garden / "images" / f"{view:08d}.jpg")
        views.append(PredictedView(view, image, held_out.layout.camera("garden", view), depth, []))
    pixels, survivors, *_ = view_sums(views[0], views[1:], (425, 900), thres_view=7)
    assert pixels == SIZE[0] * SIZE[1] and survivors > 0.3 * pixels


def test_ground_truth_is_not_needed(garden, held_out, tmp_path):
    """Without gt/ the score is the same, in either layout some light is enough."""
    bare = tmp_path / "bare" / "garden"
    shutil.copytree(garden, bare, ignore=shutil.ignore_patterns("gt"))
    network = golden_network("teacher", 61, ndepths=(8, 8, 8))
    without = open_selection("general_eval", str(bare.parent), "all", Settings(views=3), 3, "off", CPU)
    there = open_selection("general_eval", str(garden.parent), "all", Settings(views=3), 3, "off", CPU)
    assert without.score(network) == there.score(network)
    write_training_layout(tmp_path / "dtu", {"scan1": 1}, 64, 32, 3, lights=(2,))
    shutil.rmtree(tmp_path / "dtu" / "Depths_raw")
    dtu = open_selection("dtu_yao", str(tmp_path / "dtu"), "all", Settings(views=3), 1, "off", CPU)
    assert np.isfinite(dtu.score(network)).all()


def test_record():
    """The best is the first of the highest; other settings start a record anew."""
    record = SelectionRecord("a")
    assert [record.add(Score(0, 1, 1, value), i, i) for i, value in enumerate((0.1, 0.3, 0.2, 0.3))] == [1, 1, 0, 0]
    content = record.extra()["selection"]
    assert SelectionRecord.restored(content, "a").scores == record.scores
    assert SelectionRecord.restored(content, "").extra() == record.extra()  # a training without --select hands it on
    assert SelectionRecord.restored(content, "b").scores == [] and SelectionRecord("b").extra() == {}


# ---------------------------------------------------------------- trainings


@pytest.fixture(scope="module")
def flags(tmp_path_factory) -> list[object]:
    """Flags of a training of 3 epochs of 4 steps on views of 64x32, with random colours."""
    root = tmp_path_factory.mktemp("select")
    write_training_layout(root, {"scan1": 1, "scan2": 2}, 64, 32, 4, lights=(3,))
    shutil.rmtree(root / "Depths_raw")
    (root / "train.txt").write_text("scan1\n")
    (root / "held_out.txt").write_text("scan2\n")
    paths = ("--trainpath", root, "--trainlist", root / "train.txt")
    return ["train_unsup.py", *paths, "--nviews", 3, "--epochs", 3, "--augment", *FAST]


@pytest.fixture(scope="module")
def select(flags) -> list[object]:
    """The flags that choose the best epoch; one source suffices, so that an untrained network has survivors."""
    return ["--select", "--selectlist", Path(flags[2]) / "held_out.txt", "--select_thres_view", 1]


@pytest.fixture(scope="module")
def whole(flags, select, tmp_path_factory) -> Path:
    """Log folder of a training with --select from the first step to the last."""
    log = tmp_path_factory.mktemp("whole")
    succeed(run_program(*flags, *select, "--logdir", log))
    return log


def read(path: Path) -> dict:
    """A checkpoint's content."""
    return torch.load(path, weights_only=True)


def same(a: object, b: object) -> bool:
    """Equality of nested content, to the last bit."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


def test_the_training_is_the_same_without(flags, whole, tmp_path):
    """Weights, statistics, optimizer and random states of every epoch; only the scores come on top."""
    succeed(run_program(*flags, "--logdir", tmp_path))
    for epoch in range(3):
        with_scores, without = (read(log / f"model_{epoch:06d}.ckpt") for log in (whole, tmp_path))
        assert len(with_scores.pop("selection")["scores"]) == epoch + 1
        assert same(with_scores, without)
    assert not (tmp_path / BEST).exists()


def test_what_is_kept_and_logged(flags, select, tmp_path, whole):
    """model_best.ckpt is the best epoch's own file; every score is printed, in the event file and training.json."""
    scores = json.loads((whole / "training.json").read_text())["selection"]["scores"]
    assert [(score["epoch"], score["step"]) for score in scores] == [(0, 4), (1, 8), (2, 12)]
    best = max(scores, key=lambda score: score["score"])
    assert (whole / BEST).read_bytes() == (whole / f"model_{best['epoch']:06d}.ckpt").read_bytes()
    (events,) = whole.glob("events*")
    for name in Score._fields:
        assert f"select/{name}".encode() in events.read_bytes()
    assert read(whole / BEST)["network"]["ndepths"] == [8, 8, 8]
    logged = read_scalars(whole)["select/score"]
    np.testing.assert_array_equal(logged, [[score["step"], score["score"]] for score in scores])


def test_the_best_is_not_pruned(flags, select, tmp_path, monkeypatch):
    """--keep 1 leaves the newest and the best; here the second of three. Resuming goes on from the newest."""
    values = iter((0.1, 0.3, 0.2))
    monkeypatch.setattr(Selection, "score", lambda *_: Score(0.5, 0.1, 0.2, next(values)))
    out = succeed(run_program(*flags, *select, "--logdir", tmp_path, "--keep", 1))
    assert sorted(path.name for path in tmp_path.glob("*.ckpt")) == ["model_000002.ckpt", BEST]
    assert read(tmp_path / BEST)["epoch"] == 1
    assert "epoch 2, without ground truth: 50.0% survive" in out and out.count("best so far") == 2
    out = succeed(run_program(*flags, *select, "--logdir", tmp_path, "--resume", "--epochs", 3))
    assert f"resumed from {tmp_path / 'model_000002.ckpt'}" in out


@pytest.mark.parametrize("where", [(TrainingStep, "__call__"), (Trainer, "select")], ids=["step", "select"])
def test_the_best_survives_a_restart(flags, select, whole, tmp_path, monkeypatch, where):
    """A signal comes in the second epoch, or while it is scored: every checkpoint has the very bytes in the end."""
    steps = {TrainingStep: 6, Trainer: 8}
    original = getattr(*where)

    def signalled(self: Trainer | TrainingStep, *arguments: object) -> object:
        if self.state.step == steps[type(self)]:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, *arguments)

    monkeypatch.setattr(*where, signalled)
    assert run_program(*flags, *select, "--logdir", tmp_path).returncode == 128 + signal.SIGTERM
    monkeypatch.undo()
    stopped = read(max(tmp_path.glob("model_0*.ckpt")))
    assert stopped["step"] in (7, 8) and len(stopped["selection"]["scores"]) == 1
    succeed(run_program(*flags, *select, "--logdir", tmp_path, "--resume"))
    assert {path.name for path in tmp_path.glob("*.ckpt")} == {path.name for path in whole.glob("*.ckpt")}
    for path in whole.glob("*.ckpt"):
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name


def test_held_out_scans_are_needed(flags, tmp_path):
    """--select alone says what is missing."""
    line = error_line(run_program(*flags, "--select", "--logdir", tmp_path))
    assert "--select needs held-out scans; name them with --selectlist" in line


def test_two_processes_decide_alike(quick_python, flags, tmp_path):
    """Each scores one of two scans, both with the network that is saved: its score is the one it gets by itself."""
    select = ("--select", "--selectlist", "all", "--select_thres_view", 1, "--logdir", tmp_path, "--epochs", 1)
    for rank in start_ranks(quick_python, 2, *flags, *select):
        succeed(end_process(rank))
    (noted,) = read(tmp_path / BEST)["selection"]["scores"]
    settings = Settings(3, interval_scale=1.06, max_size=(640, 512))
    alone = open_selection("dtu_yao", flags[2], "all", settings, 1, "off", CPU)
    score = alone.score(load_model(tmp_path / BEST))
    assert score == pytest.approx([noted[name] for name in Score._fields], rel=1e-6)


# ---------------------------------------------------------------- ranking


def test_rank_correlation():
    """Spearman's: of order alone, ties in the middle, nothing to say of constants."""
    assert rank_correlation([1, 2, 3, 100], [8, 6, 5, 1]) == pytest.approx(-1)
    assert rank_correlation([1, 2, 3, 4], [1, 3, 2, 4]) == pytest.approx(0.8)
    assert rank_correlation([1, 1, 2], [5, 5, 9]) == pytest.approx(1)
    assert rank_correlation([1, 1, 1], [1, 2, 3]) is None and rank_correlation([1, 2], [1, 2]) is None
    rows = [{"score": s, "survived": s, "residual": -s, "mean": -s} for s in (1, 2, 3)]
    assert correlations(rows, ["mean"])["score"]["mean"] == pytest.approx(-1)


def test_rank_checkpoints(garden, tmp_path):
    """A row for every epoch's checkpoint, errors as tools/eval_depth.py computes them, and the correlations."""
    for epoch in range(3):
        write_checkpoint(tmp_path / f"model_{epoch:06d}.ckpt", "teacher", seed=epoch)
    shutil.copyfile(tmp_path / "model_000000.ckpt", tmp_path / BEST)
    small = (*FAST, "--num_view", 3, "--amp", "off")
    paths = ("--testpath", garden.parent, "--logdir", tmp_path, "--out", tmp_path / "ranking.json")
    out = succeed(run_program("tools/rank_checkpoints.py", *paths, *small))
    ranking = json.loads((tmp_path / "ranking.json").read_text())
    assert sorted(Path(name).name for name in ranking["checkpoints"]) == [f"model_00000{n}.ckpt" for n in range(3)]
    assert set(ranking["rank_correlation"]["score"]) == {"mean", "median", "off_by_2"}
    assert "rank correlation over 3 checkpoints" in out

    predicted = ("--testpath", garden.parent, "--dataset", "general_eval", "--outdir", tmp_path / "out")
    succeed(run_program("tools/predict.py", *predicted, *small, "--loadckpt", tmp_path / "model_000001.ckpt"))
    compared = ("--testpath", garden.parent, "--predictions", tmp_path / "out", "--out", tmp_path / "errors.json")
    succeed(run_program("tools/eval_depth.py", *compared))
    expected = json.loads((tmp_path / "errors.json").read_text())["out"]
    row = ranking["checkpoints"][str(tmp_path / "model_000001.ckpt")]
    assert row["mean"] == pytest.approx(expected["mean"]) and row["median"] == pytest.approx(expected["median"])
    assert row["off_by_2"] == pytest.approx(1 - expected["within_2"])


def test_rank_checkpoints_mistakes(garden, tmp_path):
    """A folder without checkpoints, and scans without ground truth."""
    program = ("tools/rank_checkpoints.py", *FAST, "--num_view", 3, "--logdir", tmp_path)
    assert "holds no model_*.ckpt" in error_line(run_program(*program, "--testpath", garden.parent))
    write_checkpoint(tmp_path / "model_000000.ckpt", "student")
    write_test_layout(tmp_path / "data", {"bare": 3}, 64, 32, 3)
    shutil.rmtree(tmp_path / "data" / "bare" / "gt")
    assert "no ground truth to compare with" in error_line(run_program(*program, "--testpath", tmp_path / "data"))

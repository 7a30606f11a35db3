"""The training loop: learning rate, checkpoints, resuming, evaluation, and losses that are not finite."""

import copy
import itertools
import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from helpers import (
    FAST,
    error_line,
    golden_network,
    run_process,
    run_program,
    succeed,
    write_checkpoint,
    write_exact_labels,
)

from datasets.files import DataError, write_json
from datasets.results import LABEL_RECORD, LabelFiles
from datasets.synthetic.scans import write_scan_list, write_training_layout
from models.checkpoint import load_model
from models.losses import DistillationLoss, UnsupervisedLoss
from tools.training.flags import read_data, read_settings, training_parser
from tools.training.schedule import learning_rate_factor, parse_milestones
from tools.training.settings import (
    STUDENT_LOSSES,
    TEACHER_LOSSES,
    Saving,
    StudentSettings,
    TeacherSettings,
    TrainingData,
)
from tools.training.setup import build_network, open_training_sets
from tools.training.step import Losses
from tools.training.trainer import Trainer

VIEWS = 4
MODEL = "model_000000.ckpt"


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    """One scan of 4 views of 64x64 with ground truth, and labels made from it."""
    root = tmp_path_factory.mktemp("training")
    write_training_layout(root, {"scan1": 1}, 64, 64, VIEWS, lights=(3,))
    write_scan_list(root / "scans.txt", ["scan1"])
    write_exact_labels(root, "scan1", VIEWS)
    return root


@pytest.fixture
def flags(data, tmp_path) -> list:
    """Flags of a tiny training of 2 steps."""
    paths = ["--trainpath", data, "--trainlist", data / "scans.txt", "--logdir", tmp_path / "log"]
    return [*paths, *FAST, "--nviews", "3", "--max_steps", "2", "--summary_freq", "1"]


# ---------------------------------------------------------------- learning rate


def test_learning_rate():
    """Linear warm-up from a third over 500 steps, then halved at every milestone epoch."""

    def factor(step: int) -> float:
        return learning_rate_factor(step, 1000, 500, [2, 4], 2.0)

    assert factor(0) == pytest.approx(1 / 3)
    assert factor(250) == pytest.approx(2 / 3)
    assert [factor(step) for step in (500, 1999, 2000, 3999, 4000, 10**6)] == [1, 1, 0.5, 0.5, 0.25, 0.25]
    assert learning_rate_factor(0, 10, 0, [], 2.0) == 1
    assert [learning_rate_factor(step, 1000, 0, [0.5], 2.0) for step in (499, 500)] == [1, 0.5]


def test_milestone_inside_the_warm_up():
    """Both factors count."""
    assert learning_rate_factor(100, 10, 200, [5], 4.0) == pytest.approx((1 / 3 + 1 / 3) / 4)


def test_milestones():
    """The official flag: epochs and a divisor."""
    assert parse_milestones("6,8,12:2") == ([6, 8, 12], 2.0)
    assert parse_milestones("12,4.5:1.5") == ([4.5, 12], 1.5)


@pytest.mark.parametrize("text", ["", "6,8", "6,8:", ":2", "six:2", "6:2:3", "nan:2", "inf:2", "6:0", "6:-2", "6:nan"])
def test_mistyped_milestones(text):
    """Anything else names the flag."""
    with pytest.raises(DataError, match=r"--lrepochs .*: write epochs and a divisor"):
        parse_milestones(text)


# ---------------------------------------------------------------- whole trainings


def test_train_teacher_as_a_process(flags, tmp_path):
    """Two steps leave a checkpoint in the official format, an event file and a summary."""
    out = succeed(run_process("train_unsup.py", *flags))
    log = tmp_path / "log"
    assert "trained 2 steps" in out
    content = torch.load(log / MODEL, weights_only=True)
    assert content["epoch"] == 0 and content["optimizer"]["state"] and load_model(log / MODEL).kind == "teacher"
    (events,) = log.glob("events.out.tfevents.*")
    for name in (b"train/total", b"train/ssim", b"train/lr", b"train/depth"):
        assert name in events.read_bytes()
    summary = json.loads((log / "training.json").read_text())
    assert summary["steps"] == 2 and summary["seconds_per_step"] > 0
    assert json.loads((log / "flags.json").read_text())["max_steps"] == "2"


def test_resume_goes_on(flags, tmp_path):
    """With --resume training goes on inside the epoch, and ends when the steps are made."""
    log = tmp_path / "log"
    succeed(run_program("train_unsup.py", *flags))
    out = succeed(run_program("train_unsup.py", *flags, "--max_steps", 3, "--epochs", 5, "--resume"))
    assert f"resumed from {log / MODEL}" in out and "trained 3 steps" in out
    content = torch.load(log / MODEL, weights_only=True)
    assert content["epoch"] == 0 and content["step"] == content["samples"] == 3
    assert next(iter(content["optimizer"]["state"].values()))["step"] == 3
    nothing_left = succeed(run_program("train_unsup.py", *flags, "--max_steps", 3, "--epochs", 5, "--resume"))
    assert "trained" not in nothing_left


def test_without_resume_training_starts_anew(flags, tmp_path):
    """The same seed and data give the same weights again."""
    log = tmp_path / "log"
    succeed(run_program("train_unsup.py", *flags))
    first = torch.load(log / MODEL, weights_only=True)["model"]
    succeed(run_program("train_unsup.py", *flags))
    second = torch.load(log / MODEL, weights_only=True)["model"]
    assert all(torch.equal(second[key], value) for key, value in first.items())


@pytest.mark.parametrize("loss", ["official", "paper"])
def test_train_student_with_labels(flags, data, tmp_path, loss):
    """The student learns from labels with either loss, and --augment does no harm."""
    labels = ("--pseudopath", data / "labels", "--loss", loss, "--augment")
    succeed(run_program("train_kd.py", *flags, *labels, "--testlist", data / "scans.txt"))
    log = tmp_path / "log"
    assert load_model(log / MODEL).kind == "student"
    (events,) = log.glob("events.out.tfevents.*")
    for name in (b"train/kl", b"train/depth_loss", b"train/label", b"test/abs_depth_error"):
        assert name in events.read_bytes()


def test_student_is_not_resumed_with_other_labels(flags, data, tmp_path):
    """Labels of the next round need a training of their own."""
    labels = Path(shutil.copytree(data / "labels", tmp_path / "labels"))
    succeed(run_program("train_kd.py", *flags, "--pseudopath", labels))
    (labels / "scan1" / LABEL_RECORD).write_text('{"round": 2}')
    line = error_line(run_program("train_kd.py", *flags, "--pseudopath", labels, "--resume", "--max_steps", 4))
    assert f"{MODEL}: was trained on other labels" in line


def test_a_student_is_told_of_few_labels(flags, data, tmp_path):
    """Where the records beside the labels tell of less than a twentieth of the pixels, their mean."""
    labels = Path(shutil.copytree(data / "labels", tmp_path / "labels"))
    told = []
    for shares in ((0.5, 0.5, 0.5, 0.5), (0.01, 0.02, 0.03, 0.02)):
        for view, share in enumerate(shares):
            write_json(LabelFiles(labels / "scan1", view).record, {"kept": share})
        result = run_program("train_kd.py", *flags, "--pseudopath", labels, "--max_steps", 1)
        succeed(result)
        told.append("warning: only 2.00% of the pixels are labelled" in result.stderr)
    assert told == [False, True]


@pytest.mark.parametrize(
    "flag", [("--grad_method", "undetach"), ("--share_cr",), ("--amp", "bf16"), ("--batch_size", 2)]
)
def test_other_settings_train(flags, tmp_path, flag):
    """Settings that change the network, its precision or the batch."""
    succeed(run_program("train_unsup.py", *flags, *flag, "--loss", "per_pixel", "--max_steps", 1))
    weights = torch.load(tmp_path / "log" / MODEL, weights_only=True)["model"]
    assert all(value.isfinite().all() for value in weights.values())


def test_max_minutes_ends_a_training(flags, tmp_path):
    """In the middle of an epoch, with a checkpoint."""
    succeed(run_program("train_unsup.py", *flags, "--max_steps", 0, "--epochs", 1000, "--max_minutes", 0.01))
    assert len(list((tmp_path / "log").glob("*.ckpt"))) >= 1


def test_loadckpt_gives_the_start(flags, tmp_path):
    """Weights of another run, with a learning rate of zero, come out as they went in."""
    checkpoint = write_checkpoint(tmp_path / "start.ckpt", "teacher")
    succeed(run_program("train_unsup.py", *flags, "--loadckpt", checkpoint, "--lr", 0))
    weights = torch.load(tmp_path / "log" / MODEL, weights_only=True)["model"]
    for name, value in golden_network("teacher", 61).named_parameters():
        torch.testing.assert_close(weights[name], value.detach(), rtol=0, atol=0)


def test_either_kind_is_a_start(flags, data, tmp_path):
    """A teacher goes on from a student and is resumed, and a student from that teacher; features stay the same."""
    start = write_checkpoint(tmp_path / "start.ckpt", "student")
    still = ("--lr", 0, "--wd", 0)
    succeed(run_program("train_unsup.py", *flags, "--loadckpt", start, *still))
    succeed(run_program("train_unsup.py", *flags, "--loadckpt", start, *still, "--resume", "--max_steps", 3))
    teacher = tmp_path / "log" / MODEL
    assert load_model(teacher).kind == "teacher"
    student = ("--pseudopath", data / "labels", "--loadckpt", teacher, "--logdir", tmp_path / "kd")
    succeed(run_program("train_kd.py", *flags, *student, *still))
    weights = torch.load(tmp_path / "kd" / MODEL, weights_only=True)["model"]
    for name, value in golden_network("student", 61).named_parameters():
        assert torch.equal(weights[name], value.detach()), name


# ---------------------------------------------------------------- evaluation


def test_evaluation_prints_metrics_and_trains_nothing(flags, data, tmp_path):
    """--mode test: mean error and the share above each threshold."""
    checkpoint = write_checkpoint(tmp_path / "start.ckpt", "teacher")
    out = succeed(
        run_program(
            "train_unsup.py", *flags, "--mode", "test", "--testlist", data / "scans.txt", "--loadckpt", checkpoint
        )
    )
    (line,) = [line for line in out.splitlines() if line.startswith("evaluation: ")]
    words = line.replace(",", "").split()
    assert 0 < float(words[words.index("error") + 1]) < 500 and "> 2 mm" in line and "> 20 mm" in line
    assert not list((tmp_path / "log").glob("*.ckpt")) and not list((tmp_path / "log").glob("events*"))


@pytest.mark.parametrize("mode", ["test", "profile"])
def test_a_look_at_a_training_leaves_its_record(flags, data, tmp_path, mode):
    """--mode test and --mode profile with other flags: every file of the training stays as it was."""
    log = tmp_path / "log"
    succeed(run_program("train_unsup.py", *flags, "--lr", 0.002))
    before = {path.name: path.read_bytes() for path in log.iterdir()}
    look = ("--mode", mode, "--testlist", data / "scans.txt", "--loadckpt", log / MODEL)
    succeed(run_program("train_unsup.py", *flags, *look))
    assert {path.name: path.read_bytes() for path in log.iterdir()} == before
    assert json.loads(before["flags.json"])["lr"] == "0.002"


def test_evaluation_needs_scans(flags):
    """--mode test without --testlist says what is missing."""
    assert "--mode test needs --testlist" in error_line(run_program("train_unsup.py", *flags, "--mode", "test"))


# ---------------------------------------------------------------- losses that are not finite


@pytest.fixture
def poisoned(tmp_path) -> Path:
    """A teacher's checkpoint of finite weights so large that its outputs are not numbers."""
    path = write_checkpoint(tmp_path / "poisoned.ckpt", "teacher")
    content = torch.load(path, weights_only=True)
    for value in content["model"].values():
        if value.is_floating_point():
            value.fill_(1e30)
    torch.save(content, path)
    return path


def test_training_stops_with_an_account(flags, poisoned, tmp_path):
    """A few non-finite losses in a row end the training: every term, the sample, what to do, and no checkpoint."""
    result = run_program(
        "train_unsup.py", *flags, "--loadckpt", poisoned, "--max_bad_steps", 2, "--max_steps", 9, "--epochs", 9
    )
    line = error_line(result)
    assert (
        "step 2: a loss or gradient is not finite; here scan1 view " in line and "2 steps in a row: lower --lr" in line
    )
    for term in ("total nan", "recon nan", "ssim ", "smooth nan", "photo nan", "feature nan"):
        assert term in line
    assert "rank 0: step 1: a loss or gradient is not finite" in result.stdout
    assert not list((tmp_path / "log").glob("*.ckpt"))


def test_absurd_learning_rate_stops_too(flags, tmp_path):
    """As a process of its own: exit status, one line, no trace."""
    steps = ("--max_bad_steps", 2, "--max_steps", 9, "--epochs", 9)
    line = error_line(run_process("train_unsup.py", *flags, "--lr", 1e30, *steps))
    assert "a loss or gradient is not finite" in line
    assert not list((tmp_path / "log").glob("*.ckpt"))


def small_trainer(flags: list, compute_losses: Losses) -> Trainer:
    """A teacher's trainer of these flags with another loss."""
    args = training_parser("", TeacherSettings).parse_args([str(flag) for flag in flags])
    settings = read_settings(args, TeacherSettings)
    train_set, _ = open_training_sets(read_data(args), settings.inputs)
    torch.manual_seed(1)
    network = build_network("teacher", settings.network, settings.saving)
    return Trainer(settings, network, compute_losses, train_set, None, torch.device("cpu"))


def test_a_single_bad_step_is_skipped(flags):
    """Neither weights nor optimizer nor BatchNorm's statistics move, and training goes on with the next step."""
    factors = iter([math.nan, 1.0])

    def compute_losses(outputs, batch):
        return {"total": outputs["depth"].mean() * next(factors)}

    trainer = small_trainer(flags, compute_losses)
    before = copy.deepcopy(trainer.network.state_dict())

    def unchanged() -> bool:
        return all(torch.equal(before[name], value) for name, value in trainer.network.state_dict().items())

    trainer.model.train()
    batch = next(iter(trainer.train_loader))
    trainer.train_step(batch)
    assert trainer.state.bad_steps == 1 and not trainer.state.optimizer.state
    assert unchanged()
    trainer.train_step(batch)
    assert trainer.state.bad_steps == 0 and trainer.state.step == 2
    assert not unchanged()
    trainer.log.close()


def fp16_trainer(flags: list, factors: Iterator[float]) -> Trainer:
    """One whose loss is finite and whose gradient is multiplied by the next factor at each step."""

    def compute_losses(outputs, batch):
        total, factor = outputs["depth"].mean(), next(factors)
        total.register_hook(lambda gradient: gradient * factor)
        return {"total": total}

    # The scale as it is with enough steps behind it, in float32, which every CPU computes: the rule is the same.
    trainer = small_trainer([*flags, "--max_bad_steps", 2], compute_losses)
    trainer.state.scaler = torch.amp.GradScaler("cpu")
    trainer.model.train()
    return trainer


def test_the_search_for_a_loss_scale_ends_no_training(flags):
    """fp16: 15 overflows in a row, each halves the scale; then a sound step. All are counted; the limit is 2."""
    trainer = fp16_trainer(flags, iter([math.inf] * 15 + [1.0]))
    batch = next(iter(trainer.train_loader))
    before = copy.deepcopy(trainer.network.state_dict())
    for _ in range(15):
        trainer.train_step(batch)
    state = trainer.state
    assert (state.bad_steps, state.all_bad_steps) == (0, 15) and state.scaler.get_scale() == 2
    assert all(torch.equal(before[name], value) for name, value in trainer.network.state_dict().items())
    trainer.train_step(batch)
    assert state.all_bad_steps == 15 and state.optimizer.state and state.scaler.get_scale() == 2
    trainer.log.close()


def test_gradients_that_no_scale_mends_end_the_training(flags):
    """fp16: at a scale of 1 they are bad steps as any other, and the scale stays there."""
    trainer = fp16_trainer(flags, itertools.repeat(math.nan))
    batch = next(iter(trainer.train_loader))
    with pytest.raises(DataError, match=r"step 18: a loss or gradient is not finite.* 2 steps in a row: lower --lr"):
        for _ in range(40):
            trainer.train_step(batch)
    assert trainer.state.all_bad_steps == 18 and trainer.state.scaler.get_scale() == 1
    trainer.log.close()


def test_after_a_share_of_the_steps_batch_norm_is_as_in_prediction(flags):
    """Half of two steps: its running statistics are those of one step, and the weights go on learning."""
    log = Path(flags[flags.index("--logdir") + 1])
    succeed(run_program("train_unsup.py", *flags, "--max_steps", 1))
    before = torch.load(log / MODEL, weights_only=True)["model"]
    shutil.rmtree(log)
    succeed(run_program("train_unsup.py", *flags, "--freeze_bn", 0.5))
    after = torch.load(log / MODEL, weights_only=True)["model"]
    same = {name for name in before if torch.equal(before[name], after[name])}
    statistics = {
        name for name in before if name.rsplit(".")[-1] in ("running_mean", "running_var", "num_batches_tracked")
    }
    assert statistics and same == statistics


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (("--ndepths", "48,32"), "--ndepths 48,32: needs three multiples of 8"),
        (("--ndepths", "48,32,7"), "--ndepths 48,32,7: needs three multiples of 8"),
        (("--depth_inter_r", "4,1,0"), "--depth_inter_r 4.0,1.0,0.0: needs three positive numbers"),
        (("--interval_scale", "0"), "--interval_scale 0.0: must be positive"),
        (("--dlossw", "1,1"), "need three numbers, one per stage"),
        (("--freeze_bn", "nan"), "--freeze_bn nan: must be a share of the training's steps, from 0 to 1"),
        (("--cr_base_chs", "8"), "need three numbers, one per stage"),
        (("--lrepochs", "soon"), "--lrepochs soon: write epochs and a divisor"),
        (("--nviews", "1"), "1 views are too few"),
        (("--numdepth", "1"), "--numdepth 1: a range needs at least two"),
        (("--lr", "-1"), "--lr -1: must be a number from 0 on"),
        (("--wd", "nan"), "--wd nan: must be a number from 0 on"),
        (("--device", "tpu!"), "--device tpu!: use auto, cpu, cuda, cuda:N, mps or xpu"),
        (("--trainlist", "nowhere.txt"), "nowhere.txt: no such file"),
        (("--trainpath", "nowhere"), "nowhere: no such folder"),
        (("--loadckpt", "nowhere.ckpt"), "nowhere.ckpt: no such checkpoint"),
        (("--share_cr", "--cr_base_chs", "8,8,4"), "--share_cr needs the same number of --cr_base_chs"),
    ],
)
def test_mistaken_flags(flags, mistake, message):
    """Each is named in one line."""
    assert message in error_line(run_program("train_unsup.py", *flags, *mistake))


def test_student_needs_its_labels(flags, data, tmp_path):
    """A folder that is missing, one without labels."""
    line = error_line(run_program("train_kd.py", *flags, "--pseudopath", tmp_path / "nowhere"))
    assert "nowhere: no such folder; make labels with" in line
    (tmp_path / "empty").mkdir()
    line = error_line(run_program("train_kd.py", *flags, "--pseudopath", tmp_path / "empty"))
    assert "checked_depth/00000000.pfm: this pseudo-label is missing" in line


def test_full_disk_leaves_no_checkpoint(flags, tmp_path):
    """A checkpoint that does not fit is named, and nothing of it stays."""
    line = error_line(run_process("train_unsup.py", *flags, "--max_steps", 1, file_limit=2000))
    assert f"{MODEL}: cannot be written: File too large" in line
    assert {path.suffix for path in (tmp_path / "log").iterdir()} <= {".json", ".jsonl"} | {
        path.suffix for path in (tmp_path / "log").glob("events*")
    }


LIGHT = """
import runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    print("torch" in sys.modules, "numba" in sys.modules, file=sys.stderr)
"""


@pytest.mark.parametrize("program", ["train_unsup.py", "train_kd.py"])
def test_help_does_not_load_torch(program):
    """Nor do flags that cannot work."""
    assert run_process("-c", LIGHT, program, "--help").stderr == "False False\n"
    mistaken = ("--trainpath", ".", "--trainlist", "all", "--logdir", ".", "--pseudopath", ".", "--lr", -1)
    result = run_process("-c", LIGHT, program, *mistaken[: 8 if program == "train_kd.py" else 6], *mistaken[8:])
    assert "--lr -1: must be a number from 0 on" in result.stderr and "False False" in result.stderr


@pytest.mark.parametrize("kind", [TeacherSettings, StudentSettings])
def test_flags_have_the_defaults_of_the_settings(kind, tmp_path):
    """Without flags a program's settings are the dataclass's own."""
    parser = training_parser("", kind)
    args = parser.parse_args(["--trainpath", "data", "--trainlist", "all", "--logdir", str(tmp_path)])
    settings = read_settings(args, kind)
    assert settings == kind(Saving(tmp_path)) and read_data(args) == TrainingData("data")


def test_losses_are_named_where_torch_is_not_loaded():
    assert tuple(UnsupervisedLoss.SMOOTH_WEIGHTS) == TEACHER_LOSSES and DistillationLoss.VARIANTS == STUDENT_LOSSES


def test_help_is_a_manual():
    """Official names, units and every default."""
    for program in ("train_unsup.py", "train_kd.py"):
        text = " ".join(succeed(run_program(program, "--help")).split())
        for part in ("torchrun", "--dlossw", "--lrepochs", "(default: 0.001)", "pixels (default: 640)"):
            assert part in text

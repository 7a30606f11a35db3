"""Every program on data so small that a run takes a second or two: what it is called with, and what it leaves."""

from pathlib import Path

from helpers import FAST, run_program, succeed, write_checkpoint

from datasets.files import read_json
from datasets.formats.images import read_image
from datasets.formats.pfm import read_pfm
from datasets.formats.ply import read_ply
from datasets.io import read_camera
from datasets.synthetic.scans import write_test_layout, write_training_layout
from models.checkpoint import read_checkpoint

READERS = {
    ".pfm": read_pfm,
    ".png": read_image,
    ".jpg": read_image,
    ".json": read_json,
    ".ckpt": read_checkpoint,
    ".ply": read_ply,
    ".txt": read_camera,
}
# Files about the run, not its result: flags with the folder's name, and the time that steps took.
ABOUT_THE_RUN = ("flags.json", "training.json")


def make_data(root: Path) -> Path:
    """One scan of 3 views of 64x32 in both layouts, a teacher, and predictions to make labels from."""
    write_training_layout(root / "training", {"scan1": 1}, 64, 32, 3, lights=(6,))
    write_test_layout(root / "test", {"garden": 3}, 64, 32, 3)
    checkpoint = write_checkpoint(root / "teacher.ckpt", "teacher")
    flags = ("--testpath", root / "training", "--outdir", root / "est", "--loadckpt", checkpoint, "--num_view", 3)
    succeed(run_program("tools/predict.py", *flags, *FAST))
    return root


def command(name: str, data: Path, folder: Path) -> list[object]:
    """A program's command line, with its output folder."""
    weights = ("--loadckpt", data / "teacher.ckpt", "--num_view", 3)
    training = ("--trainpath", data / "training", "--trainlist", "all", "--nviews", 3, "--epochs", 3, *FAST)
    labels = ("--testpath", data / "est", "--pairpath", data / "training", "--thres_view", 1)
    flags = {
        "train_unsup.py": (
            *training,
            "--save_steps",
            2,
            "--augment",
            "--resume",
            "--summary_freq",
            1,
            "--logdir",
            folder,
        ),
        "tools/predict.py": ("--testpath", data / "training", *weights, *FAST, "--outdir", folder),
        "tools/check_and_encode.py": (*labels, "--outdir", folder),
        "test.py": (
            *("--testpath", data / "test", *weights, *FAST),
            *("--disp_threshold", 2, "--refine", 2, "--outdir", folder),
        ),
        "scripts/run_train_kd.sh": ("--save_steps", 1, "--num_workers", 0),
    }
    return [name, *flags[name]]


def driver_settings(python: Path, data: Path, folder: Path) -> dict[str, object]:
    """The environment of scripts/run_train_kd.sh."""
    settings = {"DATASET_DIR": data / "training", "TRAIN_LIST": "all", "TEST_LIST": "", "LOG_DIR": folder}
    settings |= {"CKPT_FILE": data / "teacher.ckpt", "PYTHON_BIN": python, "ROUNDS": 1, "EPOCHS": 2}
    return settings | {"THRES_VIEW": 1, "NUM_VIEW": 3}


def assert_files_are_whole(folder: Path) -> None:
    """Every file under its own name can be read by its reader."""
    for path in folder.rglob("*"):
        if path.suffix in READERS and not path.name.startswith("."):
            READERS[path.suffix](path)


def result(folder: Path) -> dict[str, bytes]:
    """The files that a program leaves, with their content."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ABOUT_THE_RUN and not path.name.startswith("events")
    }

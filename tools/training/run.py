"""A whole training, as the two programs run it: everything from the settings to the last checkpoint.

train_teacher(TeacherSettings(Saving("outputs/teacher")), TrainingData("DTU"))
train_student(StudentSettings(Saving("outputs/student")), TrainingData("DTU", pseudopath="labels"))
"""

import dataclasses
import hashlib
import sys
from pathlib import Path
from typing import NamedTuple

from datasets.files import DataError, write_json
from datasets.mvs import MVSDataset
from datasets.records import read_record
from datasets.results import LABEL_RECORD
from fusion.labels import few_labels, labelled_share
from models.losses import DistillationLoss, UnsupervisedLoss
from tools.runtime import distributed
from tools.runtime.program import keep_freed_memory
from tools.training.resume import CheckpointFolder
from tools.training.settings import (
    Inputs,
    NetworkChoices,
    StudentSettings,
    TeacherSettings,
    TrainingData,
    TrainingSettings,
    flat,
)
from tools.training.setup import build_network, open_training_selection, open_training_sets, start_training
from tools.training.step import Losses
from tools.training.trainer import Trainer

_FLAGS = "flags.json"
# What decides what is learned, beside the data; how long, on which machine and how often it is looked at may change.
_RATES = {"loss", "smooth_weight", "dlossw", "lr", "wd", "warmup_steps", "lrepochs", "freeze_bn"}
_SHAPES = {field.name for part in (NetworkChoices, Inputs) for field in dataclasses.fields(part)}
_DECIDING = (_RATES | _SHAPES | {"dataset"}) - {"checkpoint_stages"}


class Trained(NamedTuple):
    """The checkpoints of a training: the newest one, and the one that --select found best; None without any."""

    newest: Path | None
    best: Path | None


def train_teacher(settings: TeacherSettings, data: TrainingData, mode: str = "train") -> Trained:
    """Train a teacher without ground truth, or do what `mode` says (--mode). Under torchrun all processes call it."""
    loss = UnsupervisedLoss(settings.loss, settings.smooth_weight)

    def compute_losses(outputs, batch):
        return loss(outputs, batch["imgs"], batch["proj_matrices"], settings.optimisation.dlossw)

    return _run(settings, data, compute_losses, mode)


def train_student(settings: StudentSettings, data: TrainingData, mode: str = "train") -> Trained:
    """Distil a student from the pseudo-labels in `data.pseudopath`; otherwise as `train_teacher`."""
    if data.pseudopath is None or not Path(data.pseudopath).is_dir():
        raise DataError(f"--pseudopath {data.pseudopath}: no such folder; make labels with tools/check_and_encode.py")
    loss = DistillationLoss(settings.loss)

    def compute_losses(outputs, batch):
        return loss(outputs, batch["mu"], batch["sigma"], batch["label_mask"], settings.optimisation.dlossw)

    return _run(settings, data, compute_losses, mode)


def labels_version(labels: Path, dataset: MVSDataset) -> str:
    """What made the labels, as a digest of the records that tools/check_and_encode.py left beside them."""
    digest = hashlib.sha256()
    for scan in dict.fromkeys(entry.scan for entry in dataset.entries):
        record = labels / scan / LABEL_RECORD
        digest.update(record.read_bytes() if record.exists() else b"")
    return digest.hexdigest()


def labels_warning(labels: Path, dataset: MVSDataset) -> str:
    """What to say of labels of a small part of the pixels, as their records tell it; nothing of others."""
    share = labelled_share(labels, dict.fromkeys((entry.scan, entry.reference) for entry in dataset.entries))
    return "" if share is None else few_labels(share)


def check_same_training(logdir: Path, told: dict[str, str]) -> None:
    """Raise DataError where the training in a folder, from which one with these flags would go on, had others: it would
    be told of as what it is not."""
    before = read_record(logdir / _FLAGS)
    other = [name for name, value in told.items() if name in _DECIDING and before.get(name, value) != value]
    # A rerun need not repeat --loadckpt, but cannot begin with one.
    if before.get("loadckpt") == "None" and told["loadckpt"] != "None":
        other.append("loadckpt")
    if other:
        listed = ", ".join(f"{name} {before[name]} (now {told[name]})" for name in other)
        raise DataError(f"{logdir}: was trained with {listed}; use a new --logdir, or remove the old checkpoints")


def _run(settings: TrainingSettings, data: TrainingData, compute_losses: Losses, mode: str) -> Trained:
    trains = mode == "train"
    told = {name: str(value) for name, value in (flat(data) | flat(settings)).items()}
    if trains and settings.saving.resume and CheckpointFolder(settings.saving.logdir).newest():
        check_same_training(settings.saving.logdir, told)
    device = start_training(settings)
    train_set, test_set = open_training_sets(data, settings.inputs)
    network = build_network(settings.kind, settings.network, settings.saving)
    version = labels_version(Path(data.pseudopath), train_set) if data.pseudopath else ""
    keep_freed_memory()
    selection = open_training_selection(settings, data, device)
    trainer = Trainer(settings, network, compute_losses, train_set, test_set, device, version, selection, logs=trains)
    trainer.message(f"{len(train_set)} training samples, device {device}, precision {settings.machine.amp}")
    if data.pseudopath and distributed.is_main() and (warning := labels_warning(Path(data.pseudopath), train_set)):
        print(f"warning: {warning}", file=sys.stderr, flush=True)
    if trains and distributed.is_main():
        write_json(settings.saving.logdir / _FLAGS, told)
    try:
        _do(trainer, mode)
    finally:
        trainer.log.close()
    distributed.finish()
    checkpoints = CheckpointFolder(settings.saving.logdir)
    return Trained(checkpoints.newest(), checkpoints.best if checkpoints.best.exists() else None)


def _do(trainer: Trainer, mode: str) -> None:
    """What --mode says."""
    if mode == "train":
        trainer.run()
    elif mode == "test":
        if trainer.test_loader is None:
            raise DataError("--mode test needs --testlist")
        trainer.evaluate()
        if trainer.selection is not None:
            trainer.select()
    else:
        trainer.profile()

"""A whole training, as the two programs run it: everything from the settings to the last checkpoint.

train_teacher(TeacherSettings(Saving("outputs/teacher")), TrainingData("DTU"))
train_student(StudentSettings(Saving("outputs/student")), TrainingData("DTU", pseudopath="labels"))
"""

import hashlib
from pathlib import Path
from typing import NamedTuple

from datasets.files import DataError, write_json
from datasets.mvs import MVSDataset
from fusion.labels import RECORD
from models.losses import DistillationLoss, UnsupervisedLoss
from tools.runtime import distributed
from tools.runtime.program import keep_freed_memory
from tools.training.resume import CheckpointFolder
from tools.training.settings import StudentSettings, TeacherSettings, TrainingData, TrainingSettings, flat
from tools.training.setup import build_network, open_training_selection, open_training_sets, start_training
from tools.training.step import Losses
from tools.training.trainer import Trainer


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
        record = labels / scan / RECORD
        digest.update(record.read_bytes() if record.exists() else b"")
    return digest.hexdigest()


def _run(settings: TrainingSettings, data: TrainingData, compute_losses: Losses, mode: str) -> Trained:
    device = start_training(settings)
    train_set, test_set = open_training_sets(data, settings.inputs)
    network = build_network(settings.kind, settings.network, settings.saving)
    version = labels_version(Path(data.pseudopath), train_set) if data.pseudopath else ""
    keep_freed_memory()
    selection = open_training_selection(settings, data, device)
    trains = mode == "train"
    trainer = Trainer(settings, network, compute_losses, train_set, test_set, device, version, selection, logs=trains)
    trainer.message(f"{len(train_set)} training samples, device {device}, precision {settings.machine.amp}")
    if trains and distributed.is_main():
        told = {name: str(value) for name, value in (flat(data) | flat(settings)).items()}
        write_json(settings.saving.logdir / "flags.json", told)
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

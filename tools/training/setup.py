"""What every training does before its loop (tools.training.trainer): process group, seeds, datasets, network."""

import dataclasses
import datetime
import random
from pathlib import Path

import numpy as np
import torch

from datasets.files import DataError
from datasets.mvs import MVSDataset, Settings, open_dataset
from models import CascadeMVSNet, NetworkSettings
from models.checkpoint import checkpoint_settings, read_checkpoint
from tools.runtime import distributed
from tools.training.resume import CheckpointFolder
from tools.training.selection import Selection, open_selection
from tools.training.settings import Inputs, NetworkChoices, Saving, TrainingData, TrainingSettings

# How long a process waits for another one, which does the same work at the same time.
_PATIENCE = datetime.timedelta(minutes=10)


def start_training(settings: TrainingSettings) -> torch.device:
    """Join the process group and seed; returns this process's device."""
    device = distributed.start(settings.machine.device, _PATIENCE)
    torch.manual_seed(settings.seed)
    np.random.seed(settings.seed)
    random.seed(settings.seed)
    return device


def open_training_sets(data: TrainingData, inputs: Inputs) -> tuple[MVSDataset, MVSDataset | None]:
    """The training set, with pseudo-labels where there are some, and the evaluation set when testlist names one."""
    plain = _sample_settings(inputs)
    labels = Path(data.pseudopath) if data.pseudopath else None
    chosen = dataclasses.replace(plain, augment=inputs.augment, labels=labels)
    train_set = open_dataset(data.dataset, data.trainpath, data.trainlist, chosen)
    if not data.testlist:
        return train_set, None
    chosen = dataclasses.replace(plain, ground_truth=True)
    return train_set, open_dataset(data.dataset, data.testpath or data.trainpath, data.testlist, chosen)


def open_training_selection(settings: TrainingSettings, data: TrainingData, device: torch.device) -> Selection | None:
    """What --select asks for in a training; None without it."""
    if not settings.scoring.select:
        return None
    scans = data.selectlist or data.testlist
    if not scans:
        raise DataError("--select needs held-out scans; name them with --selectlist (no ground truth needed)")
    return open_selection(
        data.dataset,
        data.testpath or data.trainpath,
        scans,
        _sample_settings(settings.inputs),
        settings.scoring.select_thres_view,
        settings.machine.amp,
        device,
    )


def _sample_settings(inputs: Inputs) -> Settings:
    """How samples are made, without what only a training set or only an evaluation has."""
    size = (inputs.max_w, inputs.max_h)
    return Settings(inputs.nviews, inputs.numdepth, inputs.interval_scale, size)


def build_network(kind: str, choices: NetworkChoices, saving: Saving) -> CascadeMVSNet:
    """A fresh network as chosen, or else as the checkpoint tells that the training starts from.

    A teacher that starts from a student's weights has that one's 3D U-Nets.
    """
    start = (CheckpointFolder(saving.logdir).newest() if saving.resume else None) or saving.loadckpt
    chosen = {}
    if start is not None:
        content = read_checkpoint(start)
        chosen = checkpoint_settings(content, start)
        chosen["extra_input_conv"] = kind == "student" or chosen["extra_input_conv"]
    try:
        return CascadeMVSNet(NetworkSettings(**(chosen | choices.given() | {"kind": kind})))
    except ValueError as error:
        raise DataError(f"{start}: does not go with these settings: {error}") from None

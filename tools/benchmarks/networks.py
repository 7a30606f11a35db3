"""Prediction, training steps and the cost volume: the project's way against the plain definition's."""

import contextlib
import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from torch import nn
from torch.utils.data import default_collate

from datasets.mvs import Entry, MVSDataset, open_dataset
from datasets.sample import stage_maps
from models import blocks, slabs
from models.cascade import build_model
from models.checkpoint import checkpoint_bytes, load_model
from models.losses import DistillationLoss, UnsupervisedLoss
from models.plane_sweep import IMPLEMENTATION_VARIABLE
from models.plane_sweep.definition import variance_volume
from models.settings import STAGES
from tools.benchmarks.measure import Case, Comparison, Figures, repeated
from tools.prediction.origins import Origins
from tools.prediction.predictor import combined_confidence, predict, sample_settings, write_prediction
from tools.prediction.settings import PredictionSettings
from tools.runtime.devices import move_to
from tools.runtime.program import keep_freed_memory
from tools.training.settings import (
    Inputs,
    Machine,
    NetworkChoices,
    Optimisation,
    Saving,
    TeacherSettings,
    TrainingData,
)
from tools.training.setup import build_network, open_training_sets, start_training
from tools.training.trainer import Trainer

PLAIN = {IMPLEMENTATION_VARIABLE: "plain"}
# Bytes that no volume has.
_WHOLE = 1 << 62


def write_random_checkpoint(path: Path, kind: str = "student") -> None:
    """A checkpoint of a network with seeded random weights: speed does not depend on what was learned."""
    torch.manual_seed(1)
    model = build_model(kind)
    path.write_bytes(checkpoint_bytes(model, torch.optim.Adam(model.parameters()), 0))


def _precisions(plain: Callable[..., Figures], ours: Callable[..., Figures], common: dict) -> tuple[Case, ...]:
    """The plain way, and the project's in float32 and in bf16, of work with `common` arguments."""
    in_float32, in_bf16 = ({**common, "amp": amp} for amp in ("off", "bf16"))
    return Case("plain", plain, common, PLAIN), Case("float32", ours, in_float32), Case("bf16", ours, in_bf16)


# ---------------------------------------------------------------- prediction


def prediction_comparison(scans: Path, checkpoint: Path, size: tuple[int, int], views: int) -> Comparison:
    """Depth and confidence of a whole scan, files read and written, at `size` (width, height) with `views` views."""
    common = {"scans": scans, "checkpoint": checkpoint, "size": size, "views": views}
    cases = _precisions(predict_plainly, predict_scan, common)
    return Comparison("prediction", f"{size[0]}x{size[1]}, {views} views", "depth map", cases)


def _prediction_setup(
    scans: Path, size: tuple[int, int], views: int, amp: str = "off"
) -> tuple[PredictionSettings, MVSDataset]:
    settings = PredictionSettings(views=views, max_size=size, amp=amp)
    return settings, open_dataset("general_eval", scans, "all", sample_settings(settings))


def predict_scan(scans: Path, checkpoint: Path, size: tuple[int, int], views: int, amp: str) -> Figures:
    """tools/predict.py's own loop over the scan, after one view for warm-up.

    What one view takes with the loading of the network is taken off, as a scan has many.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    settings, dataset = _prediction_setup(scans, size, views, amp)
    everything = dataset.entries

    def seconds(entries: list[Entry]) -> float:
        dataset.entries = entries
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            started = time.perf_counter()
            predict(checkpoint, dataset, Path(folder), settings, device)
            return time.perf_counter() - started

    _, of_one, of_all = seconds(everything[:1]), seconds(everything[:1]), seconds(everything)
    return [(of_all - of_one) / (len(everything) - 1)], _gpu_memory()


def predict_plainly(scans: Path, checkpoint: Path, size: tuple[int, int], views: int) -> Figures:
    """As the official program does it: each reference view with its sources by itself, float32, default layouts, and
    every volume as a whole."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with tempfile.TemporaryDirectory() as folder, patch.object(slabs, "SLAB_BYTES", _WHOLE):
        settings, dataset = _prediction_setup(scans, size, views)
        origins = Origins(dataset, Path(folder), {})
        model = load_model(checkpoint, settings.official_ratios)
        model = model.to(device, memory_format=torch.contiguous_format)
        model.cost_regularization.to(memory_format=torch.contiguous_format)
        seconds = []
        for index in range(len(dataset)):
            started = time.perf_counter()
            _predict_one_plainly(model, origins, index, device)
            seconds.append(time.perf_counter() - started)
        return [sum(seconds[1:]) / len(seconds[1:])], _gpu_memory()


@torch.no_grad()
def _predict_one_plainly(model: nn.Module, origins: Origins, index: int, device: torch.device) -> None:
    dataset = origins.dataset
    batch = move_to(default_collate([dataset[index]]), device)
    outputs = model(batch["imgs"], batch["proj_matrices"], batch["depth_values"])
    confidences = [outputs[stage]["photometric_confidence"][0].cpu().numpy() for stage in STAGES]
    reference = dataset.load(dataset.view_keys(index)[0])
    depth = outputs["depth"][0].cpu().numpy()
    maps = (reference.pixels(), reference.camera, depth, combined_confidence(confidences))
    write_prediction(origins.outdir, dataset, index, *maps, origins.of(index))


def _gpu_memory() -> dict[str, float]:
    if not torch.cuda.is_available():
        return {}
    free, total = torch.cuda.mem_get_info()
    return {"gpu_peak_gb": torch.cuda.max_memory_allocated() / 1e9, "gpu_driver_gb": (total - free) / 1e9}


# ---------------------------------------------------------------- the cost volume


def sweep_comparisons(size: tuple[int, int], views: int) -> list[Comparison]:
    """The three stages' cost volumes of a depth map, forward, and forward with backward."""
    comparisons = []
    for backward in (False, True):
        common = {"size": size, "views": views, "backward": backward}
        cases = [Case(name, sweep, {**common, "implementation": name}) for name in ("plain", "streamed", "auto")]
        kind = "forward and backward" if backward else "forward"
        comparisons.append(
            Comparison("cost volumes", f"{size[0]}x{size[1]}, {views} views, {kind}", "depth map", tuple(cases))
        )
    return comparisons


def sweep(size: tuple[int, int], views: int, backward: bool, implementation: str) -> Figures:
    """All three stages' cost volumes once."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    generator = torch.Generator().manual_seed(1)
    stages = []
    for scale, channels, depths in ((4, 32, 48), (2, 16, 32), (1, 8, 8)):
        height, width = size[1] // scale, size[0] // scale
        features = torch.rand(1, views, channels, height, width, generator=generator)
        hypotheses = torch.linspace(500, 700, depths)[None, :, None, None] + torch.rand(
            1, 1, height, width, generator=generator
        )
        tensors = (features, ring_of_cameras(views, width, height), hypotheses.expand(1, depths, height, width))
        stages.append([tensor.to(device) for tensor in tensors])

    def work() -> None:
        for features, projections, hypotheses in stages:
            features = features.requires_grad_(backward)
            volume = variance_volume(features, projections, hypotheses, implementation=implementation)
            if backward:
                volume.backward(torch.ones_like(volume))
        if device.type == "cuda":
            torch.cuda.synchronize()

    return repeated(work, 3), _gpu_memory()


def ring_of_cameras(views: int, width: int, height: int) -> torch.Tensor:
    """Projections [1, N, 2, 4, 4] of cameras that look the same way, sources about 100 mm from the reference."""
    matrices = torch.eye(4).repeat(1, views, 2, 1, 1)
    matrices[0, :, 1, :3, :3] = torch.tensor(
        [[1.8 * width, 0.0, (width - 1) / 2], [0.0, 1.8 * width, (height - 1) / 2], [0.0, 0.0, 1.0]]
    )
    turns = torch.arange(1, views) * (2 * torch.pi / max(1, views - 1)) + 0.3
    matrices[0, 1:, 0, 0, 3], matrices[0, 1:, 0, 1, 3] = 100 * turns.cos(), 100 * turns.sin()
    return matrices


# ---------------------------------------------------------------- training


def training_comparison(scans: Path, size: tuple[int, int], kind: str) -> Comparison:
    """One optimisation step of the teacher or the student, batch of one, on scans in the test layout."""
    common = {"scans": scans, "size": size, "kind": kind}
    cases = _precisions(train_plainly, train, common)
    return Comparison("training", f"{size[0]}x{size[1]}, {kind}, 5 views, batch 1", "step", cases)


def curves_comparison(scans: Path, size: tuple[int, int], kind: str, steps: int) -> Comparison:
    """Loss curves of trainings from one start, on the same samples in the same order: the precisions must learn alike.

    What plain and float32 differ by is the noise: they compute the same but for the order of sums.
    """
    common = {"scans": scans, "size": size, "kind": kind, "steps": steps}
    cases = _precisions(train_plainly, train, common)
    return Comparison("curves", f"{size[0]}x{size[1]}, {kind}, {steps} steps, mean losses of its tenths", "step", cases)


def train_plainly(scans: Path, size: tuple[int, int], kind: str, steps: int | None = None) -> Figures:
    """Steps in float32 with the convolutions that torch itself chooses, and Adam's plain loop."""
    with patch.object(blocks.Conv3d, "forward", nn.Conv3d.forward):
        return train(scans, size, kind, "off", steps, plain=True)


def train(
    scans: Path, size: tuple[int, int], kind: str, amp: str, steps: int | None = None, plain: bool = False
) -> Figures:
    """Steps of the training loop, whose loss is logged: it must fall alike in all precisions.

    A few steps on one sample; with `steps`, so many on all samples in turn, with the losses' means in every tenth.
    """
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        inputs, machine = Inputs(max_w=size[0], max_h=size[1]), Machine(amp=amp, num_workers=0)
        network, saving = NetworkChoices(), Saving(Path(folder))
        # The teacher's learning rates for both: they change in later epochs only.
        settings = TeacherSettings(saving, network, inputs, machine=machine)
        device = start_training(settings)
        dataset, _ = open_training_sets(TrainingData(scans, dataset="general_eval"), inputs)
        samples = [dataset[i] for i in range(len(dataset) if steps else 1)]
        if not plain:
            keep_freed_memory()
        compute_losses = _teacher_losses() if kind == "teacher" else _student_losses(dataset)
        model = build_network(kind, network, saving)
        trainer = Trainer(settings, model, compute_losses, dataset, None, device)
        trainer.model.train()
        batches = [{**move_to(default_collate([sample]), device), "index": i} for i, sample in enumerate(samples)]
        losses: list[float] = []

        def work() -> None:
            losses.append(trainer.train_step(batches[len(losses) % len(batches)])[0]["total"])

        seconds = repeated(work, (steps or 5) - 1)
        shown = losses if steps is None else [np.mean(tenth) for tenth in np.array_split(losses, 10)]
        return seconds, {"losses": [round(float(loss), 4) for loss in shown], **_gpu_memory()}


def _teacher_losses() -> Callable:
    loss = UnsupervisedLoss("official", None)
    return lambda outputs, batch: loss(outputs, batch["imgs"], batch["proj_matrices"], Optimisation().dlossw)


def _student_losses(dataset: MVSDataset) -> Callable:
    """Distillation from the exact depth, every pixel labelled."""
    labels = []
    for index, entry in enumerate(dataset.entries):
        depth = dataset.layout.ground_truth(entry.scan, entry.reference, dataset.view_keys(index)[0].size)
        mu = {stage: torch.from_numpy(level)[None] for stage, level in stage_maps(depth).items()}
        sigma = {stage: torch.ones_like(level) for stage, level in mu.items()}
        labels.append((mu, sigma, {stage: level > 0 for stage, level in mu.items()}))
    loss = DistillationLoss("official")

    def compute(outputs: dict, batch: dict) -> dict:
        device = batch["imgs"].device
        return loss(outputs, *(move_to(maps, device) for maps in labels[batch["index"]]), Optimisation().dlossw)

    return compute

"""Depth of every view and one cloud per scan: what test.py does, for whoever has the scans and the settings."""

from collections.abc import Sequence
from pathlib import Path

import torch

from datasets.files import PathLike
from datasets.layouts.base import Layout
from datasets.mvs import MVSDataset
from datasets.results import check_cloud_names, cloud_path
from fusion.fusibile import check_sizes
from tools.prediction.fuse import fuse, why_empty
from tools.prediction.predictor import predict, sample_settings
from tools.prediction.refine import refine
from tools.prediction.settings import FusionSettings, PredictionSettings
from tools.runtime import distributed


def predict_and_fuse(
    checkpoint: PathLike,
    layout: Layout,
    scans: Sequence[str],
    outdir: Path,
    settings: PredictionSettings,
    fusion: FusionSettings,
    device: torch.device,
    passes: int = 0,
    skip_depth: bool = False,
) -> dict[str, int]:
    """Predict the scans, refine their depth in so many passes, and fuse it, as far as it is not done already.

    skip_depth: fuse the depth maps that are in `outdir`. Returns the number of points of the scans that this process
    has fused; under torchrun all call it. Raises DataError and CheckpointError.
    """
    check_cloud_names(scans)
    if not skip_depth:
        dataset = MVSDataset(layout, list(scans), sample_settings(settings))
        if fusion.program and fusion.method == "gipuma":
            for scan in scans:
                check_sizes(scan, dataset.sizes(scan))
        predict(checkpoint, dataset, outdir, settings, device, refined=passes > 0)
    if passes:
        refine(outdir, layout, scans, passes, device)
    points = {}
    if fusion.method != "none":
        for scan in distributed.share(scans):
            report = fuse(outdir, layout, scan, fusion, device)
            points[scan] = report.points
            print(f"{scan}: {report.points} points in {cloud_path(outdir, scan)}{report.remarks}", flush=True)
            if points[scan] == 0:
                print(f"{scan}: {why_empty(fusion)}", flush=True)
    distributed.barrier()
    return points

"""Pseudo-labels: cross-view check and probabilistic encoding of one view (specs: kdmvs, section 4)."""

from pathlib import Path

import numpy as np

from datasets.files import DataError
from datasets.formats.images import colour_map, read_image, write_image
from datasets.formats.pfm import write_pfm
from datasets.mvs import MVSDataset
from datasets.results import Predictions, depth_label_path
from fusion.consistency import Check
from fusion.filters import check_prediction
from tools.runtime.program import Progress

RECORD = "check_and_encode.json"


RESULT_FOLDERS = ("checked_depth", "fused_sigma", "mask")


def finished_share(folder: Path, view: int) -> float | None:
    """Kept share of the pixels of a finished view, from its small mask; None when it is not finished."""
    mask = folder / "mask" / f"{view:08d}_final.png"
    if depth_label_path(folder, view).exists() and mask.exists():
        return float((read_image(mask)[..., 0] > 0).mean())
    return None


def write_labels(
    predictions: Predictions, reference: int, sources: list[int], check: Check, conf: float, folder: Path
) -> float:
    """Check one view, write its files, return the kept share of its pixels."""
    agreement = check_prediction(predictions, reference, sources, check)
    confident = predictions.confidence(reference) > conf
    kept = agreement.passed & confident
    name = f"{reference:08d}"
    for kind, mask in (("photo", confident), ("geo", agreement.passed), ("final", kept)):
        write_image(folder / "mask" / f"{name}_{kind}.png", mask.astype(np.uint8) * 255)
    mu = np.where(kept, agreement.mean, np.float32(0))
    sigma = np.where(kept, agreement.sigma, np.float32(0))
    write_image(folder / "checked_depth" / f"{name}.png", colour_map(mu))
    write_image(folder / "fused_sigma" / f"{name}.png", colour_map(sigma))
    write_pfm(folder / "fused_sigma" / f"{name}.pfm", sigma)
    write_pfm(depth_label_path(folder, reference), mu)
    return float(kept.mean())


def write_exact_labels(dataset: MVSDataset, sigma: float, outdir: Path) -> None:
    """Labels of every reference view of the dataset; raises DataError where a view's depth is not known."""
    progress = Progress(len(dataset), "exact labels")
    for index, entry in enumerate(dataset.entries):
        depth = dataset.layout.ground_truth(entry.scan, entry.reference, dataset.view_keys(index)[0].size)
        if depth is None:
            raise DataError(f"{dataset.layout.root}: {entry.scan} has no exact depth for view {entry.reference}")
        interval = dataset.layout.camera(entry.scan, entry.reference).depth_line[1]
        spread = np.where(depth > 0, np.float32(sigma * interval), np.float32(0))
        path = depth_label_path(outdir / entry.scan, entry.reference)
        write_pfm(outdir / entry.scan / "fused_sigma" / path.name, spread)
        write_pfm(path, depth)
        progress.step()
    progress.close()

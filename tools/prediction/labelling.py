"""Pseudo-labels of whole scans: from predictions, or from exact depth. A rerun makes only what is missing or stale."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from datasets.files import check_scan_name
from datasets.io import Pairs
from datasets.mvs import MVSDataset
from datasets.predictions import Predictions
from datasets.records import read_record
from datasets.results import PREDICTION_RECORD, find_pair_file
from fusion.consistency import Check, dynamic_check, normal_check
from fusion.labels import (
    begin_labels,
    exact_label,
    exact_origin,
    few_labels,
    finished_share,
    label_origin,
    write_exact_label,
    write_labels,
)
from models.hypotheses import is_inverse
from tools.prediction.origins import entries_by_scan
from tools.prediction.settings import LabelSettings, recorded
from tools.runtime import distributed
from tools.runtime.program import Progress


class LabelSummary(NamedTuple):
    """Over the views of all scans: their number, how many of them were finished before, and the mean share of the
    pixels that is labelled."""

    views: int
    finished: int
    kept: float


def label_check(settings: LabelSettings) -> Check:
    """The cross-view check that the settings name."""
    if settings.check == "dynamic":
        return dynamic_check()
    return normal_check(settings.reproject_dist, settings.depth_diff, settings.thres_view)


def label_scans(
    predictions: Path, pairpath: Path, scans: Sequence[str], outdir: Path, settings: LabelSettings
) -> LabelSummary:
    """Write the labels of predicted scans, one folder each in `outdir`.

    predictions: the folder of scan folders; pairpath: a pair file, or a data set that holds one. Under torchrun all
    processes call it, and share the views. Raises DataError when a view was not predicted or a file is damaged.
    """
    check, pairs = label_check(settings), {}
    for scan in scans:
        pairs[scan] = Predictions(predictions / scan).checked_pairs(find_pair_file(pairpath, scan))
    levels = recorded(dataclasses.asdict(check))
    record = {"check": settings.check, "conf": settings.conf, **levels}
    # Told to people; that maps and cameras are the same is told by their digests.
    records = {scan: record | {"predictions": read_record(predictions / scan / PREDICTION_RECORD)} for scan in scans}
    for scan in distributed.share(list(scans)):
        origins = _origins(predictions / scan, pairs[scan], records[scan])
        listed = {"pairs": [[view, sources] for view, sources in pairs[scan]]}
        begin_labels(outdir / scan, records[scan] | listed, origins)
    distributed.barrier()

    mine = {scan: distributed.share(pairs[scan]) for scan in scans}
    shares = {scan: [finished_share(outdir / scan, view) for view, _ in mine[scan]] for scan in scans}
    progress = Progress(sum(map(len, mine.values())), "check and encode", quiet=not distributed.is_main())
    total = torch.zeros(3, dtype=torch.float64)
    for scan in scans:
        maps = Predictions(predictions / scan)
        for (reference, sources), finished in zip(mine[scan], shares[scan], strict=True):
            share = finished
            if share is None:
                origin = label_origin(maps, reference, sources, records[scan])
                share = write_labels(maps, reference, sources, check, settings.conf, outdir / scan, origin)
            total += torch.tensor([1, finished is not None, share], dtype=torch.float64)
            progress.step(f"{scan} view {reference}: {share:.1%} kept")
    progress.close()
    views, finished, kept = distributed.sum_over_ranks(total).tolist()
    return LabelSummary(int(views), int(finished), kept / views)


def report_labels(summary: LabelSummary, outdir: Path) -> None:
    """Print, on one process, how much is labelled, and a warning where hardly anything is."""
    if not distributed.is_main():
        return
    if summary.finished:
        print(f"{summary.finished} views were finished already in {outdir}", flush=True)
    print(f"kept {summary.kept:.2%} of the pixels, mean over {summary.views} views, in {outdir}", flush=True)
    if warning := few_labels(summary.kept):
        print(f"warning: {warning}", file=sys.stderr, flush=True)


def _origins(folder: Path, pairs: Pairs, record: dict) -> dict[int, str]:
    maps = Predictions(folder)
    return {reference: label_origin(maps, reference, sources, record) for reference, sources in pairs}


def label_exactly(dataset: MVSDataset, sigma: float, spacing: str, outdir: Path) -> int:
    """Labels of every reference view of the dataset from its exact depth, with a deviation of `sigma` depth intervals
    of hypotheses in this spacing.

    Returns how many were there already. Raises DataError where a view's depth is not known.
    """

    def label(index: int) -> tuple[np.ndarray, np.ndarray]:
        camera = dataset.layout.camera(dataset.entries[index].scan, dataset.entries[index].reference)
        inverse = is_inverse(spacing, torch.from_numpy(dataset.depth_values(index, camera))[None])
        return exact_label(dataset, index, sigma, bool(inverse))

    progress, finished = Progress(len(dataset), "exact labels"), 0
    for scan, indices in entries_by_scan(dataset).items():
        folder, origins = outdir / check_scan_name(scan, dataset.layout.root), {}
        views = {dataset.entries[index].reference: index for index in indices}
        for view, index in views.items():
            origins[view] = exact_origin(*label(index))
        begin_labels(folder, {"check": "exact", "sigma": sigma, "spacing": spacing}, origins)
        for view, index in views.items():
            if finished_share(folder, view) is None:
                write_exact_label(folder, view, *label(index))
            else:
                finished += 1
            progress.step()
    progress.close()
    return finished

"""Depth of whole scans by the plain plane sweep (tools.prediction.zncc), in the files of a network's prediction."""

import dataclasses
from pathlib import Path

import numpy as np

from datasets.mvs import MVSDataset
from tools.prediction.origins import Origins, check_outdir, layout_name
from tools.prediction.predictor import unfinished_batches, write_prediction
from tools.prediction.settings import SweepSettings, recorded
from tools.prediction.zncc import inverse_depths, sweep
from tools.runtime.program import Progress


def sweep_scans(dataset: MVSDataset, outdir: Path, settings: SweepSettings) -> None:
    """Sweep every reference view of the dataset that is not finished; confidence is the winning score, 0 if negative.

    A view is finished when it was made from the same settings, cameras and images. Raises DataError.
    """
    check_outdir(dataset, outdir)
    record = {"method": "zncc_sweep", "layout": layout_name(dataset.layout)}
    origins = Origins(dataset, outdir, recorded(record | dataclasses.asdict(settings)))
    origins.begin()
    unfinished = [index for (index,) in unfinished_batches(dataset, outdir, 1)]
    with Progress(len(unfinished), "plane sweep") as progress:
        for index in unfinished:
            _sweep_view(origins, index, settings)
            progress.step()


def _sweep_view(origins: Origins, index: int, settings: SweepSettings) -> None:
    """Sweep one of the dataset's reference views and write its files."""
    dataset = origins.dataset
    keys = list(dict.fromkeys(dataset.view_keys(index)))  # the dataset repeats a source where too few are listed
    views = [dataset.load(key) for key in keys]
    values = dataset.depth_values(index, views[0].camera)
    inverse = inverse_depths(values[0], values[-1], settings.hypotheses)
    depth, score = sweep(views, inverse, settings.window, settings.best)
    maps = (views[0].pixels(), views[0].camera, depth, np.maximum(score, 0))
    write_prediction(origins.outdir, dataset, index, *maps, origins.of(index))

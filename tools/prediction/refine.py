"""Refined depth maps of predicted scans (fusion.consensus), in passes over their files.

The refined maps are depth_est/, where every program looks; the network's own are put aside as depth_raw/. They come
back when a scan is predicted without refinement, or refined with another number of passes.
"""

import functools
import shutil
from collections.abc import Sequence
from pathlib import Path

from datasets.files import read_json, write_json
from datasets.formats.images import colour_map, write_image
from datasets.formats.pfm import write_pfm
from datasets.io import Pairs
from datasets.layouts.base import Layout
from datasets.results import DEPTH_FOLDER, MAPS_IN_MEMORY, PREDICTION_RECORD, Predictions
from fusion.consensus import supported_depth
from tools.runtime import distributed
from tools.runtime.program import Progress
from tools.runtime.records import has_results

RAW_FOLDER = "depth_raw"
RECORD = "refine.json"


def refine(outdir: Path, layout: Layout, scans: Sequence[str], passes: int) -> None:
    """Refine the predicted scans; those that are refined so already are skipped.

    In pass k a pixel's candidates are its neighbours k pixels apart. A scan's maps are replaced at once, at the end.
    Raises DataError when a view was not predicted or a file is damaged.
    """
    if distributed.is_main():
        for scan in scans:
            if not is_refined(outdir / scan):  # then a refinement was cut off
                restore(outdir / scan)
    distributed.barrier()
    pairs = {scan: Predictions(outdir / scan).checked_pairs(layout.pair_path(scan)) for scan in scans}
    settings = {scan: _settings(outdir / scan, passes, pairs[scan]) for scan in scans}
    unfinished = [scan for scan in scans if not has_results(outdir / scan, RECORD, settings[scan])]
    distributed.barrier()  # all processes have the same list before one of them changes a scan
    progress = Progress(
        sum(len(distributed.share(pairs[scan])) for scan in unfinished) * passes,
        "refine",
        quiet=not distributed.is_main(),
    )
    for scan in unfinished:
        folder = outdir / scan
        if distributed.is_main():
            restore(folder)
        distributed.barrier()
        for number in range(1, passes + 1):
            _run_pass(folder, pairs[scan], number, number == passes, progress)
            distributed.barrier()
        if distributed.is_main():
            _replace_depth(folder, passes)
            write_json(folder / RECORD, settings[scan])
        distributed.barrier()
    progress.close()


def restore(folder: Path) -> None:
    """Make the network's depth maps a scan folder's depth_est/ again where they were put aside."""
    (folder / RECORD).unlink(missing_ok=True)
    for unfinished in folder.glob(_pass_folder("*")):
        shutil.rmtree(unfinished)
    if (folder / RAW_FOLDER).is_dir():
        shutil.rmtree(folder / DEPTH_FOLDER, ignore_errors=True)
        (folder / RAW_FOLDER).rename(folder / DEPTH_FOLDER)


def is_refined(folder: Path) -> bool:
    """Whether a scan folder's depth_est/ holds refined depth maps, all of them."""
    return (folder / RECORD).exists()


def _run_pass(folder: Path, pairs: Pairs, number: int, last: bool, progress: Progress) -> None:
    """Write this process's views of a pass, with previews when it is the last."""
    before = Predictions(folder, DEPTH_FOLDER if number == 1 else _pass_folder(number - 1))
    confidence = functools.lru_cache(MAPS_IN_MEMORY)(before.confidence)
    for reference, sources in distributed.share(pairs):
        views = [before.view(source) for source in sources]
        confidences = [confidence(source) for source in sources]
        depth = supported_depth(before.view(reference), views, confidences, spacing=number)
        path = folder / _pass_folder(number) / f"{reference:08d}.pfm"
        if last:
            write_image(path.with_suffix(".png"), colour_map(depth))
        write_pfm(path, depth)
        progress.step()


def _replace_depth(folder: Path, passes: int) -> None:
    """The last pass's maps become depth_est/. Cut off in between, the next run restores the network's."""
    (folder / DEPTH_FOLDER).rename(folder / RAW_FOLDER)
    (folder / _pass_folder(passes)).rename(folder / DEPTH_FOLDER)
    for number in range(1, passes):
        shutil.rmtree(folder / _pass_folder(number))


def _pass_folder(number: int | str) -> str:
    return f"depth_pass_{number}"


def _settings(folder: Path, passes: int, pairs: Pairs) -> dict:
    """What a scan's refined depth depends on."""
    prediction = folder / PREDICTION_RECORD
    return {
        "passes": passes,
        "pairs": [[reference, list(sources)] for reference, sources in pairs],
        "predictions": read_json(prediction) if prediction.exists() else None,
    }

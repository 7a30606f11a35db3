"""Refined depth maps of predicted scans (fusion.refinement), in passes over their files.

The refined maps and their confidence are depth_est/ and confidence/, where every program looks; the network's own are
put aside as depth_raw/ and confidence_raw/. They come back when a scan is predicted without refinement. While something
of the network's depth is made anew, the refined maps are put aside in turn, and those that do not depend on it are
taken again.
"""

import functools
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from datasets.files import write_json
from datasets.formats.images import colour_map, write_image
from datasets.formats.pfm import write_pfm
from datasets.io import Pairs
from datasets.layouts.base import Layout
from datasets.layouts.plausible import DEPTHS
from datasets.predictions import MAPS_IN_MEMORY, MapDigests, Predictions
from datasets.records import digest, map_digest, read_record, recorded_stamp, write_marker
from datasets.results import (
    CONFIDENCE_OF,
    DEPTH_FOLDER,
    RAW_FOLDER,
    REFINE_RECORD,
    REFINED_FOLDER,
    ViewFiles,
    is_refined,
    mapped_views,
    network_folder,
)
from fusion.photo_consistency import MOST_SOURCES
from fusion.refinement import METHOD, Surroundings, finished_maps, supported_map
from fusion.sources import Sources
from tools.runtime import distributed
from tools.runtime.program import Progress


class _Plan(NamedTuple):
    """What a scan's refinement has to make: of every view the digest of its origin, and in every pass the views whose
    maps are needed."""

    pairs: Pairs
    origins: Mapping[int, str]
    needed: list[set[int]]

    def of_pass(self, number: int) -> Pairs:
        """The views with their sources that a pass has to make."""
        return [(reference, sources) for reference, sources in self.pairs if reference in self.needed[number - 1]]


def refine(outdir: Path, layout: Layout, scans: Sequence[str], passes: int, device: torch.device | None = None) -> None:
    """Refine the predicted scans; views whose refined depth was made from the same before are skipped.

    The last pass is fusion.refinement's; in pass k before it a pixel's candidates are its neighbours k pixels apart
    (fusion.consensus). A scan's maps take their place at once, at the end. A CUDA `device` computes by torch; what it
    makes differs from the CPU's by rounding, and is not made anew for that. Raises DataError when a view was not
    predicted or a file is damaged.
    """
    if distributed.is_main():
        for scan in scans:
            tidy(outdir / scan)
    distributed.barrier()
    plans = {scan: _plan(outdir / scan, layout.pair_path(scan), passes) for scan in scans}
    unfinished = [scan for scan in scans if any(plans[scan].needed) or not is_refined(outdir / scan)]
    distributed.barrier()  # all processes have the same list before one of them changes a scan
    rounds = [(scan, number) for scan in unfinished for number in range(1, passes + 1)]
    total = sum(len(distributed.share(plans[scan].of_pass(number))) for scan, number in rounds)
    on_gpu = device if device is not None and device.type == "cuda" else None
    with Progress(total, "refine", quiet=not distributed.is_main()) as progress:
        for scan in unfinished:
            folder, plan = outdir / scan, plans[scan]
            if distributed.is_main():
                put_aside(folder)
                _remove_stale(folder, plan)
            distributed.barrier()
            for number in range(1, passes + 1):
                _run_pass(folder, plan, number, number == passes, on_gpu, progress)
                distributed.barrier()
            if distributed.is_main():
                _take_place(folder, passes)
            distributed.barrier()


def tidy(folder: Path) -> None:
    """Clear up what a killed refinement left: maps of passes, and the network's depth put aside with none in its
    place."""
    for unfinished in folder.glob(_pass_folder("*")):
        shutil.rmtree(unfinished)
    if (folder / RAW_FOLDER).is_dir() and not (folder / CONFIDENCE_OF[RAW_FOLDER]).is_dir():
        shutil.rmtree(folder / DEPTH_FOLDER, ignore_errors=True)  # refined when that gave no confidence of its own
    if (folder / RAW_FOLDER).is_dir() and not (folder / DEPTH_FOLDER).is_dir():
        (folder / REFINE_RECORD).unlink(missing_ok=True)
        (folder / RAW_FOLDER).rename(folder / DEPTH_FOLDER)
    if not (folder / RAW_FOLDER).is_dir():
        _take_back_confidence(folder)


def put_aside(folder: Path) -> None:
    """Make the network's depth maps a scan folder's depth_est/ again; the refined ones are kept beside them."""
    (folder / REFINE_RECORD).unlink(missing_ok=True)
    tidy(folder)
    if (folder / RAW_FOLDER).is_dir():
        shutil.rmtree(folder / REFINED_FOLDER, ignore_errors=True)
        (folder / DEPTH_FOLDER).rename(folder / REFINED_FOLDER)
        (folder / RAW_FOLDER).rename(folder / DEPTH_FOLDER)
        _take_back_confidence(folder)


def _take_back_confidence(folder: Path) -> None:
    """Confidence that was put aside with the network's depth, which is back, follows it."""
    ours, raw, refined = (folder / CONFIDENCE_OF[name] for name in (DEPTH_FOLDER, RAW_FOLDER, REFINED_FOLDER))
    if raw.is_dir():
        if ours.is_dir():
            shutil.rmtree(refined, ignore_errors=True)
            ours.rename(refined)
        raw.rename(ours)


def restore(folder: Path) -> None:
    """Make the network's depth maps a scan folder's depth_est/ again; the refined ones are removed."""
    put_aside(folder)
    for name in (REFINED_FOLDER, CONFIDENCE_OF[REFINED_FOLDER]):
        shutil.rmtree(folder / name, ignore_errors=True)


def _take_place(folder: Path, passes: int) -> None:
    """The refined maps become depth_est/. Cut off in between, the next run begins with the network's again."""
    for ours, theirs in ((DEPTH_FOLDER, RAW_FOLDER), (REFINED_FOLDER, DEPTH_FOLDER)):
        (folder / CONFIDENCE_OF[ours]).rename(folder / CONFIDENCE_OF[theirs])
        (folder / ours).rename(folder / theirs)
    for number in range(1, passes):
        shutil.rmtree(folder / _pass_folder(number), ignore_errors=True)
    write_json(folder / REFINE_RECORD, {"passes": passes})


def _plan(folder: Path, pair_path: Path, passes: int) -> _Plan:
    network = Predictions(folder, network_folder(folder))
    pairs = network.checked_pairs(pair_path)
    views = dict.fromkeys(view for reference, sources in pairs for view in (reference, *sources))
    digests = {view: network.digests(view) for view in views}
    stamps = {view: recorded_stamp(read_record(network.files(view).record)) for view in views}
    images = {view: "" if stamp is None else stamp.digest for view, stamp in stamps.items()}
    origins = _origins(pairs, digests, images, passes)
    needed = [{view for view in origins if not _is_finished(_refined(folder, view), origins[view])}]
    for _ in range(passes - 1):
        sources_of_needed = {source for view, sources in pairs if view in needed[0] for source in sources}
        needed.insert(0, needed[0] | (sources_of_needed & origins.keys()))
    return _Plan(pairs, origins, needed)


def _origins(pairs: Pairs, digests: Mapping[int, MapDigests], images: Mapping[int, str], passes: int) -> dict[int, str]:
    """Of every view the digest of all that its depth after the passes depends on."""
    origins = {view: digest(METHOD, *held, images[view]) for view, held in digests.items()}
    for _ in range(passes):
        before = dict(origins)
        for reference, sources in pairs:
            seen = [(before[source], digests[source].confidence) for source in sources]
            origins[reference] = digest(before[reference], seen)
    return {reference: origins[reference] for reference, _ in pairs}


def _refined(folder: Path, view: int) -> ViewFiles:
    """Where the refined map of a view lies while the network's are in depth_est/, or once they are put aside."""
    return ViewFiles(folder, view, DEPTH_FOLDER if (folder / RAW_FOLDER).is_dir() else REFINED_FOLDER)


def _is_finished(files: ViewFiles, origin: str) -> bool:
    return files.depth.exists() and files.confidence.exists() and read_record(files.record).get("made_from") == origin


def _remove_stale(folder: Path, plan: _Plan) -> None:
    for view in mapped_views(folder / REFINED_FOLDER):
        files = _refined(folder, view)
        if view not in plan.origins or not _is_finished(files, plan.origins[view]):
            files.remove_maps()


def _run_pass(
    folder: Path, plan: _Plan, number: int, last: bool, device: torch.device | None, progress: Progress
) -> None:
    """Write this process's views of a pass, with previews and records when it is the last."""
    network = Predictions(folder)
    before = network if number == 1 else Predictions(folder, _pass_folder(number - 1))
    confidence, image = (functools.lru_cache(MAPS_IN_MEMORY)(read) for read in (network.confidence, network.image))
    for reference, sources in distributed.share(plan.of_pass(number)):
        views = [(before if source in plan.origins else network).view(source) for source in sources]
        view = before.view(reference)
        others = Sources(view, views, [confidence(source) for source in sources])
        if last:
            photos = [image(view) for view in (reference, *sources[:MOST_SOURCES])]
            around = Surroundings(photos[0], _limits(network, reference), photos[1:])
            depth, sure = finished_maps(view.depth, confidence(reference), others, around, device)
            masked = view.depth == 0  # a network gives every other pixel a depth
            depth[masked], sure[masked] = 0, 0
            _write_refined(_refined(folder, reference), depth, sure, plan.origins[reference])
        else:
            depth = supported_map(view.depth, others, number, device)
            depth[view.depth == 0] = 0
            write_pfm(ViewFiles(folder, reference, _pass_folder(number)).depth, depth)
        progress.step()


def _write_refined(files: ViewFiles, depth: np.ndarray, confidence: np.ndarray, origin: str) -> None:
    record = {"made_from": origin, "depth": map_digest(depth), "confidence": map_digest(confidence)}
    write_pfm(files.confidence, confidence)
    write_image(files.confidence_preview, colour_map(confidence, 0.0, 1.0))
    write_image(files.depth_preview, colour_map(depth))
    write_marker(files.depth, depth, files.record, record)


def _limits(network: Predictions, view: int) -> tuple[float, float]:
    """The range of depths that was searched, or that of the view's depths where none is told."""
    depth, camera = network.view(view).depth, network.view(view).camera
    known = depth[np.isfinite(depth) & (depth > 0)]
    limits = camera.depth_range(DEPTHS) if len(camera.depth_line) >= 2 else (0.0, 0.0)
    if not 0 < limits[0] < limits[1]:
        limits = (float(known.min()), float(known.max())) if len(known) else (1.0, 1.0)
    return limits


def _pass_folder(number: int | str) -> str:
    return f"depth_pass_{number}"

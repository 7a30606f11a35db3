"""One cloud of a scan's depth maps, as settings say."""

import dataclasses
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from datasets.files import write_json
from datasets.layouts.base import Layout
from datasets.predictions import Predictions
from datasets.records import digest, image_stamp, read_record
from datasets.results import (
    DEPTH_FOLDER,
    FUSION_RECORD,
    UNITS,
    cloud_files,
    cloud_path,
    network_folder,
    units_path,
)
from datasets.units import Units, read_units, write_units
from fusion.builtin import scan_points
from fusion.cleaning import cleaned_points, needed_columns
from fusion.clouds import Points, ViewPoints
from fusion.consistency import dynamic_check, normal_check
from fusion.filters import filtered_views
from fusion.finish import CloudReport, finish_cloud
from fusion.fusibile import binary_points
from fusion.standing import standing
from tools.prediction.settings import FusionSettings

# What decides which pixels become points; reports show these by it.
_RECORDED = (
    "method",
    "prob_threshold",
    "disp_threshold",
    "agree_widths",
    "num_consistent",
    "sources",
    "conf",
    "thres_view",
    "refined",
)

# Counted up when the same settings give another cloud.
_VERSION = 1


def fuse(
    outdir: Path, layout: Layout, scan: str, settings: FusionSettings, device: torch.device | None = None
) -> CloudReport:
    """Fuse the depth maps of a scan folder in `outdir` into its cloud (datasets.results).

    A cloud that is there and was made from the same maps with the same settings stays. The settings, and what came of
    them, are kept in the scan folder once the cloud is written.
    `device` is where the built-in fuser computes. The cloud may be empty. Raises DataError when a file is missing or
    damaged, a view was not predicted, or a CUDA program fails.
    """
    record, ply = outdir / scan / FUSION_RECORD, cloud_path(outdir, scan)
    maps = _maps(outdir / scan, settings)
    units = read_units(outdir / scan / UNITS)
    made_from = _made_from(maps, layout, scan, settings, units)
    known = read_record(record)
    if known.get("made_from") == made_from and known.get("files") == _file_sizes(ply):
        print(f"{scan}: the cloud of these depth maps is there already", flush=True)
        return CloudReport(known["points"], known["whole"], known["removed"], known.get("thinning", "even"))
    record.unlink(missing_ok=True)  # it must not tell of another cloud
    report = _fuse(maps, layout, scan, settings, device, ply, units)
    shown = {name: getattr(settings, name) for name in _RECORDED}
    write_json(record, shown | dataclasses.asdict(report) | {"made_from": made_from, "files": _file_sizes(ply)})
    return report


def _maps(folder: Path, settings: FusionSettings) -> Predictions:
    return Predictions(folder, DEPTH_FOLDER if settings.refined else network_folder(folder))


def _made_from(maps: Predictions, layout: Layout, scan: str, settings: FusionSettings, units: Units | None) -> str:
    """The digest of all that a cloud depends on."""
    pairs = [[view, list(sources)] for view, sources in layout.pairs(scan)]
    views = []
    for view in _views_to_fuse(layout, scan):
        files = maps.files(view)
        if files.depth.exists() and files.image.exists():  # what is missing is told when it is read
            views.append([view, *maps.digests(view), image_stamp(files.image).digest])
    return digest(_VERSION, dataclasses.asdict(settings), pairs, views, None if units is None else units.record())


def _file_sizes(ply: Path) -> dict[str, int]:
    """The files of a cloud that there are, and their sizes."""
    return {path.name: path.stat().st_size for path in (*cloud_files(ply), units_path(ply)) if path.exists()}


def _fuse(
    maps: Predictions,
    layout: Layout,
    scan: str,
    settings: FusionSettings,
    device: torch.device | None,
    ply: Path,
    units: Units | None,
) -> CloudReport:
    views, removed = _views_to_fuse(layout, scan), Counter()
    if settings.program and settings.method == "gipuma":
        program = (settings.program, settings.time_limit, ply.parent, settings.cloud)
        parts = iter([binary_points(maps, views, *_thresholds(settings), *program)])
    else:
        parts = fused_points(maps, layout, scan, settings, device, removed)
    if units is None:
        return finish_cloud(ply, parts, settings.cloud, None, removed)

    def place(points: np.ndarray) -> np.ndarray:
        stood = standing(units, [maps.view(view).camera for view in views], points)
        for path in cloud_files(ply):  # killed from here on, no cloud is there that stands elsewhere
            path.unlink(missing_ok=True)
        write_units(units_path(ply), stood)
        return stood.world_T_scan

    return finish_cloud(ply, parts, settings.cloud, place, removed)


def fused_points(
    maps: Predictions,
    layout: Layout,
    scan: str,
    settings: FusionSettings,
    device: torch.device | None = None,
    removed: Counter | None = None,
) -> Iterator[Points]:
    """The points of a predicted scan, view by view, without a program: before the cloud's options, but for its columns
    and the rules of cleaning that look at views. `removed` counts what these took."""
    views = _fused_views(maps, layout, scan, settings, device)
    return cleaned_points(views, settings.cloud, maps.folder, removed)


def _fused_views(
    maps: Predictions, layout: Layout, scan: str, settings: FusionSettings, device: torch.device | None
) -> Iterator[ViewPoints]:
    options = needed_columns(settings.cloud)
    if settings.method in ("normal", "dynamic"):
        check = normal_check(thres_view=settings.thres_view) if settings.method == "normal" else dynamic_check()
        return filtered_views(maps, layout.pair_path(scan), settings.conf, check, options)
    on_gpu = device is not None and device.type == "cuda"
    views, place = _views_to_fuse(layout, scan), device if on_gpu else None
    return scan_points(maps, views, *_thresholds(settings), place, options, settings.sources, settings.agree_widths)


def _views_to_fuse(layout: Layout, scan: str) -> list[int]:
    return [view for view, sources in layout.pairs(scan) if sources]


def _thresholds(settings: FusionSettings) -> tuple[float, float, float]:
    """Those of fusibile's algorithm."""
    return settings.prob_threshold, settings.disp_threshold, settings.num_consistent


def why_empty(settings: FusionSettings) -> str:
    """What to try when no point survived."""
    advice = {
        "gipuma": "lower --prob_threshold or --num_consistent, or raise --disp_threshold",
        "normal": "lower --conf or --thres_view",
        "dynamic": "lower --conf",
    }[settings.method]
    return f"no point survived; {advice}" + (", or enlarge --bbox" if settings.cloud.bbox else "")

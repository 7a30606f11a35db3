"""One cloud of a scan's depth maps, as settings say."""

from collections.abc import Iterator
from pathlib import Path

import torch

from datasets.files import write_json
from datasets.layouts.base import Layout
from datasets.predictions import Predictions
from datasets.results import DEPTH_FOLDER, FUSION_RECORD, cloud_path, network_folder
from fusion.builtin import scan_points
from fusion.clouds import Points, write_cloud
from fusion.consistency import dynamic_check, normal_check
from fusion.filters import filtered_views
from fusion.fusibile import fuse_scan_with_binary
from tools.prediction.settings import FusionSettings

# What decides which pixels become points; reports show these by it.
_RECORDED = ("method", "prob_threshold", "disp_threshold", "num_consistent", "conf", "thres_view", "refined")


def fuse(outdir: Path, layout: Layout, scan: str, settings: FusionSettings, device: torch.device | None = None) -> int:
    """Fuse the depth maps of a scan folder in `outdir` into its cloud (datasets.results); returns the point count.

    The settings are kept in the scan folder once the cloud is written.
    `device` is where the built-in fuser computes. The cloud may be empty. Raises DataError when a file is missing or
    damaged, a view was not predicted, or a CUDA program fails.
    """
    record = outdir / scan / FUSION_RECORD
    record.unlink(missing_ok=True)  # it must not tell of another cloud
    count = _fuse(outdir, layout, scan, settings, device)
    write_json(record, {name: getattr(settings, name) for name in _RECORDED})
    return count


def _fuse(outdir: Path, layout: Layout, scan: str, settings: FusionSettings, device: torch.device | None) -> int:
    folder, ply = outdir / scan, cloud_path(outdir, scan)
    maps = Predictions(folder, DEPTH_FOLDER if settings.refined else network_folder(folder))
    if settings.program and settings.method == "gipuma":
        limits = (settings.program, settings.time_limit)
        views = _views_to_fuse(layout, scan)
        return fuse_scan_with_binary(maps, views, ply, *_thresholds(settings), *limits, settings.cloud)
    return write_cloud(ply, fused_points(maps, layout, scan, settings, device), settings.cloud)


def fused_points(
    maps: Predictions, layout: Layout, scan: str, settings: FusionSettings, device: torch.device | None = None
) -> Iterator[Points]:
    """The points of a predicted scan, view by view, before the cloud's options but for normals; without a program."""
    normals = settings.cloud.normals
    if settings.method in ("normal", "dynamic"):
        check = normal_check(thres_view=settings.thres_view) if settings.method == "normal" else dynamic_check()
        return filtered_views(maps, layout.pair_path(scan), settings.conf, check, normals)
    on_gpu = device is not None and device.type == "cuda"
    return scan_points(maps, _views_to_fuse(layout, scan), *_thresholds(settings), device if on_gpu else None, normals)


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

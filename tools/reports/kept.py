"""Which pixels of a scan are in its cloud, and by which thresholds: those that its record tells, or a check's."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from datasets.predictions import Predictions
from datasets.records import read_record
from datasets.results import DEPTH_FOLDER, FUSION_RECORD, is_refined, network_folder
from fusion.builtin import fuse_views, read_views
from fusion.consistency import dynamic_check, normal_check
from fusion.others import other_views
from tools.evaluation.scan_results import ScanResult
from tools.prediction.settings import FusionSettings
from tools.reports.settings import ReportSettings

# Of the check where neither the flags nor a record tell.
_THRES_VIEW = 3


class Masks(NamedTuple):
    """Two masks [H, W] of a view: pixels that other views confirm, and pixels of enough confidence."""

    confirmed: np.ndarray
    confident: np.ndarray


@dataclasses.dataclass(frozen=True)
class KeptPixels:
    """The thresholds in a sentence, and the masks of a view by its number."""

    words: str
    masks: Callable[[int], Masks]


def kept_pixels(result: ScanResult, settings: ReportSettings) -> KeptPixels:
    """By the check that the flags name; else by the fusion that made the scan's cloud; else by the normal check."""
    given = (settings.check, settings.thres_view, settings.conf)
    record = read_record(result.folder / FUSION_RECORD) if result.cloud_path.exists() else {}
    fusion = _recorded_fusion(record)
    if fusion is None or given != (None, None, None):
        conf = FusionSettings.conf if settings.conf is None else settings.conf
        views = _THRES_VIEW if settings.thres_view is None else settings.thres_view
        kept = _checked(result, FusionSettings(settings.check or "normal", conf=conf, thres_view=views))
        words = "" if given != (None, None, None) else " What made the cloud is not recorded."
    else:
        kept = _fused(result, fusion) if fusion.method == "gipuma" else _checked(result, fusion)
        words = " So the cloud was made."
        if is_refined(result.folder) and not fusion.refined:
            words = " So the cloud was made, of the depth before its refinement."
    if settings.testpath is None and "views confirm" in kept.words:
        words += " Without --testpath every view is compared with its nearest."
    return dataclasses.replace(kept, words=kept.words + words)


def _recorded_fusion(record: Mapping[str, Any]) -> FusionSettings | None:
    """The settings of a fusion as it was recorded; None where there is no record, or one of something else."""
    kinds = {"method": str, "refined": bool, "thres_view": int, "sources": int}
    record = {"sources": 0, "agree_widths": 0, **record}  # of a run before there was a choice
    numbers = ("prob_threshold", "disp_threshold", "agree_widths", "num_consistent", "conf")
    kinds |= dict.fromkeys(numbers, (int, float))
    if not all(isinstance(record.get(name), kind) for name, kind in kinds.items()):
        return None
    if record["method"] not in ("gipuma", "normal", "dynamic") or min(record["thres_view"], record["sources"]) < 0:
        return None
    if not all(math.isfinite(record[name]) for name in kinds if name != "method"):
        return None
    return FusionSettings(**{name: record[name] for name in kinds})


def _checked(result: ScanResult, fusion: FusionSettings) -> KeptPixels:
    """What the normal or the dynamic check keeps."""
    words = f"Kept are pixels of more than {fusion.conf:g} confidence that "
    if fusion.method == "normal":
        check = normal_check(thres_view=fusion.thres_view)
        words += f"{fusion.thres_view} other views confirm, within {check.pixel_thresholds[0]:g} pixel and "
        words += f"{100 * check.depth_thresholds[0]:g}\u00a0% of the depth."
    else:
        check = dynamic_check()
        words += "other views confirm by the dynamic check: the more of them, the less exactly."
    return KeptPixels(words, lambda view: Masks(*result.trusted(view, check, fusion.conf)))


def _fused(result: ScanResult, fusion: FusionSettings) -> KeptPixels:
    """What gipuma's fusion keeps: the pixels of all views that become points, found when first asked for."""
    folder = DEPTH_FOLDER if fusion.refined else network_folder(result.folder)
    maps = Predictions(result.folder, folder)
    found: dict[int, Masks] = {}

    def masks(view: int) -> Masks:
        if not found:
            found.update(_fused_masks(maps, result.views, fusion))
        return found[view]

    words = f"Kept are pixels of at least {fusion.prob_threshold:g} confidence that {int(fusion.num_consistent)} other "
    words += f"views confirm, within {fusion.disp_threshold:g} pixels of disparity"
    words += f" or {fusion.agree_widths:g} times what a pixel covers" if fusion.agree_widths else ""
    words += f", of the {fusion.sources} that see most of the same." if fusion.sources else "."
    return KeptPixels(words, masks)


def _fused_masks(maps: Predictions, views: list[int], fusion: FusionSettings) -> dict[int, Masks]:
    """The masks of every view. A pixel without enough confidence is never fused: whether others agree is not known."""
    depths, images, cameras = read_views(maps, views, fusion.prob_threshold)
    others = other_views(depths, cameras, fusion.sources)
    thresholds, widths = (fusion.disp_threshold, fusion.num_consistent), fusion.agree_widths
    fused = fuse_views(depths, images, cameras, *thresholds, others=others, agree_widths=widths)
    found = {}
    for view, depth, points in zip(views, depths, fused, strict=True):
        confirmed = np.zeros(depth.shape, bool)
        confirmed.flat[points.pix] = True
        confident = ~(maps.confidence(view) < np.float32(fusion.prob_threshold))  # as NaN keeps the depth
        found[view] = Masks(confirmed, confident)
    return found

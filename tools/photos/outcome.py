"""What share of the photos' pixels became points, why the others did not, and a verdict in plain words."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from datasets.predictions import Predictions
from fusion.builtin import fuse_views
from fusion.consistency import dynamic_check, normal_check
from fusion.filters import check_prediction
from fusion.others import other_views
from tools.photos.coverage import Coverage
from tools.prediction.settings import FusionSettings, PredictionSettings

_STEP = 2  # of every so many pixels in each direction one is looked at
_END = 0.005  # share of a depth range that counts as its end
_MOST_SENTENCES = 6

# From these shares on a result is good, and fair: of the photos that have a place, of the pixels that became points.
_GOOD, _FAIR = (0.8, 0.35), (0.5, 0.12)


@dataclasses.dataclass(frozen=True)
class PixelShares:
    """Shares of the pixels that are not masked, which add up to 1: those that became points, and why others did not:
    at an end of their depth range, below the least confidence, confirmed by no other photo, by too few."""

    kept: float
    range: float
    confidence: float
    alone: float
    few: float


def pixel_shares(
    predictions: Predictions, pairs: Sequence[tuple[int, list[int]]], fusion: FusionSettings
) -> PixelShares:
    """The shares over all views; `pairs`: the views with their sources, as they were predicted."""
    if fusion.method == "gipuma":
        return _shares(_fused_counts(predictions, [view for view, _ in pairs], fusion))
    return _shares(_checked_counts(predictions, pairs, fusion))


# Of one view the pixels [kept, range, confidence, alone, few].
_Counts = list[np.ndarray]


def _shares(counts: _Counts) -> PixelShares:
    total = np.sum(counts, axis=0)
    return PixelShares(*(float(share) for share in total / max(1, total.sum())))


def _fused_counts(predictions: Predictions, views: list[int], fusion: FusionSettings) -> _Counts:
    """As gipuma's fusion keeps pixels, on maps of every second row and column."""
    depths, cameras = [], []
    for view in views:
        camera = predictions.view(view).camera
        smaller = np.diag([1 / _STEP, 1 / _STEP, 1.0])
        cameras.append(dataclasses.replace(camera, K=smaller @ camera.K))
        depths.append(
            np.ascontiguousarray(predictions.thresholded_depth(view, fusion.prob_threshold)[::_STEP, ::_STEP])
        )
    images = [np.zeros((*depth.shape, 3), np.uint8) for depth in depths]
    others = other_views(depths, cameras, fusion.sources)
    disparity, widths = fusion.disp_threshold / _STEP, fusion.agree_widths / _STEP
    fused_views = fuse_views(depths, images, cameras, disparity, 0, others=others, agree_widths=widths)
    counts = []
    for view, depth, fused in zip(views, depths, fused_views, strict=True):
        agreeing = np.full(depth.shape, -1)
        agreeing.flat[fused.pix] = fused.ncons
        counts.append(_counts(predictions, view, agreeing, depth > 0, int(fusion.num_consistent)))
    return counts


def _checked_counts(
    predictions: Predictions, pairs: Sequence[tuple[int, list[int]]], fusion: FusionSettings
) -> _Counts:
    """As the normal and the dynamic check keep pixels."""
    check = normal_check(thres_view=fusion.thres_view) if fusion.method == "normal" else dynamic_check()
    counts = []
    for view, sources in pairs:
        passed = check_prediction(predictions, view, sources, check).passed[::_STEP, ::_STEP]
        confident = (predictions.confidence(view) > fusion.conf)[::_STEP, ::_STEP]
        counts.append(_counts(predictions, view, np.where(passed, 2, 1), confident, 2))
    return counts


def _counts(
    predictions: Predictions, view: int, agreeing: np.ndarray, confident: np.ndarray, needed: int
) -> np.ndarray:
    """Of a view's pixels so many as `PixelShares` tells apart; what a mask has emptied is not counted."""
    whole = predictions.view(view)
    depth = whole.depth[::_STEP, ::_STEP]
    known = depth > 0
    near, far = whole.camera.depth_range(PredictionSettings.numdepth)
    end = _END * (far - near)
    at_end = known & ((depth <= near + end) | (depth >= far - end))
    kept = known & confident & (agreeing >= needed)
    left = known & ~kept
    unsure = left & ~at_end & ~confident
    alone = left & ~at_end & confident & (agreeing <= 0)
    few = left & ~at_end & confident & (agreeing > 0)
    return np.array([kept.sum(), (left & at_end).sum(), unsure.sum(), alone.sum(), few.sum()], np.int64)


# ---------------------------------------------------------------- the verdict


@dataclasses.dataclass(frozen=True)
class Verdict:
    """How good a result is: "good", "fair" or "poor", why, and what to do."""

    verdict: str
    sentences: tuple[str, ...]
    advice: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """It as verdict.json has it."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}

    def __str__(self) -> str:
        return "\n".join(
            [f"verdict: {self.verdict}. {' '.join(self.sentences)}", *(f"- {each}" for each in self.advice)]
        )


def judge(photos: int, placed: int, points: int, shares: PixelShares, coverage: Coverage | None) -> Verdict:
    """The verdict on so many photos, of which `placed` have a depth map, and `points` of a cloud."""
    reached = (placed / max(1, photos), shares.kept)
    kind = "poor"
    for name, limits in (("good", _GOOD), ("fair", _FAIR)):
        if all(value >= least for value, least in zip(reached, limits, strict=True)):
            kind = name
            break
    sentences = [
        f"{placed} of {photos} photos found their place."
        if placed < photos
        else f"All {photos} photos found their place.",
        f"{shares.kept:.0%} of their pixels became points, {points:,} in all.",
    ]
    if points == 0:
        kind = "poor"
    reasons = {
        "no other photo confirms their depth": shares.alone,
        "too few photos confirm their depth": shares.few,
        "their depth is unsure": shares.confidence,
        "they lie nearer or farther than what the photos share": shares.range,
    }
    told = [
        f"{share:.0%}: {words}" for words, share in sorted(reasons.items(), key=lambda item: -item[1]) if share > 0.02
    ]
    if told:
        sentences.append(f"The others did not ({'; '.join(told)}).")
    return Verdict(kind, tuple(sentences), tuple(_advice(photos, placed, shares, coverage)[:_MOST_SENTENCES]))


def _advice(photos: int, placed: int, shares: PixelShares, coverage: Coverage | None) -> list[str]:
    advice = []
    if placed < photos:
        advice.append(
            "photos without a place: take some between them and the others, each sharing two thirds with the next"
        )
    if coverage is not None:
        advice += coverage.advice()
    lacking = shares.alone + shares.few
    if coverage is not None and coverage.is_thin and lacking > 0.3:
        advice.append("most things are seen by too few photos: take one every few steps, about ten degrees apart")
    elif lacking > 0.5:
        advice.append("bare walls, glass, shiny and moving things have no depth; others: come nearer, walk around them")
    if shares.confidence > 0.3:
        advice.append(
            "where nothing has texture (sky, bare walls, shadow) depth is unsure: even light and sharp photos help"
        )
    return advice

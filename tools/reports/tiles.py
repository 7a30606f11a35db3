"""The pictures of a view, on colour scales that a page shares."""

import dataclasses

import cv2
import numpy as np

from datasets.formats.images import colour_map
from tools.evaluation.scan_results import ScanResult
from tools.reports.kept import Masks
from tools.reports.pictures import write_words

# What the check says of a pixel, and its colour.
CHECK_COLOURS = {
    "kept": (42, 157, 143),
    "not confirmed": (233, 196, 106),
    "not confident": (231, 111, 81),
    "neither": (125, 130, 145),
}
_UNKNOWN = (225, 228, 234)
_BAR_HEIGHT = 40

_STRIP_PIXELS = 4_000_000  # of the squares around all photos of a strip
_SMALLEST_IN_STRIP = 120  # pixels of the longest side


@dataclasses.dataclass(frozen=True)
class Scale:
    """A colour scale: limits, their unit ("" for none), and OpenCV's colour map."""

    low: float
    high: float
    unit: str
    colours: int

    def picture(self, values: np.ndarray) -> np.ndarray:
        """RGB uint8 [H, W, 3] of a map; what is not positive is black."""
        return colour_map(values, self.low, self.high, self.colours)

    def samples(self, count: int) -> np.ndarray:
        """So many of its colours, from low to high, RGB uint8 [count, 3]."""
        ramp = np.linspace(0, 255, count).round().astype(np.uint8)[None]
        return np.ascontiguousarray(cv2.applyColorMap(ramp, self.colours)[0, :, ::-1])


@dataclasses.dataclass(frozen=True)
class Scales:
    """The scales of a scan's pictures."""

    depth: Scale
    error: Scale
    confidence: Scale


@dataclasses.dataclass(frozen=True)
class Tile:
    """A picture of a view: what it shows, the scale that its colours belong to ("" for none), RGB uint8 [h, w, 3]."""

    title: str
    scale: str
    picture: np.ndarray


def make_scales(depth_limits: tuple[float, float], largest_error: float, unit: str) -> Scales:
    """Scales in the unit of the depths."""
    return Scales(
        Scale(*depth_limits, unit, cv2.COLORMAP_TURBO),
        Scale(0.0, largest_error, unit, cv2.COLORMAP_INFERNO),
        Scale(0.0, 1.0, "", cv2.COLORMAP_VIRIDIS),
    )


def view_tiles(result: ScanResult, view: int, scales: Scales, masks: Masks, longest: int) -> list[Tile]:
    """The pictures of a view: image, depth, true depth and error where it is known, confidence, and the check's mask.

    Larger ones are reduced until no side is longer than `longest` pixels.
    """
    image, depth, truth = result.predictions.image(view), result.depth(view), result.truth(view)
    size = _fitting(depth.shape, longest)
    tiles = [Tile("image", "", cv2.resize(image, size, interpolation=cv2.INTER_AREA))]
    tiles.append(Tile("depth", "depth", scales.depth.picture(_reduced(depth, size))))
    if truth is not None:
        truth, depth = _reduced(truth, size), _reduced(depth, size)
        tiles.append(Tile("true depth", "depth", scales.depth.picture(truth)))
        error = scales.error.picture(np.abs(depth - truth) + np.finfo(np.float32).tiny)
        tiles.append(Tile("error", "error", np.where(truth[..., None] > 0, error, np.uint8(_UNKNOWN))))
    confidence = np.nan_to_num(result.predictions.confidence(view))
    tiles.append(Tile("confidence", "confidence", scales.confidence.picture(_reduced(confidence, size))))
    tiles.append(Tile("check", "check", check_picture(*(_reduced(mask.astype(np.uint8), size) for mask in masks))))
    return tiles


def strip_pictures(result: ScanResult, views: list[int], longest: int) -> dict[int, np.ndarray]:
    """Small photos of views, RGB uint8: the more there are, the smaller, so that all together take about as much."""
    side = int(np.sqrt(_STRIP_PIXELS / max(1, len(views))).clip(_SMALLEST_IN_STRIP, longest))
    pictures = {}
    for view in views:
        image = result.predictions.image(view)
        pictures[view] = cv2.resize(image, _fitting(image.shape[:2], side), interpolation=cv2.INTER_AREA)
    return pictures


def check_picture(confirmed: np.ndarray, confident: np.ndarray) -> np.ndarray:
    """RGB uint8 picture of two masks [H, W] in CHECK_COLOURS."""
    kept, unconfirmed, unsure, neither = CHECK_COLOURS.values()
    palette = np.array([[neither, unconfirmed], [unsure, kept]], np.uint8)
    return palette[(confirmed > 0).astype(int), (confident > 0).astype(int)]


def _fitting(shape: tuple[int, int], longest: int) -> tuple[int, int]:
    """(width, height) of a map [H, W] reduced to fit."""
    share = min(1.0, longest / max(shape))
    return max(1, round(shape[1] * share)), max(1, round(shape[0] * share))


def _reduced(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return cv2.resize(values, size, interpolation=cv2.INTER_NEAREST)


def legend_bar(scales: dict[str, Scale], width: int) -> np.ndarray:
    """RGB uint8 strip with the named scales side by side, their limits beneath, and the colours of the check."""
    strip = np.full((_BAR_HEIGHT, width, 3), 255, np.uint8)
    each = width // (len(scales) + 1)
    for i, (name, scale) in enumerate(scales.items()):
        left, long = i * each + 8, max(8, each - 16)
        strip[4:16, left : left + long] = scale.samples(long)
        words = f"{name}: {scale.low:.4g} to {scale.high:.4g} {scale.unit}"
        write_words(strip, words, (left, 31))
    for i, (name, color) in enumerate(CHECK_COLOURS.items()):
        left, top = len(scales) * each + 8 + i // 2 * each // 2, 5 + i % 2 * 17
        strip[top : top + 10, left : left + 10] = color
        write_words(strip, name, (left + 15, top + 9))
    return strip

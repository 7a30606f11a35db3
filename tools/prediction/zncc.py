"""Depth by a plain plane sweep with ZNCC: no network, no training; what a network has to beat."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch

from datasets.sample import View
from models.plane_sweep.definition import relative_projection, warp_to_hypotheses

# Added to variances of grey values in 0..1: a quarter of a grey level, squared. Keeps rounding out of flat windows.
_FLAT = 1e-6


_UNSEEN = -1.0  # the score of a window that lies partly outside the source; no score is lower


_WHOLE = 0.999


class Patches:
    """The windows around every pixel of a grey image float32 [H, W] in 0..1, mirrored at its border."""

    def __init__(self, image: np.ndarray, window: int) -> None:
        self.image, self._size = image, (window, window)
        self.mean = self.averaged(image)
        self.variance = np.maximum(self.averaged(image * image) - self.mean * self.mean, 0) + _FLAT

    def averaged(self, values: np.ndarray) -> np.ndarray:
        """The mean [H, W] of values [H, W] in every window."""
        return cv2.blur(values, self._size)

    def zncc(self, other: "Patches") -> np.ndarray:
        """Zero-mean normalised cross-correlation [H, W] in -1..1 with the windows of another image of this size."""
        covariance = self.averaged(self.image * other.image) - self.mean * other.mean
        return covariance / np.sqrt(self.variance * other.variance)


class Peaks:
    """The highest of a sequence of score maps [H, W], with its neighbours in the sequence, in the memory of five maps.

    Only scores above `least` count.
    """

    def __init__(self, shape: tuple[int, int], least: float) -> None:
        self.index = np.full(shape, -1)
        self.score = np.full(shape, least, np.float32)
        self._before, self._after, self._last = (np.full(shape, np.nan, np.float32) for _ in range(3))

    def add(self, index: int, score: np.ndarray) -> None:
        """The next map, number `index` from 0 on."""
        follows, better = self.index == index - 1, score > self.score
        np.copyto(self._after, score, where=follows)
        np.copyto(self._before, self._last, where=better)
        np.copyto(self._after, np.nan, where=better)
        np.copyto(self.score, score, where=better)
        self.index[better] = index
        self._last = score

    def position(self) -> np.ndarray:
        """Where in the sequence the peak of the parabola through the three scores lies [H, W]; -1 where none counted.

        Within half a step of the highest score, which itself is the answer at either end of the sequence.
        """
        curvature = self._before - 2 * self.score + self._after
        with np.errstate(divide="ignore", invalid="ignore"):
            offset = np.nan_to_num((self._before - self._after) / (2 * curvature), posinf=0, neginf=0)
        return self.index + offset


def inverse_depths(nearest: float, farthest: float, count: int) -> np.ndarray:
    """`count` inverse depths in equal steps, from that of the nearest to that of the farthest depth."""
    return np.linspace(1 / nearest, 1 / farthest, count)


@torch.inference_mode()
def sweep(views: Sequence[View], inverse: np.ndarray, window: int, best: int) -> tuple[np.ndarray, np.ndarray]:
    """Depth and score, each float32 [H, W], of the first of the views, whose images are of one size.

    inverse: increasing or decreasing inverse depths in equal steps; depth is 0 where no source sees the pixel at any.
    """
    images = [cv2.cvtColor(view.image, cv2.COLOR_RGB2GRAY) for view in views]
    reference, sources = Patches(images[0], window), torch.from_numpy(np.stack(images[1:]))
    projections = torch.from_numpy(np.stack([view.camera.projection() for view in views]))
    src_T_ref = relative_projection(projections[1:], projections[0]).float()
    # A second channel of ones tells, warped with the image, where the source sees something.
    sources = torch.stack([sources, torch.ones_like(sources)], dim=1)
    peaks = Peaks(images[0].shape, _UNSEEN)
    for index, value in enumerate(inverse):
        hypothesis = torch.full((len(sources), 1, *images[0].shape), 1 / value)
        warped = warp_to_hypotheses(sources, src_T_ref, hypothesis)[:, :, 0].numpy()
        peaks.add(index, _mean_of_best([_score(reference, *pair, window) for pair in warped], best))
    position = peaks.position()
    found = np.interp(position, np.arange(len(inverse)), inverse)
    return np.where(position < 0, 0, 1 / found).astype(np.float32), peaks.score


def _score(reference: Patches, warped: np.ndarray, seen: np.ndarray, window: int) -> np.ndarray:
    """Scores [H, W] of a source's grey image warped into the reference; `seen` [H, W] is 1 where it is inside."""
    return np.where(reference.averaged(seen) > _WHOLE, reference.zncc(Patches(warped, window)), np.float32(_UNSEEN))


def _mean_of_best(scores: list[np.ndarray], best: int) -> np.ndarray:
    """Mean [H, W] of the highest `best` of the scores at each pixel, of all where there are fewer."""
    return torch.from_numpy(np.stack(scores)).topk(min(best, len(scores)), dim=0).values.mean(dim=0).numpy()

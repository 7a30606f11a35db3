"""fusion.photo_consistency on a torch device, for CUDA: the same results as numba's, but for rounding.

Few pixels have candidates that differ, so what is compared are lists of pixels, each with a plane.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fusion.consensus import TOLERANCE
from fusion.consensus_torch import agreement
from fusion.photo_consistency import (
    ALONE,
    BESIDE,
    BEST,
    BLIND,
    BRIGHTNESS,
    CONFIRMED,
    HIDDEN,
    MOST_STRETCHED,
    NOISE,
    OWN_AHEAD,
    PHOTOS,
    RING,
    SAME,
    SLOPE_MOST,
    SLOPE_REACH,
    SPREAD,
    UNSEEN,
    WINDOW_REACH,
    WINDOW_STEP,
    brightness_of,
    photos_of,
)
from fusion.sources_torch import SourcesOnDevice

# So many pixels are compared at a time: all samples of their windows are in memory at once.
_AT_A_TIME = 1 << 18
_STEPS = range(-WINDOW_REACH, WINDOW_REACH + 1, WINDOW_STEP)
_SAMPLES = tuple((down, right) for down in _STEPS for right in _STEPS)


@torch.inference_mode()
def photo_consistent_depth(
    depth: np.ndarray, image: np.ndarray, sources: SourcesOnDevice, images: Sequence[np.ndarray]
) -> np.ndarray:
    """As fusion.photo_consistency.photo_consistent_depth."""
    if not len(sources) or not images:
        return np.array(depth, np.float32)
    photos = _Photos(image, sources, images)
    depth = torch.tensor(depth, dtype=torch.float32, device=sources.device)
    planes = _planes(depth)
    pixels, candidates = _distinct(planes, sources.carried)
    own = torch.unique(pixels)
    pixels = torch.cat((own, pixels))
    candidates = torch.cat((planes.flatten(1)[:, own], candidates), dim=1)
    support, matches = photos.compare(pixels, candidates)
    score = support + PHOTOS * _mean_of_best(matches)
    # Their own is ahead, and all that counts near this camera: the others pass it by, and see what is behind.
    nobody = (matches[:, : len(own)] == BESIDE).all(dim=0)
    score[: len(own)] = (score[: len(own)] + OWN_AHEAD).where(~nobody, torch.inf)
    chosen, best = depth.flatten().clone(), _first_best(score, pixels, depth.numel())
    best = best[best >= len(own)]
    chosen[pixels[best]] = 1 / candidates[0, best]
    return chosen.view(depth.shape).cpu().numpy()


@torch.inference_mode()
def confirmation(
    depth: np.ndarray, image: np.ndarray, sources: SourcesOnDevice, images: Sequence[np.ndarray]
) -> np.ndarray:
    """As fusion.photo_consistency.confirmation."""
    if not len(sources):
        return np.zeros(depth.shape, np.float32)
    photos = _Photos(image, sources, images)
    planes = _planes(torch.tensor(depth, dtype=torch.float32, device=sources.device))
    height, width = depth.shape
    pixels = (planes[0] > 0).flatten().nonzero()[:, 0]
    support, _ = photos.compare(pixels, planes.flatten(1)[:, pixels], ask=False)
    blocks = pixels // width // 2 * ((width + 1) // 2) + pixels % width // 2
    # The photos are asked for the first pixel of a block, as numba does.
    first = pixels.new_full((((height + 1) // 2) * ((width + 1) // 2),), height * width)
    first = first.scatter_reduce(0, blocks, pixels, "amin")
    asked = first[first < height * width]
    _, matches = photos.compare(asked, planes.flatten(1)[:, asked])
    share = torch.zeros_like(first, dtype=torch.float64)
    share[first < height * width] = BLIND + (1 - BLIND) * _mean_of_best(matches)
    confirmed = torch.zeros(height * width, device=sources.device)
    confirmed[pixels] = (CONFIRMED * support.clamp(min=0) * share[blocks]).float()
    return confirmed.view(height, width).cpu().numpy()


def _planes(depth: Tensor) -> Tensor:
    """Inverse depth, 0 where there is none, and its change to the right and down [3, H, W]."""
    inverse = (1 / depth).where((depth > 0) & (depth < torch.inf), 0)
    planes = [inverse]
    for axis in (1, 0):
        total, count = torch.zeros_like(inverse), torch.full_like(inverse, 1e-9)
        for k in range(-SLOPE_REACH, SLOPE_REACH + 1):
            there, exists = _shifted(inverse[None], *((0, k) if axis == 1 else (k, 0)))
            change = there[0] - inverse
            counted = exists & (change.abs() < SLOPE_MOST * abs(k) * inverse)
            total += (k * change).where(counted, 0)
            count += k * k * counted
        planes.append(total / count)
    return torch.stack(planes)


def _shifted(values: Tensor, down: int, right: int) -> tuple[Tensor, Tensor]:
    """What values [C, H, W] are so many pixels away, 0 beyond the border [C, H, W]; and where that is inside [H, W]."""
    height, width = values.shape[-2:]
    reach = max(abs(down), abs(right))
    rows, columns = slice(reach + down, reach + down + height), slice(reach + right, reach + right + width)
    inside = F.pad(torch.ones_like(values[0], dtype=torch.bool), (reach,) * 4)[rows, columns]
    return F.pad(values, (reach,) * 4)[:, rows, columns], inside


def _distinct(planes: Tensor, carried: Tensor) -> tuple[Tensor, Tensor]:
    """The candidates that are not much like one before: pixels [n] and their planes [3, n]."""
    candidates, listed = list(_candidates(planes, carried)), []
    known = planes.new_zeros((1 + len(candidates), *planes.shape[1:]))
    known[0] = planes[0]
    for number, candidate in enumerate(candidates, 1):
        inverse = candidate[0]
        new = (planes[0] > 0) & (inverse > 0) & (inverse < torch.inf)
        new &= ((known[:number] - inverse).abs() >= SAME * inverse).all(dim=0)
        known[number] = inverse.where(new, 0)
        pixels = new.flatten().nonzero()[:, 0]
        listed.append((pixels, candidate.flatten(1)[:, pixels]))
    return torch.cat([pixels for pixels, _ in listed]), torch.cat([plane for _, plane in listed], dim=1)


def _first_best(score: Tensor, pixels: Tensor, count: int) -> Tensor:
    """Of `count` pixels those that are among `pixels` [n]: where their largest score [n] stands first."""
    most = score.new_full((count,), -torch.inf).scatter_reduce(0, pixels, score, "amax")
    places = torch.arange(len(pixels), device=pixels.device)
    first = places.new_full((count + 1,), len(pixels))
    first = first.scatter_reduce(0, pixels.where(score == most[pixels], count), places, "amin")[:count]
    return first[first < len(pixels)]


def _candidates(planes: Tensor, carried: Tensor) -> Iterator[Tensor]:
    """The planes [3, H, W] a few pixels away and what the sources see; inverse depth is 0 where there is none."""
    for k in RING:
        for down, right in ((0, k), (0, -k), (k, 0), (-k, 0)):
            inverse, to_right, downwards = _shifted(planes, down, right)[0]
            continued = (inverse - to_right * right - downwards * down).where(inverse > 0, 0)
            yield torch.stack((continued, to_right, downwards))
    for depth in carried[..., 0]:
        yield torch.stack(((1 / depth).where(depth > 0, 0), planes[1], planes[2]))


class _Window(NamedTuple):
    """Of n pixels: how much each sample around them counts [samples, n], 1 in all; that times its brightness less the
    mean; and the variance [n]."""

    weight: Tensor
    weighted: Tensor
    contrast: Tensor


class _Photos:
    """The reference's brightness and that of its first sources, compared at lists of pixels."""

    def __init__(self, image: np.ndarray, sources: SourcesOnDevice, images: Sequence[np.ndarray]) -> None:
        self._photo = torch.tensor(brightness_of(image), device=sources.device)
        self._photos = torch.tensor(photos_of(sources, images), device=sources.device)
        self._sources = sources
        self._src_T_ref = sources.src_T_ref[..., None]
        self._sizes = torch.tensor(sources.sizes, device=sources.device).T[..., None]

    def compare(self, pixels: Tensor, planes: Tensor, ask: bool = True) -> tuple[Tensor, Tensor]:
        """The support [n] of planes [3, n] at pixels [n] by the sources' depth, and how well their photos show the
        pixels' windows there [s, n], 0 to 1, negative where they cannot: BESIDE where they lie beside the photo. Not to
        `ask` the photos is faster."""
        parts = zip(pixels.split(_AT_A_TIME), planes.split(_AT_A_TIME, dim=1), strict=True)
        found = [self._compare(*part, len(self._photos) if ask else 0) for part in parts]
        return torch.cat([support for support, _ in found]), torch.cat([matches for _, matches in found], dim=1)

    def _compare(self, pixels: Tensor, planes: Tensor, asked: int) -> tuple[Tensor, Tensor]:
        width = self._photo.shape[1]
        x, y, (inverse, right, down) = (pixels % width).double(), (pixels // width).double(), planes.double()
        A, h, w = self._src_T_ref, *self._sizes
        u, v, z = (A[:, i, 0] * x + A[:, i, 1] * y + A[:, i, 2] + A[:, i, 3] * inverse for i in range(3))  # [S, n]
        u, v = u / z, v / z
        inside = (z > 0) & (u >= 0) & (u < w - 1) & (v >= 0) & (v < h - 1)
        u, v, depth = u.where(inside, 0), v.where(inside, 0), z / inverse
        number = torch.arange(len(A), device=pixels.device)[:, None]
        found, sure = self._sources.seen[number, (v + 0.5).long(), (u + 0.5).long()].unbind(-1)
        support = (sure * agreement(found, depth, TOLERANCE)).where(inside & (found > 0), 0).sum(dim=0)
        if not asked:
            return support, pixels.new_zeros((0, len(pixels)), dtype=torch.float64)
        A, u, v, z, depth, found, inside = (values[:asked] for values in (A, u, v, z, depth, found, inside))
        # How the position changes to the right and down on the plane: over a few pixels evenly.
        along = [[A[:, i, k] + A[:, i, 3] * slope for k, slope in enumerate((right, down))] for i in range(3)]
        steps = [(along[i][k] - t * along[2][k]) / z for i, t in enumerate((u, v)) for k in (0, 1)]
        even = sum(step.abs() for step in steps) < MOST_STRETCHED  # false for NaN
        hidden = (found > 0) & (found < (1 - HIDDEN) * depth)
        window = self._windows(pixels)
        correlations = [self._correlation(s, window, u[s], v[s], [step[s] for step in steps]) for s in range(asked)]
        matches = torch.exp(-torch.square(1 - torch.stack(correlations)) / (2 * SPREAD * SPREAD)).double()
        return support, matches.where(even & ~hidden, UNSEEN).where(inside, BESIDE)

    def _windows(self, pixels: Tensor) -> _Window:
        height, width = self._photo.shape
        down, right = torch.tensor(_SAMPLES, device=pixels.device).T[..., None]
        x, y, flat = pixels % width + right, pixels // width + down, self._photo.flatten()
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        value = flat[(y * width + x).where(inside, 0)]
        far = (down * down + right * right) / (2.0 * WINDOW_REACH * WINDOW_REACH)
        weight = torch.exp(-far - (value - flat[pixels]).abs() / BRIGHTNESS).where(inside, 0)
        weight /= weight.sum(dim=0)
        mean = (weight * value).sum(dim=0)
        weighted = weight * (value - mean)
        return _Window(weight, weighted, (weighted * (value - mean)).sum(dim=0))

    def _correlation(self, s: int, window: _Window, u: Tensor, v: Tensor, steps: Sequence[Tensor]) -> Tensor:
        """The correlation [n], -1 to 1, of windows with photo s around positions (u, v) [n], on whose planes (ux, vx)
        and (uy, vy) of the steps lead to the sample's neighbours to the right and down. Beyond the photo its border
        counts."""
        (height, width), photo = self._sources.sizes[s], self._photos[s].flatten()
        stride = self._photos.shape[2]
        down, right = torch.tensor(_SAMPLES, dtype=torch.float64, device=u.device).T[..., None]
        ux, uy, vx, vy = steps
        column = (u + ux * right + uy * down).float().nan_to_num(0).clamp(0, width - 1)
        row = (v + vx * right + vy * down).float().nan_to_num(0).clamp(0, height - 1)
        left, top = column.long().clamp(max=width - 2), row.long().clamp(max=height - 2)
        first = top * stride + left
        across, along = column - left, row - top
        a, b, c, d = (photo[first + shift] for shift in (0, 1, stride, stride + 1))
        upper, lower = a + (b - a) * across, c + (d - c) * across
        value = upper + (lower - upper) * along
        mean = (window.weight * value).sum(dim=0)
        variance = (window.weight * torch.square(value - mean)).sum(dim=0)
        both = (window.weighted * value).sum(dim=0)
        return both / torch.sqrt((variance + NOISE) * (window.contrast + NOISE))


def _mean_of_best(matches: Tensor) -> Tensor:
    """The mean of the best few of the matches [s, n] that are not negative; 0 without one. One alone counts less."""
    if not len(matches):
        return matches.new_zeros(matches.shape[1])
    best = matches.topk(min(BEST, len(matches)), dim=0).values
    count = (best >= 0).sum(dim=0)
    return best.clamp(min=0).sum(dim=0) / count.clamp(min=1) * torch.where(count == 1, ALONE, 1.0)

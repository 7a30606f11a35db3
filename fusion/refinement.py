"""The passes of refinement, by numba on the CPU or by torch on a device. In the last one depth that other views see,
where none does the surfaces around it continued, then that at which the photos agree, and last the mean of what the
views agree on; and how sure that makes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fusion import agreement, consensus, photo_consistency
from fusion.continuation import Fits, continued
from fusion.sources import Sources

if TYPE_CHECKING:
    import torch

    from fusion.sources_torch import SourcesOnDevice

# Names what a pass does: maps that were refined in another way are made anew.
METHOD = "support, crossing, planes, photos, means, confidence"

# A pixel keeps its depth where it is supported so much, in units of confidence; in a fit of a plane it counts by its
# support to this power. 0.005 to 0.2 and 0.4 to 2 were tried on photographs and rendered scenes. What is supported a
# little is noisy, but a plane may be off as a whole: with 0.07, planes took 3 % of a room's pixels over 5 % away.
_ENOUGH, _POWER = 0.01, 1.5


class Surroundings(NamedTuple):
    """What is known beside depth: the reference's image, RGB uint8 [H, W, 3], the nearest and the farthest depth of
    planes, and the images of the sources (fusion.photo_consistency says how many); without any no photos are
    compared."""

    image: np.ndarray
    limits: tuple[float, float]
    images: Sequence[np.ndarray] = ()


def supported_map(depth: np.ndarray, sources: Sources, spacing: int, device: torch.device | None = None) -> np.ndarray:
    """The reference's depth [H, W] float32 after a pass before the last (fusion.consensus.supported_depth)."""
    if device is None:
        return consensus.supported_depth(depth, sources, spacing)
    from fusion import consensus_torch
    from fusion.sources_torch import SourcesOnDevice

    return consensus_torch.supported_depth(depth, SourcesOnDevice(sources, device), spacing)


def finished_maps(
    depth: np.ndarray,
    confidence: np.ndarray,
    sources: Sources,
    surroundings: Surroundings,
    device: torch.device | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The reference's depth [H, W] float32 after the last pass: each pixel's own, or what a source sees there, as far
    as it is supported; else that of a plane through the supported depths around it. Of these, of those of pixels near
    it and of what the sources see, that at which the photos agree (fusion.photo_consistency), and of that the mean with
    the sources that see nearly the same (fusion.agreement). And its confidence [H, W] float32: the reference's, and
    what the sources confirm, together up to 1.

    confidence [H, W] is the reference's, 0 to 1. Where nothing in the view is supported, or without sources, no plane
    is fitted.
    """
    steps = _by_numba(sources, surroundings.image) if device is None else _by_torch(sources, surroundings.image, device)
    depth, support = steps.crossed(depth, confidence, steps.sources)
    if not len(sources) or not (support > 0).any():
        return depth, confidence.astype(np.float32)
    valid = np.isfinite(depth) & (depth > 0)
    inverse = np.where(valid, 1 / np.where(valid, depth, 1), 0).astype(np.float32)
    planes = continued(inverse, support.clip(0) ** np.float32(_POWER), steps.fits)
    near, far = surroundings.limits
    found = (1 / planes.clip(1 / far, 1 / near)).astype(np.float32)
    finished = np.where(valid & (support > _ENOUGH), depth, found)
    photos = (surroundings.image, steps.sources, surroundings.images)
    depth = steps.agreed(steps.by_photos(finished, *photos), confidence, steps.sources)
    sure = np.minimum(confidence + steps.confirmation(depth, *photos), 1)
    return depth, np.maximum(confidence, sure).astype(np.float32)


class _Steps(NamedTuple):
    """The functions of a pass, and what they take for the sources and for the image."""

    sources: Sources | SourcesOnDevice
    fits: Fits
    crossed: Callable
    by_photos: Callable
    agreed: Callable
    confirmation: Callable


def _by_numba(sources: Sources, image: np.ndarray) -> _Steps:
    by_photos, confirmation = photo_consistency.photo_consistent_depth, photo_consistency.confirmation
    return _Steps(sources, Fits(image), consensus.crossed_depth, by_photos, agreement.agreed_depth, confirmation)


def _by_torch(sources: Sources, image: np.ndarray, device: torch.device) -> _Steps:
    from fusion import agreement_torch, consensus_torch, photo_consistency_torch
    from fusion.continuation_torch import FitsOnDevice
    from fusion.sources_torch import SourcesOnDevice

    by_photos, confirmation = photo_consistency_torch.photo_consistent_depth, photo_consistency_torch.confirmation
    there, fits = SourcesOnDevice(sources, device), FitsOnDevice(image, device)
    return _Steps(there, fits, consensus_torch.crossed_depth, by_photos, agreement_torch.agreed_depth, confirmation)

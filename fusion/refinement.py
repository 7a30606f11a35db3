"""The last pass of refinement: depth that other views see, where none does the surfaces around it continued, then that
at which the photos agree, and last the mean of what the views agree on; and how sure that makes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fusion.agreement import agreed_depth
from fusion.consensus import crossed_depth
from fusion.continuation import continued
from fusion.photo_consistency import confirmation, photo_consistent_depth
from fusion.sources import Sources

if TYPE_CHECKING:
    import torch

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
    is fitted. With a `device` torch looks there for what other views see; all else is the CPU's work in any case.
    """
    depth, support = crossed_depth(depth, confidence, sources, device)
    if not len(sources) or not (support > 0).any():
        return depth, confidence.astype(np.float32)
    valid = np.isfinite(depth) & (depth > 0)
    inverse = np.where(valid, 1 / np.where(valid, depth, 1), 0).astype(np.float32)
    planes = continued(inverse, support.clip(0) ** np.float32(_POWER), surroundings.image)
    near, far = surroundings.limits
    found = (1 / planes.clip(1 / far, 1 / near)).astype(np.float32)
    finished = np.where(valid & (support > _ENOUGH), depth, found)
    photos = (surroundings.image, sources, surroundings.images)
    depth = agreed_depth(photo_consistent_depth(finished, *photos), confidence, sources)
    return depth, np.maximum(confidence, np.minimum(confidence + confirmation(depth, *photos), 1)).astype(np.float32)

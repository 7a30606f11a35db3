"""A pass of refinement: depth that other views support, and where none does, the surfaces around it continued."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from datasets.predictions import DepthView
from fusion.consensus import crossed_depth, supported_depth
from fusion.continuation import continued

# Names what a pass does: maps that were refined in another way are made anew.
METHOD = "support, crossing, planes 1"

# A pixel keeps its depth where the sources support it so much, in units of a source's confidence.
_ENOUGH = 0.2


class Surroundings(NamedTuple):
    """What planes take: the reference's image, RGB uint8 [H, W, 3], and their nearest and farthest depth."""

    image: np.ndarray
    limits: tuple[float, float]


def refined_depth(
    reference: DepthView,
    sources: Sequence[DepthView],
    confidences: Sequence[np.ndarray],
    spacing: int = 1,
    surroundings: Surroundings | None = None,
) -> np.ndarray:
    """The reference's depth [H, W] float32 after a pass: each pixel's own, a neighbour's, or what a source sees there,
    as far as the sources support it; with `surroundings` else that of a plane through the supported depths around it.

    confidences are those of the sources, 0 to 1; `spacing` as in `supported_depth`. Where nothing in the view is
    supported, or without sources, no plane is fitted.
    """
    depth = supported_depth(reference, sources, confidences, spacing)
    depth, support = crossed_depth(DepthView(depth, reference.camera), sources, confidences)
    if surroundings is None or not (support > 0).any():
        return depth
    valid = np.isfinite(depth) & (depth > 0)
    inverse = np.where(valid, 1 / np.where(valid, depth, 1), 0).astype(np.float32)
    planes = continued(inverse, np.square(support.clip(0)), surroundings.image)
    near, far = surroundings.limits
    found = (1 / planes.clip(1 / far, 1 / near)).astype(np.float32)
    return np.where(valid & (support > _ENOUGH), depth, found)

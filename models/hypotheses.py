"""Depth hypotheses of the cascade's stages (docs/method.md, section 2).

Evenly spaced depths are the official ones. Evenly spaced inverse depths move the point that is seen along a source
view's epipolar line by about equal steps, which matters where the far end of a range is several times the near one.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from models.settings import AUTO_RATIO

# No inverse depth is below so many times that of the range's far end: the hypotheses stay in front of the camera.
_LEAST_INVERSE = 0.25


def is_inverse(spacing: str, depth_values: Tensor) -> Tensor:
    """Which samples of depth_values [B, K] are sampled in inverse depth, bool [B]; `spacing` is one of SPACINGS."""
    ratio = depth_values[:, -1] / depth_values[:, 0]
    if spacing == "auto":
        return ratio > AUTO_RATIO
    return torch.full_like(ratio, spacing == "inverse", dtype=torch.bool)


def first_hypotheses(depth_values: Tensor, count: int, size: Sequence[int], spacing: str = "linear") -> Tensor:
    """`count` depths over each sample's range, the same at every pixel: [B, count, h, w]."""
    low, high = (depth_values[:, i, None, None, None] for i in (0, -1))
    depths = _evenly_spaced(low, high, count)
    if spacing != "linear":
        inverse = is_inverse(spacing, depth_values)[:, None, None, None]
        depths = torch.where(inverse, _evenly_inverse(1 / low, 1 / high, count), depths)
    return depths.expand(-1, -1, *size)


def refined_hypotheses(
    depth: Tensor,
    count: int,
    ratio: float,
    depth_values: Tensor,
    full_size: Sequence[int],
    size: Sequence[int],
    spacing: str = "linear",
) -> Tensor:
    """`count` depths around the previous stage's depth [B, h', w'], spanning count * ratio intervals: [B, count, h, w].

    An interval is the range of depth_values [B, K], or its range of inverse depth, divided by K. The official code
    spans the hypotheses at full size and resamples that volume; they are affine in the depth, so resampling the depth
    map alone gives the same values.
    """
    depth = F.interpolate(depth[:, None], full_size, mode="bilinear", align_corners=False)
    depth = F.interpolate(depth, size, mode="bilinear", align_corners=False)
    near, far = (depth_values[:, i, None, None, None] for i in (0, -1))
    half_span = 0.5 * count * (ratio * ((far - near) / depth_values.shape[1]))
    depths = _evenly_spaced(depth - half_span, depth + half_span, count)
    if spacing != "linear":
        half_span = 0.5 * count * (ratio * ((1 / near - 1 / far) / depth_values.shape[1]))
        middle = 1 / depth.clamp(min=torch.finfo(depth.dtype).tiny)
        farthest = torch.maximum(middle - half_span, _LEAST_INVERSE / far)
        inverse = _evenly_inverse(torch.maximum(middle + half_span, farthest), farthest, count)
        depths = torch.where(is_inverse(spacing, depth_values)[:, None, None, None], inverse, depths)
    return depths


def _evenly_spaced(first: Tensor, last: Tensor, count: int) -> Tensor:
    """`count` values from first to last [B, 1, h, w] inclusive: [B, count, h, w]."""
    k = torch.arange(count, dtype=first.dtype, device=first.device)[:, None, None]
    return first + k * ((last - first) / (count - 1))


def _evenly_inverse(first: Tensor, last: Tensor, count: int) -> Tensor:
    """`count` depths whose inverses go in even steps from first to last [B, 1, h, w] inclusive: [B, count, h, w].

    The last inverse depth may be a ten thousandth of the first: it is met exactly, not reached by adding steps.
    """
    share = torch.arange(count, dtype=first.dtype, device=first.device)[:, None, None] / (count - 1)
    return 1 / torch.lerp(first, last, share)

"""fusion.agreement on a torch device, for CUDA: the same results as numba's, but for rounding."""

import numpy as np
import torch
from torch import Tensor

from fusion.agreement import SAME_SURFACE
from fusion.sources_torch import SourcesOnDevice, nearest_pixel, positions


@torch.inference_mode()
def agreed_depth(depth: np.ndarray, confidence: np.ndarray, sources: SourcesOnDevice) -> np.ndarray:
    """As fusion.agreement.agreed_depth."""
    at = torch.tensor(depth, dtype=torch.float32, device=sources.device)
    weight = torch.tensor(confidence, device=sources.device).double().nan_to_num()
    total = torch.zeros_like(weight)  # of the differences: means of equal depths are equal to them
    for seen, matrix in zip(sources.seen, sources.src_T_ref, strict=True):
        u, v, z, valid, along = positions(matrix, at)
        pixel, inside = nearest_pixel(u, v, valid, seen.shape[:2])
        found = _depth_at(seen[..., 0], u.where(inside, 0), v.where(inside, 0), pixel)
        share, change = (found - z) / (SAME_SURFACE * z), (found - z) / along
        same = inside & (share.abs() < 1) & (change.abs() < SAME_SURFACE * at)
        gain = (seen[..., 1].flatten()[pixel] * (1 - share * share)).where(same, 0)
        weight += gain
        total += (gain * change).where(same, 0)
    return (at + (total / weight).where(weight > 0, 0).float()).cpu().numpy()


def _depth_at(depth: Tensor, u: Tensor, v: Tensor, pixel: Tensor) -> Tensor:
    """The depth [h, w] at positions: between its four neighbours on a surface, that of the nearest `pixel`s where one
    of them is missing or on another."""
    height, width = depth.shape
    between = (u >= 0) & (u < width - 1) & (v >= 0) & (v < height - 1)
    left, top = u.where(between, 0).long(), v.where(between, 0).long()
    flat, first = depth.flatten(), top * width + left
    a, b, c, d = (flat[(first + shift).where(between, 0)] for shift in (0, 1, width, width + 1))
    nearest = torch.minimum(torch.minimum(a, b), torch.minimum(c, d))
    farthest = torch.maximum(torch.maximum(a, b), torch.maximum(c, d))
    smooth = between & (nearest > 0) & (farthest < (1 + SAME_SURFACE) * nearest)
    right, down = u - left, v - top
    return ((a + (b - a) * right) * (1 - down) + (c + (d - c) * right) * down).where(smooth, flat[pixel].double())

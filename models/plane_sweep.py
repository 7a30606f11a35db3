"""Plane sweep: source features sampled at depth hypotheses, and their variance as the cost volume.

Projections are [B, 4, 4] matrices P = K cam_T_world (last row 0 0 0 1) at the resolution of the maps they go with;
pixel centres lie at integers. Source: specs kdmvs section 2, "Plane sweep" and "Cost volume".
"""

import torch
import torch.nn.functional as F
from torch import Tensor

# Sampling positions are kept within a few image widths: far outside is zero in any case, and F.grid_sample wants
# finite, bounded positions on the CPU.
_FAR_OUTSIDE = 4.0
_MIN_DEPTH = 1e-6


def full_projection(proj_matrices: Tensor) -> Tensor:
    """P = K cam_T_world [..., 4, 4] from a stage's `proj_matrices` [..., 2, 4, 4] (slot 0 extrinsic, slot 1 K)."""
    extrinsic, K = proj_matrices[..., 0, :, :], proj_matrices[..., 1, :3, :3]
    return torch.cat([K @ extrinsic[..., :3, :], extrinsic[..., 3:, :]], dim=-2)


def relative_projection(src_projection: Tensor, ref_projection: Tensor) -> Tensor:
    """src_T_ref = P_src P_ref^-1 [..., 4, 4]: maps (x d, y d, d, 1) of the reference to the same of the source.

    Float32 like the official code: its depths are matched to 1e-3 mm, float64 here would move them by more.
    """
    return src_projection @ torch.linalg.inv(ref_projection)


def project_pixels(src_T_ref: Tensor, depth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Source pixel u, v and depth z, each [B, D, H, W], of the reference pixels at `depth` [B, D, H, W]."""
    height, width = depth.shape[-2:]
    y, x = torch.meshgrid(
        torch.arange(height, dtype=depth.dtype, device=depth.device),
        torch.arange(width, dtype=depth.dtype, device=depth.device),
        indexing="ij",
    )
    pixels = torch.stack([x, y, torch.ones_like(x)]).flatten(1)
    directions = (src_T_ref[:, :3, :3] @ pixels).unflatten(-1, (height, width))
    offsets = src_T_ref[:, :3, 3]
    x, y, z = (directions[:, i, None] * depth + offsets[:, i, None, None, None] for i in range(3))
    safe_z = torch.where(z.abs() < _MIN_DEPTH, _MIN_DEPTH, z)
    return x / safe_z, y / safe_z, z


def sampling_grid(u: Tensor, v: Tensor, width: int, height: int) -> Tensor:
    """Pixel positions to `F.grid_sample`'s coordinates [..., 2] for align_corners=True, bounded and finite."""
    # Divided by the half width, as in the official code: multiplying by its inverse moves depths by up to 1e-3 mm.
    grid = torch.stack([u / (max(width - 1, 1) / 2) - 1, v / (max(height - 1, 1) / 2) - 1], dim=-1)
    return torch.nan_to_num(grid, nan=_FAR_OUTSIDE).clamp(-_FAR_OUTSIDE, _FAR_OUTSIDE)


def warp_to_hypotheses(src_feature: Tensor, src_T_ref: Tensor, hypotheses: Tensor) -> Tensor:
    """Sample src_feature [B, C, Hs, Ws] where the reference pixels at hypotheses [B, D, H, W] see it: [B, C, D, H, W].

    Zero outside the source image and behind its camera. No gradient flows through the positions.
    """
    batch, channels, src_height, src_width = src_feature.shape
    depths, height, width = hypotheses.shape[1:]
    with torch.no_grad():
        u, v, z = project_pixels(src_T_ref, hypotheses)
        u = torch.where(z < _MIN_DEPTH, torch.inf, u)
        grid = sampling_grid(u, v, src_width, src_height)
    warped = F.grid_sample(
        src_feature,
        grid.view(batch, depths * height, width, 2),
        mode="bilinear",
        padding_mode="zeros",
        align_corners=True,
    )
    return warped.view(batch, channels, depths, height, width)


def variance_volume(features: Tensor, proj_matrices: Tensor, hypotheses: Tensor) -> Tensor:
    """Variance over the views' features at each hypothesis: the cost volume [B, C, D, H, W].

    features [B, N, C, H, W] (view 0 is the reference), proj_matrices [B, N, 2, 4, 4], hypotheses [B, D, H, W].
    """
    views = features.shape[1]
    projections = full_projection(proj_matrices)
    reference = features[:, 0].unsqueeze(2).expand(-1, -1, hypotheses.shape[1], -1, -1)
    total, total_squares = reference, reference.square()
    for view in range(1, views):
        src_T_ref = relative_projection(projections[:, view], projections[:, 0])
        warped = warp_to_hypotheses(features[:, view], src_T_ref, hypotheses)
        total = total + warped
        total_squares = total_squares + warped.square()
    return total_squares / views - (total / views).square()

"""Similarity of each source's features to the reference's at depth hypotheses, from which the views' weights follow.

`similarity_volume` is the one entrance. Behind it are the definition in plain PyTorch, on any device, and a fused
kernel for CPUs (numba), which is taken where the plane sweep takes it. Source: docs/method.md, section 2.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from models.plane_sweep import LEAST_NORM
from models.plane_sweep.definition import (
    check_shapes,
    choose_implementation,
    rays_and_offsets,
    source_transforms,
    warp_to_hypotheses,
)


def similarity_volume_plain(
    reference: Tensor,
    sources: Sequence[Tensor],
    transforms: Sequence[Tensor],
    hypotheses: Tensor,
    first_row: int,
    groups: int,
) -> Tensor:
    """The definition; arguments as `variance_volume_plain`'s.

    The similarity of two features r and s is 2 r s / (r r + s s), from -1 (opposite) to 1 (equal), whatever their
    length; it is 0 where the source does not see the point. The coverage, the sum of the bilinear weights, is 1 where
    it does.
    """
    reference = reference.unflatten(1, (groups, -1)).unsqueeze(3)  # [B, G, C / G, 1, h, W]
    parts = []
    for feature, src_T_ref in zip(sources, transforms, strict=True):
        warped = warp_to_hypotheses(feature, src_T_ref, hypotheses, first_row)
        warped = warped.unflatten(1, (groups, -1))
        norm = (reference.square() + warped.square()).sum(dim=2) + LEAST_NORM
        coverage = warp_to_hypotheses(torch.ones_like(feature[:, :1]), src_T_ref, hypotheses, first_row)
        parts.append(torch.cat([2 * (reference * warped).sum(dim=2) / norm, coverage], dim=1))
    return torch.stack(parts, dim=1)


def similarity_volume(
    features: Tensor | Sequence[Tensor],
    proj_matrices: Tensor,
    hypotheses: Tensor,
    groups: int,
    implementation: str | None = None,
    first_row: int = 0,
) -> Tensor:
    """Similarity to the reference by group of channels, and coverage: [B, N-1, groups + 1, D, h, W], float32.

    Arguments as `variance_volume`'s; `groups` divides the features' channels. The gradient goes to the features only.
    """
    views = features.unbind(1) if isinstance(features, Tensor) else tuple(features)
    check_shapes(views, proj_matrices, hypotheses, first_row)
    if groups < 1 or views[0].shape[1] % groups:
        raise ValueError(f"plane sweep: {views[0].shape[1]} channels do not make {groups} equal groups")
    implementation = choose_implementation(hypotheses.device.type, implementation)
    with torch.autocast(hypotheses.device.type, enabled=False):
        hypotheses = hypotheses.detach().float()
        transforms = source_transforms(proj_matrices)
        reference, *sources = (view.float() for view in views)
        reference = reference[..., first_row : first_row + hypotheses.shape[-2], :]
        if implementation == "numba":
            from models.plane_sweep.numba_cpu import NumbaSimilarity

            geometry = (*rays_and_offsets(transforms, hypotheses, first_row), hypotheses)
            return NumbaSimilarity.apply(groups, *geometry, reference, *sources)
        return similarity_volume_plain(reference, sources, transforms, hypotheses, first_row, groups)

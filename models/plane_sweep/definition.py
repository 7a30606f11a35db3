"""Plane sweep: source features sampled at depth hypotheses, and their variance as the cost volume.

Projections are [B, 4, 4] matrices P = K cam_T_world (last row 0 0 0 1) at the resolution of the maps they go with;
pixel centres lie at integers. Source: docs/method.md, section 2, "Plane sweep" and "Cost volume".

`variance_volume` is the one entrance. Behind it are the plain definition, the same streamed view by view (both on any
device), and fused kernels for CPUs (numba) and CUDA (Triton). The device decides, unless the environment variable
KDMVS_PLANE_SWEEP or an argument names one.
"""

import importlib.util
import os
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from models.plane_sweep import IMPLEMENTATION_VARIABLE, IMPLEMENTATIONS
from models.plane_sweep.weights import weights_gradient

# Sampling positions are kept within a few image widths: far outside is zero in any case, and F.grid_sample wants
# finite, bounded positions on the CPU.
_FAR_OUTSIDE = 4.0
_MIN_DEPTH = 1e-6

_KERNEL_DTYPES = (torch.float32, torch.bfloat16)


def full_projection(proj_matrices: Tensor) -> Tensor:
    """P = K cam_T_world [..., 4, 4] from a stage's `proj_matrices` [..., 2, 4, 4] (slot 0 extrinsic, slot 1 K)."""
    extrinsic, K = proj_matrices[..., 0, :, :], proj_matrices[..., 1, :3, :3]
    return torch.cat([K @ extrinsic[..., :3, :], extrinsic[..., 3:, :]], dim=-2)


def relative_projection(src_projection: Tensor, ref_projection: Tensor) -> Tensor:
    """src_T_ref = P_src P_ref^-1 [..., 4, 4]: maps (x d, y d, d, 1) of the reference to the same of the source.

    Float32 like the official code: its depths are matched to 1e-3 mm, float64 here would move them by more.
    """
    # To see whether it has an inverse, a GPU would have to be waited for, twelve times a depth map.
    inverse, _ = torch.linalg.inv_ex(ref_projection, check_errors=ref_projection.device.type == "cpu")
    return src_projection @ inverse


def pixel_rays(src_T_ref: Tensor, height: int, width: int, first_row: int = 0) -> Tensor:
    """Rays [B, 3, H, W] of the reference pixels: depth times ray plus src_T_ref's offset is (u z, v z, z).

    Of `height` rows from `first_row` on.
    """
    y, x = torch.meshgrid(
        torch.arange(first_row, first_row + height, dtype=src_T_ref.dtype, device=src_T_ref.device),
        torch.arange(width, dtype=src_T_ref.dtype, device=src_T_ref.device),
        indexing="ij",
    )
    pixels = torch.stack([x, y, torch.ones_like(x)]).flatten(1)
    return (src_T_ref[:, :3, :3] @ pixels).unflatten(-1, (height, width))


def project_pixels(src_T_ref: Tensor, depth: Tensor, first_row: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Source pixel u, v and depth z, each [B, D, H, W], of the reference pixels at `depth` [B, D, H, W], whose rows
    begin at the reference's `first_row`."""
    rays, offsets = pixel_rays(src_T_ref, *depth.shape[-2:], first_row), src_T_ref[:, :3, 3]
    x, y, z = (rays[:, i, None] * depth + offsets[:, i, None, None, None] for i in range(3))
    safe_z = torch.where(z.abs() < _MIN_DEPTH, _MIN_DEPTH, z)
    return x / safe_z, y / safe_z, z


def sampling_grid(u: Tensor, v: Tensor, width: int, height: int) -> Tensor:
    """Pixel positions to `F.grid_sample`'s coordinates [..., 2] for align_corners=True, bounded and finite."""
    # Divided by the half width, as in the official code: multiplying by its inverse moves depths by up to 1e-3 mm.
    grid = torch.stack([u / (max(width - 1, 1) / 2) - 1, v / (max(height - 1, 1) / 2) - 1], dim=-1)
    return torch.nan_to_num(grid, nan=_FAR_OUTSIDE).clamp(-_FAR_OUTSIDE, _FAR_OUTSIDE)


@torch.no_grad()
def hypothesis_grid(src_T_ref: Tensor, hypotheses: Tensor, src_size: Sequence[int], first_row: int = 0) -> Tensor:
    """Sampling grid [B, D * H, W, 2] of the reference pixels at hypotheses [B, D, H, W] in a source of size (h, w)."""
    u, v, z = project_pixels(src_T_ref, hypotheses, first_row)
    u = torch.where(z < _MIN_DEPTH, torch.inf, u)
    return sampling_grid(u, v, src_size[1], src_size[0]).flatten(1, 2)


def _sample(feature: Tensor, grid: Tensor) -> Tensor:
    return F.grid_sample(feature, grid, mode="bilinear", padding_mode="zeros", align_corners=True)


def warp_to_hypotheses(src_feature: Tensor, src_T_ref: Tensor, hypotheses: Tensor, first_row: int = 0) -> Tensor:
    """Sample src_feature [B, C, Hs, Ws] where the reference pixels at hypotheses [B, D, H, W] see it: [B, C, D, H, W].

    Zero outside the source image and behind its camera. No gradient flows through the positions. `first_row`: the
    reference's row at which the hypotheses begin.
    """
    grid = hypothesis_grid(src_T_ref, hypotheses, src_feature.shape[-2:], first_row)
    return _sample(src_feature, grid).unflatten(2, hypotheses.shape[1:3])


def source_transforms(proj_matrices: Tensor) -> list[Tensor]:
    """src_T_ref [B, 4, 4] of every source view, from proj_matrices [B, N, 2, 4, 4]."""
    projections = full_projection(proj_matrices)
    return [relative_projection(projections[:, view], projections[:, 0]) for view in range(1, projections.shape[1])]


def variance_volume_plain(
    reference: Tensor,
    sources: Sequence[Tensor],
    transforms: Sequence[Tensor],
    hypotheses: Tensor,
    first_row: int,
    view_weights: Tensor | None = None,
) -> Tensor:
    """The definition of the cost volume; the others compute the same with less memory.

    reference [B, C, h, W], the rows from `first_row` on; sources [B, C, H, W] with their src_T_ref [B, 4, 4];
    hypotheses [B, D, h, W]; view_weights [B, N-1, h, W], the reference's weight being 1, or None where all are.
    """
    weights_sum = 1 + (len(sources) if view_weights is None else _over_volume(view_weights.sum(dim=1)))
    reference = reference.unsqueeze(2).expand(-1, -1, hypotheses.shape[1], -1, -1)
    total, squares = reference, reference.square()
    for j, (feature, src_T_ref) in enumerate(zip(sources, transforms, strict=True)):
        warped = warp_to_hypotheses(feature, src_T_ref, hypotheses, first_row)
        weight = 1 if view_weights is None else _over_volume(view_weights[:, j])
        total = total + weight * warped
        squares = squares + weight * warped.square()
    return squares / weights_sum - (total / weights_sum).square()


def _over_volume(per_pixel: Tensor) -> Tensor:
    """A map [B, H, W] that is the same for all channels and hypotheses: [B, 1, 1, H, W]."""
    return per_pixel[:, None, None]


class _StreamedVariance(torch.autograd.Function):
    """The variance with views streamed through one buffer; the backward pass warps again instead of storing.

    Arguments: `variance_volume_plain`, the transforms stacked as [N-1, B, 4, 4].
    """

    @staticmethod
    def forward(
        ctx,
        transforms: Tensor,
        hypotheses: Tensor,
        first_row: int,
        view_weights: Tensor | None,
        reference: Tensor,
        *sources: Tensor,
    ):
        weights_sum = 1 + (len(sources) if view_weights is None else _over_volume(view_weights.sum(dim=1)))
        total = reference.unsqueeze(2).repeat(1, 1, hypotheses.shape[1], 1, 1)
        squares = total.square()
        for j, (feature, src_T_ref) in enumerate(zip(sources, transforms, strict=True)):
            warped = warp_to_hypotheses(feature, src_T_ref, hypotheses, first_row)
            if view_weights is None:
                total += warped
                squares += warped.square_()
            else:
                weighed = warped * _over_volume(view_weights[:, j])
                total += weighed
                squares += weighed.mul_(warped)
        mean = total.div_(weights_sum)
        ctx.save_for_backward(transforms, hypotheses, view_weights, mean, reference, *sources)
        ctx.first_row = first_row
        return squares.div_(weights_sum).sub_(mean.square())

    @staticmethod
    def backward(ctx, grad: Tensor):
        transforms, hypotheses, view_weights, mean, reference, *sources = ctx.saved_tensors
        weights_sum = 1 + (len(sources) if view_weights is None else _over_volume(view_weights.sum(dim=1)))
        grad = grad * (2 / weights_sum)
        difference = reference.unsqueeze(2) - mean
        gradients = [(difference * grad).sum(dim=2)]
        squares = [] if view_weights is None else [(difference.square_() * grad).sum(dim=(1, 2))]
        for j, (feature, src_T_ref) in enumerate(zip(sources, transforms, strict=True)):
            grid = hypothesis_grid(src_T_ref, hypotheses, feature.shape[-2:], ctx.first_row)
            difference = _sample(feature, grid).view_as(mean).sub_(mean)
            if view_weights is None:
                grad_warped = difference.mul_(grad)
            else:
                squares.append((difference.square() * grad).sum(dim=(1, 2)))
                grad_warped = difference.mul_(grad).mul_(_over_volume(view_weights[:, j]))
            grad_warped = grad_warped.flatten(2, 3)
            gradients.append(
                torch.ops.aten.grid_sampler_2d_backward(grad_warped, feature, grid, 0, 0, True, [True, False])[0]
            )
        grad_weights = None if view_weights is None else weights_gradient(view_weights, torch.stack(squares, dim=1))
        return None, None, None, grad_weights, *gradients


def choose_implementation(device_type: str, name: str | None = None) -> str:
    """The implementation for a device: `name`, else what KDMVS_PLANE_SWEEP says, where "auto" is the fastest there is.

    Raises ValueError for a name that is unknown or of another device.
    """
    name = name or os.environ.get(IMPLEMENTATION_VARIABLE) or "auto"
    if name not in IMPLEMENTATIONS:
        raise ValueError(f"plane sweep {name!r} ({IMPLEMENTATION_VARIABLE}): use one of {', '.join(IMPLEMENTATIONS)}")
    if name == "auto":
        if device_type == "cuda" and importlib.util.find_spec("triton") is not None:
            return "triton"
        return "numba" if device_type == "cpu" else "streamed"
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    needed = {"numba": "cpu", "triton": "cpu" if interpreted else "cuda"}.get(name, device_type)
    if device_type != needed:
        raise ValueError(
            f"plane sweep {name!r} ({IMPLEMENTATION_VARIABLE}) runs on {needed}, not on {device_type}: use auto, plain "
            "or streamed"
        )
    return name


def variance_volume(
    features: Tensor | Sequence[Tensor],
    proj_matrices: Tensor,
    hypotheses: Tensor,
    dtype: torch.dtype = torch.float32,
    implementation: str | None = None,
    first_row: int = 0,
    view_weights: Tensor | None = None,
) -> Tensor:
    """Variance over the views' features at each hypothesis: the cost volume [B, C, D, H, W] of `dtype`.

    features [B, N, C, H, W], or N views [B, C, H, W] (view 0 is the reference); proj_matrices [B, N, 2, 4, 4];
    hypotheses [B, D, H, W], or [B, D, h, W] for the h rows of the volume from `first_row` on. Computed in float32,
    under autocast too: geometry in half precision would be off by pixels. view_weights [B, N-1, h, W]: how much each
    source counts at a pixel; the reference counts 1, and without them all do. The gradient goes to the features and
    the weights only.
    Features whose channels lie side by side in memory spare the fused kernels a copy; so do those of the fused
    kernels' volumes (torch.channels_last_3d), the others' are contiguous. `implementation`: as in
    `choose_implementation`.
    """
    views = features.unbind(1) if isinstance(features, Tensor) else tuple(features)
    check_shapes(views, proj_matrices, hypotheses, first_row, view_weights)
    implementation = choose_implementation(hypotheses.device.type, implementation)
    kernel_dtype = dtype if dtype in _KERNEL_DTYPES else torch.float32
    with torch.autocast(hypotheses.device.type, enabled=False):
        hypotheses = hypotheses.detach().float()
        transforms = source_transforms(proj_matrices)
        view_weights = None if view_weights is None else view_weights.float()
        reference, *sources = (view.float() for view in views)
        reference = reference[..., first_row : first_row + hypotheses.shape[-2], :]
        if implementation == "plain":
            inputs = (reference, sources, transforms, hypotheses, first_row, view_weights)
            return variance_volume_plain(*inputs).to(dtype)
        if implementation == "streamed":
            inputs = (torch.stack(transforms), hypotheses, first_row, view_weights, reference, *sources)
            return _StreamedVariance.apply(*inputs).to(dtype)
        geometry = (*rays_and_offsets(transforms, hypotheses, first_row), hypotheses)
        if implementation == "numba":
            from models.plane_sweep.numba_cpu import NumbaVariance as Variance
        else:
            from models.plane_sweep.triton_gpu import TritonVariance as Variance
        return Variance.apply(kernel_dtype, *geometry, view_weights, reference, *sources).to(dtype)


def check_shapes(
    views: Sequence[Tensor],
    proj_matrices: Tensor,
    hypotheses: Tensor,
    first_row: int,
    view_weights: Tensor | None = None,
) -> None:
    """Raise ValueError for shapes that do not go together; kernels read memory by them."""
    batch, _, height, width = hypotheses.shape
    shapes = {tuple(view.shape) for view in views}
    fits = len(shapes) == 1 and all((shape[0], shape[3]) == (batch, width) for shape in shapes)
    fits = fits and 0 <= first_row <= views[0].shape[2] - height
    if not fits or len(views) < 2 or tuple(proj_matrices.shape) != (batch, len(views), 2, 4, 4):
        raise ValueError(
            f"plane sweep: {len(views)} views {sorted(shapes)}, proj_matrices {tuple(proj_matrices.shape)} and "
            f"hypotheses {tuple(hypotheses.shape)} do not go together; "
            "wanted at least two views [B, C, H, W], [B, N, 2, 4, 4] and [B, D, H, W]"
        )
    if view_weights is not None and tuple(view_weights.shape) != (batch, len(views) - 1, height, width):
        raise ValueError(
            f"plane sweep: view_weights {tuple(view_weights.shape)} do not go together with {len(views)} views and "
            f"hypotheses {tuple(hypotheses.shape)}; wanted [B, N-1, H, W]"
        )


@torch.no_grad()
def rays_and_offsets(transforms: Sequence[Tensor], hypotheses: Tensor, first_row: int) -> tuple[Tensor, Tensor]:
    """`pixel_rays` [B, N-1, 3, H, W] and offsets [B, N-1, 3] of all sources."""
    size = hypotheses.shape[-2:]
    rays = torch.stack([pixel_rays(src_T_ref, *size, first_row) for src_T_ref in transforms], dim=1)
    return rays, torch.stack([src_T_ref[:, :3, 3] for src_T_ref in transforms], dim=1)

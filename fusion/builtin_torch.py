"""The built-in fuser's kernels on a torch device, for CUDA; the same results as the numba ones.

Source: docs/method.md, "Fusion".
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from datasets.files import DataError


def torch_fuser(
    depths: Sequence[np.ndarray], images: Sequence[np.ndarray], precision: type[np.floating], device: torch.device
) -> Callable[..., tuple[np.ndarray, ...]]:
    """A function that fuses one reference view of N depths [H, W] float32 and images [H, W, 3] uint8.

    It takes (reference, others, geometry, settings) as `fuse_views` makes them and returns a FusedView's arrays, points
    of the `precision`. The device keeps all depths and images (7 bytes per pixel and view) and works on one pair of
    views at a time.
    Raises DataError when they do not fit on the device.
    """
    try:
        views = _Views(depths, images, precision, device)
    except torch.OutOfMemoryError:
        raise _too_large(depths, device) from None

    def fuse_view(
        reference: int, others: np.ndarray, geometry: tuple[np.ndarray, ...], settings: tuple
    ) -> tuple[np.ndarray, ...]:
        try:
            return views.fuse(reference, others, geometry, settings)
        except torch.OutOfMemoryError:
            raise _too_large(depths, device) from None

    return fuse_view


def _too_large(depths: Sequence[np.ndarray], device: torch.device) -> DataError:
    height, width = max((depth.shape for depth in depths), key=np.prod)
    return DataError(
        f"{device}: has no memory for {len(depths)} depth maps of {width}x{height}; fuse them with --device cpu"
    )


class _Views:
    """All depth maps and images on the device; pixels are numbered y * W + x. Geometry is float64, as in numba."""

    def __init__(
        self,
        depths: Sequence[np.ndarray],
        images: Sequence[np.ndarray],
        precision: type[np.floating],
        device: torch.device,
    ) -> None:
        self._sizes = [depth.shape for depth in depths]
        self._depths = [torch.tensor(depth, device=device).flatten() for depth in depths]
        self._images = [torch.tensor(image, device=device).flatten(0, 1) for image in images]
        self._dtype = torch.float32 if precision is np.float32 else torch.float64
        self._device = device

    @torch.inference_mode()
    def fuse(
        self, reference: int, others: np.ndarray, geometry: tuple[np.ndarray, ...], settings: tuple
    ) -> tuple[np.ndarray, ...]:
        """points [M, 3], colors [M, 3], ncons [M] and pix [M] of one reference view, compared with others [n]."""
        src_T_ref, world_T_img, disparity_scale, coarseness = geometry
        depth = self._depths[reference].double()
        pixels, width = torch.arange(len(depth), device=self._device), self._sizes[reference][1]
        x, y = (pixels % width).double(), (pixels // width).double()
        points = torch.stack(_transform(world_T_img[reference], x, y, depth), dim=1)
        colors = self._images[reference].double()
        agreeing = torch.zeros_like(pixels, dtype=torch.int16)
        for source in others.tolist():
            position = _transform(src_T_ref[source], x, y, depth)
            scales = (float(disparity_scale[source]), float(coarseness[source]))
            self._add_agreeing(source, position, world_T_img[source], scales, settings, points, colors, agreeing)
        total = (agreeing + 1).double()[:, None]
        points, colors = (points / total).to(self._dtype), colors / total
        emitted = (agreeing >= settings[2]) & (points.isfinite() & (points != 0)).all(dim=1)
        pix = emitted.nonzero()[:, 0]
        # Selected before the colours are cut to whole numbers, which is not defined for pixels that are not finite.
        fused = (points[pix], colors[pix].to(torch.uint8), agreeing[pix], pix)
        return tuple(values.cpu().numpy() for values in fused)

    def _add_agreeing(
        self,
        source: int,
        position: tuple[Tensor, Tensor, Tensor],
        world_T_src: np.ndarray,
        scales: tuple[float, float],
        settings: tuple,
        points: Tensor,
        colors: Tensor,
        agreeing: Tensor,
    ) -> None:
        """Add where another view agrees with the projected pixels: point, colour, and one to `agreeing` [H W]."""
        (disparity_scale, coarseness), (fraction_steps, disp_threshold, _) = scales, settings
        height, width = self._sizes[source]
        uz, vz, z = position
        u, v = uz / z, vz / z
        inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
        u, v = u.where(inside, 0), v.where(inside, 0)
        left, top = u.floor(), v.floor()
        fractions = (u - left, v - top)
        if fraction_steps > 0:
            fractions = tuple((fraction * fraction_steps).round() / fraction_steps for fraction in fractions)
        corners = _corners(left.long(), top.long(), height, width)
        sampled = _bilinear(self._depths[source], corners, fractions)
        # |s/z - s/d| < T without its divisions; false for d = 0, NaN and infinity, as there.
        most = torch.maximum(disp_threshold * (z * sampled).abs(), coarseness * z.abs())
        agrees = inside & (disparity_scale * (sampled - z).abs() < most)
        point = torch.stack(_transform(world_T_src, left, top, sampled), dim=1)
        points += point.where(agrees[:, None], 0)
        color = _bilinear(self._images[source], corners, tuple(fraction[:, None] for fraction in fractions))
        colors += color.where(agrees[:, None], 0)
        agreeing += agrees


def _corners(left: Tensor, top: Tensor, height: int, width: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Pixel numbers of the four neighbours, clamped at the border, in the order of `_bilinear`."""
    right, bottom = (left + 1).clamp(max=width - 1), (top + 1).clamp(max=height - 1)
    return tuple(row * width + column for row in (top, bottom) for column in (left, right))


def _transform(matrix: np.ndarray, x: Tensor, y: Tensor, depth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The first three coordinates of matrix [4, 4] times (x d, y d, d, 1)."""
    rows = (tuple(map(float, row)) for row in matrix[:3])
    return tuple((a * x + (b * y + c)) * depth + shift for a, b, c, shift in rows)


def _bilinear(image: Tensor, corners: tuple[Tensor, ...], fractions: tuple[Tensor, Tensor]) -> Tensor:
    """Interpolation of image [H W, ...] between four pixels, which keeps a constant exactly constant."""
    upper_left, upper_right, lower_left, lower_right = (image[corner].double() for corner in corners)
    right, down = fractions
    upper = upper_left + right * (upper_right - upper_left)
    lower = lower_left + right * (lower_right - lower_left)
    return upper + down * (lower - upper)

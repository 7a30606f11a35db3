"""The built-in fuser's kernels on a torch device, for CUDA; the same results as the numba ones (specs: fusibile)."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from datasets.files import DataError


def torch_fuser(depths: np.ndarray, images: np.ndarray, device: torch.device) -> Callable[..., tuple[np.ndarray, ...]]:
    """A function that fuses one reference view of depths [N, H, W] float32 and images [N, H, W, 3] uint8.

    It takes (reference, geometry, settings) as `fuse_views` makes them and returns a FusedView's arrays. The device
    keeps all depths and images (7 bytes per pixel and view) and works on one pair of views at a time.
    Raises DataError when they do not fit on the device.
    """
    try:
        views = _Views(depths, images, device)
    except torch.OutOfMemoryError:
        raise _too_large(depths, device) from None

    def fuse_view(reference: int, geometry: tuple[np.ndarray, ...], settings: tuple) -> tuple[np.ndarray, ...]:
        try:
            return views.fuse(reference, geometry, settings)
        except torch.OutOfMemoryError:
            raise _too_large(depths, device) from None

    return fuse_view


def _too_large(depths: np.ndarray, device: torch.device) -> DataError:
    count, height, width = depths.shape
    return DataError(f"{device}: has no memory for {count} depth maps of {width}x{height}; fuse them with --device cpu")


class _Views:
    """All depth maps and images on the device; pixels are numbered y * W + x. Geometry is float64, as in numba."""

    def __init__(self, depths: np.ndarray, images: np.ndarray, device: torch.device) -> None:
        count, self.height, self.width = depths.shape
        self._depths = torch.from_numpy(depths).to(device).reshape(count, -1)
        self._images = torch.from_numpy(images).to(device).reshape(count, -1, 3)
        pixels = torch.arange(self.height * self.width, device=device)
        self._x, self._y = (pixels % self.width).double(), (pixels // self.width).double()

    @torch.inference_mode()
    def fuse(self, reference: int, geometry: tuple[np.ndarray, ...], settings: tuple) -> tuple[np.ndarray, ...]:
        """points [M, 3], colors [M, 3], ncons [M] and pix [M] of one reference view."""
        src_T_ref, world_T_img, disparity_scale = geometry
        depth = self._depths[reference].double()
        points = torch.stack(_transform(world_T_img[reference], self._x, self._y, depth), dim=1)
        colors = self._images[reference].double()
        agreeing = torch.zeros_like(self._x, dtype=torch.int16)
        for source in range(len(self._depths)):
            if source != reference:
                position = _transform(src_T_ref[source], self._x, self._y, depth)
                scale = float(disparity_scale[source])
                self._add_agreeing(source, position, world_T_img[source], scale, settings, points, colors, agreeing)
        total = (agreeing + 1).double()[:, None]
        points, colors = (points / total).float(), colors / total
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
        disparity_scale: float,
        settings: tuple,
        points: Tensor,
        colors: Tensor,
        agreeing: Tensor,
    ) -> None:
        """Add where another view agrees with the projected pixels: point, colour, and one to `agreeing` [H W]."""
        fraction_steps, disp_threshold, _ = settings
        uz, vz, z = position
        u, v = uz / z, vz / z
        inside = (u >= 0) & (u < self.width) & (v >= 0) & (v < self.height)
        u, v = u.where(inside, 0), v.where(inside, 0)
        left, top = u.floor(), v.floor()
        fractions = (u - left, v - top)
        if fraction_steps > 0:
            fractions = tuple((fraction * fraction_steps).round() / fraction_steps for fraction in fractions)
        corners = self._corners(left.long(), top.long())
        sampled = _bilinear(self._depths[source], corners, fractions)
        # |s/z - s/d| < T without its divisions; false for d = 0, NaN and infinity, as there.
        agrees = inside & (disparity_scale * (sampled - z).abs() < disp_threshold * (z * sampled).abs())
        point = torch.stack(_transform(world_T_src, left, top, sampled), dim=1)
        points += point.where(agrees[:, None], 0)
        color = _bilinear(self._images[source], corners, tuple(fraction[:, None] for fraction in fractions))
        colors += color.where(agrees[:, None], 0)
        agreeing += agrees

    def _corners(self, left: Tensor, top: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Pixel numbers of the four neighbours, clamped at the border, in the order of `_bilinear`."""
        right, bottom = (left + 1).clamp(max=self.width - 1), (top + 1).clamp(max=self.height - 1)
        return tuple(row * self.width + column for row in (top, bottom) for column in (left, right))


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

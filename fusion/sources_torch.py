"""fusion.sources on a torch device, for CUDA; the same results as the numba ones but for rounding."""

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from fusion.sources import LEAST_CROSSED, Sources


class SourcesOnDevice:
    """What the sources see, `seen` and `carried` as of fusion.sources. Geometry is float64, as in numba."""

    def __init__(self, sources: Sources, device: torch.device) -> None:
        self.device, self._size = device, sources.reference.depth.shape
        self.seen = torch.tensor(sources.seen, device=device)
        self.sizes = sources.sizes.tolist()
        self.src_T_ref, self._ref_T_src = (
            torch.tensor(matrices, dtype=torch.float64, device=device)
            for matrices in (sources.src_T_ref, sources.ref_T_src)
        )

    def __len__(self) -> int:
        return len(self.seen)

    @cached_property
    def carried(self) -> Tensor:
        """What each sees at the reference's pixels [S, H, W, 2]."""
        carried = self.seen.new_zeros((len(self), *self._size, 2))
        for target, seen, matrix in zip(carried, self.seen, self._ref_T_src, strict=True):
            target.copy_(_carry_over(seen, matrix, self._size))
        return carried


def positions(matrix: Tensor, depth: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Where depths [..., H, W] of a view lie in another, to which the matrix [4, 4] leads: u, v, z, and if they are
    seen, each [..., H, W]; and how fast z grows with the depth [H, W]."""
    y, x = (torch.arange(side, dtype=torch.float64, device=depth.device) for side in depth.shape[-2:])
    a, b, c, shifts = matrix[:3].T[..., None, None]
    along = a * x + (b * y[:, None] + c)  # [3, H, W]
    u, v, z = (growth * depth + shift for growth, shift in zip(along, shifts, strict=True))
    return u / z, v / z, z, (depth > 0) & (depth < torch.inf) & (z > 0), along[2]


def nearest_pixel(u: Tensor, v: Tensor, seen: Tensor, size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The number of the pixel in a view of `size` (h, w) that is nearest to positions, 0 where it is none or they are
    not seen; and if it is one. Edges are not blurred."""
    # Bounded before it is made whole, as in int64 all must fit.
    row, column = (
        (position + 0.5).where(seen, -1).nan_to_num(-1).clamp(-1, side).floor().long()
        for position, side in ((v, size[0]), (u, size[1]))
    )
    inside = (column >= 0) & (column < size[1]) & (row >= 0) & (row < size[0])
    return (row * size[1] + column).where(inside, 0), inside


def _carry_over(seen: Tensor, ref_T_src: Tensor, size: tuple[int, int]) -> Tensor:
    """A source's depth and confidence [h, w, 2] at the reference's pixels [H, W, 2]: the nearest surface.

    Of equally near ones the first: what comes out does not depend on the order in which a GPU writes.
    """
    confidence, elsewhere = seen[..., 1].flatten(), size[0] * size[1]
    u, v, z, valid, _ = positions(ref_T_src, seen[..., 0])
    pixel, inside = (values.flatten() for values in nearest_pixel(u, v, valid, size))
    z = z.flatten().float()
    pixel = pixel.where(inside & (confidence >= LEAST_CROSSED), elsewhere)
    nearest = z.new_full((elsewhere + 1,), torch.inf).scatter_reduce(0, pixel, z, "amin")
    order = torch.arange(len(z), device=z.device)
    first = order.new_full((elsewhere + 1,), len(z))
    first = first.scatter_reduce(0, pixel.where(z == nearest[pixel], elsewhere), order, "amin")[:elsewhere]
    found = first < len(z)
    first = first.where(found, 0)
    return torch.stack([values[first].where(found, 0).view(size) for values in (z, confidence)], dim=-1)

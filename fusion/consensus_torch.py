"""The kernels of fusion.consensus on a torch device, for CUDA; the same results as the numba ones but for rounding."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fusion.sources import Sources


class Rules(NamedTuple):
    """The numbers of fusion.consensus, explained there."""

    reach: int
    tolerance: float
    seen_through: float
    own: float
    least_crossed: float
    self_support: float
    loose: float


@torch.inference_mode()
def choose(depth: np.ndarray, sources: Sources, spacing: int, rules: Rules, device: torch.device) -> np.ndarray:
    """`supported_depth`'s choice [H, W] float32."""
    views = _Views(sources, rules, device)
    own = torch.tensor(depth, device=device)
    support, through = views.support_and_through(own, rules.tolerance)
    most = torch.maximum(support, rules.own * support)  # it may be negative
    chosen, hidden_from = own.clone(), _hidden_from(own, rules)
    height, width = depth.shape
    steps = range(0, 2 * rules.reach * spacing + 1, spacing)
    padded = F.pad(own, (rules.reach * spacing,) * 4)
    for row in steps:  # a row of candidates at a time: launching single ones would take longer than computing them
        candidates = torch.stack([padded[row : row + height, column : column + width] for column in steps])
        for candidate, support in zip(candidates, views.support(candidates, rules.tolerance), strict=True):
            support = torch.minimum(support, through).where(candidate > hidden_from, support)
            # The pixel itself has no more support than itself.
            better = (support > most) & (candidate > 0) & (candidate < torch.inf)
            most, chosen = support.where(better, most), candidate.where(better, chosen)
    return chosen.cpu().numpy()


@torch.inference_mode()
def choose_crossed(
    depth: np.ndarray, confidence: np.ndarray, sources: Sources, rules: Rules, device: torch.device
) -> tuple[np.ndarray, np.ndarray]:
    """`crossed_depth`'s choice and its support, each [H, W] float32."""
    views = _Views(sources, rules, device)
    chosen, own = (torch.tensor(values, device=device) for values in (depth, confidence))
    supported, through = views.support_and_through(chosen, rules.tolerance)
    most = torch.maximum(supported + own, rules.own * (supported + own))
    hidden_from = _hidden_from(chosen, rules)
    for of_source, matrix in zip(views.seen, sources.ref_T_src, strict=True):
        candidate, its_confidence = _crossed(of_source, matrix, depth.shape, rules.least_crossed)
        value = views.support(candidate[None], rules.tolerance)[0] - rules.self_support * its_confidence
        value = torch.minimum(value, through).where(candidate > hidden_from, value)
        better = (candidate > 0) & (value > most)
        most, chosen = value.where(better, most), candidate.where(better, chosen)
        own = own.where(~better, 0)  # its own confidence is that of another depth
    support = own + views.support(chosen[None], rules.loose)[0]
    return chosen.cpu().numpy(), support.float().cpu().numpy()


def _hidden_from(depth: Tensor, rules: Rules) -> Tensor:
    """From where on a pixel's own depth [H, W] hides candidates: nowhere where it is none."""
    return ((1 + rules.tolerance) * depth).where(depth > 0, torch.inf)


class _Views:
    """Depth and confidence of the sources [S, h, w, 2] on a device. Geometry is float64, as in numba."""

    def __init__(self, sources: Sources, rules: Rules, device: torch.device) -> None:
        self.seen = torch.tensor(sources.seen, device=device)
        self._src_T_ref, self._seen_through = sources.src_T_ref, rules.seen_through

    def support(self, depth: Tensor, tolerance: float) -> Tensor:
        """How much the sources support depths [K, H, W] of the reference, float64."""
        total = torch.zeros_like(depth, dtype=torch.float64)
        for agreed in self._agreed(depth, tolerance):
            total += agreed
        return total

    def support_and_through(self, depth: Tensor, tolerance: float) -> tuple[Tensor, Tensor]:
        """How much the sources support depths [H, W], and how much they see through them, each float64 [H, W]."""
        each = list(self._agreed(depth[None], tolerance))
        through = sum(agreed.clamp(max=0) for agreed in each) / -self._seen_through
        return sum(each)[0], through[0]

    def _agreed(self, depth: Tensor, tolerance: float) -> Iterator[Tensor]:
        """What each source says of depths [K, H, W]: its confidence where it agrees, negative where it sees through."""
        size = self.seen.shape[1:3]
        for of_source, matrix in zip(self.seen, self._src_T_ref, strict=True):
            pixel, inside, z = _nearest_pixel(matrix, depth, size)
            seen, confidence = of_source.flatten(0, 1)[pixel].unbind(-1)
            share = (seen - z) / (tolerance * z)
            agreement = torch.where(
                share < 1, (1 - share * share).clamp(min=0), -self._seen_through * (share - 1).clamp(max=1)
            )
            yield (confidence * agreement).where(inside & (seen > 0), 0)


def _nearest_pixel(matrix: np.ndarray, depth: Tensor, size: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Where depths [..., H, W] lie in another view of `size` (h, w): the pixel's number, 0 outside; if inside; z."""
    depth = depth.double()
    y, x = (torch.arange(side, dtype=torch.float64, device=depth.device) for side in depth.shape[-2:])
    rows = (tuple(map(float, row)) for row in matrix[:3])
    u, v, z = ((a * x + (b * y + c)[:, None]) * depth + shift for a, b, c, shift in rows)
    inside = (depth > 0) & (depth < torch.inf) & (z > 0)
    # The nearest pixel: edges are not blurred. Bounded before it is made whole, as in int64 all must fit.
    row, column = (
        (position / z + 0.5).where(inside, -1).nan_to_num(-1).clamp(-1, side).floor().long()
        for position, side in ((v, size[0]), (u, size[1]))
    )
    inside = (column >= 0) & (column < size[1]) & (row >= 0) & (row < size[0])
    return (row * size[1] + column).where(inside, 0), inside, z


def _crossed(seen: Tensor, ref_T_src: np.ndarray, size: tuple[int, int], least: float) -> tuple[Tensor, Tensor]:
    """A source's depth and confidence [h, w, 2] at the reference's pixels, each [H, W]: the nearest surface.

    Confidences below `least` do not count. Of equally near ones the first: what comes out does not depend on the order
    in which a GPU writes.
    """
    confidence = seen[..., 1].flatten()
    pixel, inside, z = (values.flatten() for values in _nearest_pixel(ref_T_src, seen[..., 0], size))
    elsewhere, z = size[0] * size[1], z.float()
    pixel = pixel.where(inside & (confidence >= least), elsewhere)
    nearest = z.new_full((elsewhere + 1,), torch.inf).scatter_reduce(0, pixel, z, "amin")
    order = torch.arange(len(z), device=z.device)
    first = order.new_full((elsewhere + 1,), len(z))
    first = first.scatter_reduce(0, pixel.where(z == nearest[pixel], elsewhere), order, "amin")[:elsewhere]
    found = first < len(z)
    first = first.where(found, 0)
    return tuple(values[first].where(found, 0).view(size) for values in (z, confidence))

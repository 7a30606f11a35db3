"""The fused cost volume and similarity on CPUs: no warped view is ever stored, neither forward nor backward.

The kernels are in `models.plane_sweep.numba_kernels`. Results do not depend on the number of threads.
"""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from models.cpu.simd import FLOAT_BYTES
from models.cpu.threads import pieces, run_on
from models.plane_sweep.numba_kernels import (
    mean_rows,
    scatter_rows,
    similarity_gradient_rows,
    similarity_rows,
    variance_rows,
)

# Values of the gradient that one block of rows of the backward pass covers: 2 MiB, for the processor's caches.
_BLOCK_VALUES = 1 << 19
_MIN_LANES, _WEIGHED_LANES = 4, 8


class NumbaVariance(torch.autograd.Function):
    """variance [B, C, D, h, W], channels last, of `dtype`; from float32 features, h rows of the reference [B, C, h, W]
    and the sources [B, C, H, W].

    rays [B, N-1, 3, h, W], offsets [B, N-1, 3], hypotheses [B, D, h, W] and view_weights [B, N-1, h, W] (or None, all
    1), float32: `plane_sweep.definition`. The gradient goes to the weights and the views.
    """

    @staticmethod
    def forward(
        ctx,
        dtype: torch.dtype,
        rays: Tensor,
        offsets: Tensor,
        hypotheses: Tensor,
        view_weights: Tensor | None,
        *views: Tensor,
    ) -> Tensor:
        views = tuple(_channels_last(view) for view in views)
        rays, offsets, hypotheses = (tensor.contiguous() for tensor in (rays, offsets, hypotheses))
        view_weights = None if view_weights is None else view_weights.contiguous()
        ctx.save_for_backward(rays, offsets, hypotheses, view_weights, *views)
        batch, hypothesis_count, height, width = hypotheses.shape
        volume = torch.empty(batch, hypothesis_count, height, width, views[0].shape[1], dtype=dtype)
        lanes = (None,) * volume.shape[-1]
        calls = []
        for sample in range(batch):
            geometry = _arrays(sample, rays, offsets, hypotheses, view_weights)
            target = (volume[sample].data_ptr(), dtype == torch.bfloat16)
            for first, last in pieces(0, hypothesis_count * height):
                calls.append((first, last, _addresses(views, sample), _source_size(views), *geometry, *target, lanes))
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            run_on(pool, variance_rows, calls)
        return volume.permute(0, 4, 1, 2, 3)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):
        rays, offsets, hypotheses, view_weights, *views = ctx.saved_tensors
        gradients = tuple(torch.zeros_like(view) for view in views)  # channels last like the views
        grad_weights = None if view_weights is None else torch.empty_like(view_weights)
        _, channels, hypothesis_count, height, width = grad.shape
        threads = torch.get_num_threads()
        rows = min(height, max(2 * threads, _BLOCK_VALUES // (channels * hypothesis_count * width)))
        means = torch.empty(rows, hypothesis_count, width, channels)
        with ThreadPoolExecutor(threads) as pool:
            for sample in range(len(hypotheses)):
                geometry = _arrays(sample, rays, offsets, hypotheses, view_weights)
                weighing = _Weighing(geometry[-1], views, grad.shape)
                addresses = (_addresses(views, sample), _source_size(views), _addresses(gradients, sample))
                # The whole at once: torch's threads wait busily for a while, which would slow down those of the pool.
                grad_volume = grad[sample].permute(1, 2, 3, 0).float().contiguous()
                for first in range(0, height, rows):
                    block = (first, min(first + rows, height))
                    _block_gradient(pool, *block, grad_volume, means, *addresses, geometry, weighing)
                if grad_weights is not None:
                    grad_weights[sample] = weighing.gradient()
        return None, None, None, None, grad_weights, *gradients


class _Weighing:
    """The views' weights of one sample in the backward pass, and the sums that their gradient consists of.

    With V the variance, m the mean and W the weights' sum, dV/dw = ((f - m)^2 - V) / W.
    """

    def __init__(self, view_weights: np.ndarray | None, views: Sequence[Tensor], shape: torch.Size) -> None:
        """Arguments: [N-1, H, W] or None, the views [B, C, H, W], and the volume's shape."""
        _, channels, _, height, width = shape
        sources = len(views) - 1
        self.common = self.differences = None  # of gradient times V; of gradient times (f - m)^2, by part of channels
        if view_weights is None:
            self.part = _channel_part(channels, sources)  # of the channels, that one thread takes
            self.share = np.full((height, width), 1 / (sources + 1), np.float32)
            self.factors = np.stack([2 * self.share] * sources)
        else:
            # Whatever the number of threads: the sums over the channels are sums over parts.
            self.part = math.gcd(channels, _WEIGHED_LANES)
            self.share = 1 / (1 + view_weights.sum(axis=0))
            self.factors = 2 * view_weights * self.share
            self.common = np.zeros((height, width), np.float32)
            self.differences = np.zeros((channels // self.part, *view_weights.shape), np.float32)

    def gradient(self) -> Tensor:
        """The weights' gradient [N-1, H, W], after all blocks."""
        return torch.from_numpy((self.differences.sum(axis=0) - self.common) * self.share)


def _block_gradient(
    pool: ThreadPoolExecutor,
    first: int,
    last: int,
    grad: Tensor,
    means: Tensor,
    images: np.ndarray,
    size: tuple[int, int],
    targets: np.ndarray,
    geometry: Sequence[np.ndarray | None],
    weighing: _Weighing,
) -> None:
    """Add the gradient from the image rows first..last of a volume's grad [D, H, W, C] to the views' at `targets`.

    First the points' means [rows, D, W, C], rows in parallel; then each source by itself, so that no two threads add to
    one pixel and the order of the sums is fixed. Where there are more threads than sources, the channels of a source
    are shared out.
    """
    rays, offsets, hypotheses, _ = geometry
    channels = grad.shape[-1]
    buffers = (grad.data_ptr(), means.data_ptr())
    common = (first, images, size, *geometry, *buffers, targets[0], weighing.common, (None,) * channels)
    run_on(pool, mean_rows, [(start, stop, *common) for start, stop in pieces(first, last)])
    calls = []
    for k, start in enumerate(range(0, channels, weighing.part)):
        skip = start * FLOAT_BYTES
        for source in range(len(rays)):
            image, target = images[source + 1] + skip, targets[source + 1] + skip
            of_source = slice(source, source + 1)
            common = (channels, rays[of_source], offsets[of_source], hypotheses, weighing.factors[source])
            addresses = [address + skip for address in buffers]
            differences = None if weighing.differences is None else weighing.differences[k, source]
            lanes = (None,) * weighing.part
            calls.append((first, last, image, size, *common, *addresses, target, differences, lanes))
    run_on(pool, scatter_rows, calls)


class NumbaSimilarity(torch.autograd.Function):
    """similarity [B, N-1, groups + 1, D, h, W], float32 (`plane_sweep.similarity`); arguments as `NumbaVariance`'s.

    The gradient goes to the views only.
    """

    @staticmethod
    def forward(ctx, groups: int, rays: Tensor, offsets: Tensor, hypotheses: Tensor, *views: Tensor) -> Tensor:
        views = tuple(_channels_last(view) for view in views)
        rays, offsets, hypotheses = (tensor.contiguous() for tensor in (rays, offsets, hypotheses))
        ctx.save_for_backward(rays, offsets, hypotheses, *views)
        batch, hypothesis_count, height, width = hypotheses.shape
        similarity = torch.empty(batch, len(views) - 1, groups + 1, hypothesis_count, height, width)
        lanes, parts = (None,) * views[0].shape[1], (None,) * groups
        calls = []
        for sample in range(batch):
            given = (_addresses(views, sample), _source_size(views), *_arrays(sample, rays, offsets, hypotheses))
            target = similarity[sample].numpy()
            calls += [(*rows, *given, target, lanes, parts) for rows in pieces(0, hypothesis_count * height)]
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            run_on(pool, similarity_rows, calls)
        return similarity

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):
        """Every source and group of channels by itself, so that the order of the sums is fixed."""
        rays, offsets, hypotheses, reference, *sources = ctx.saved_tensors
        grad = grad.contiguous()
        groups, channels = grad.shape[2] - 1, reference.shape[1]
        gradients = [torch.zeros_like(source) for source in sources]
        to_reference = [torch.zeros_like(reference) for _ in sources]
        lanes = (None,) * (channels // groups)
        size, height = tuple(sources[0].shape[-2:]), hypotheses.shape[2]
        calls = []
        for sample in range(len(hypotheses)):
            for j, source in enumerate(sources):
                geometry = (rays[sample, j : j + 1].numpy(), offsets[sample, j : j + 1].numpy())
                for g in range(groups):
                    maps, targets = (
                        [tensor[sample].data_ptr() + g * len(lanes) * FLOAT_BYTES for tensor in tensors]
                        for tensors in ((reference, source), (to_reference[j], gradients[j]))
                    )
                    given = (*maps, size, channels, *geometry, hypotheses[sample].numpy(), grad[sample, j, g].numpy())
                    calls.append((0, height, *given, *targets, lanes))
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            run_on(pool, similarity_gradient_rows, calls)
        return None, None, None, None, sum(to_reference), *gradients


def _channel_part(channels: int, sources: int) -> int:
    """How many channels one thread takes of a source, a divisor of all of them."""
    part = channels
    while part % 2 == 0 and part > _MIN_LANES and channels // part * sources < torch.get_num_threads():
        part //= 2
    return part


def _channels_last(view: Tensor) -> Tensor:
    """Float32 features [B, C, H, W], the channels of a pixel side by side in memory; no copy where they are already."""
    return view.float().permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)


def _source_size(views: Sequence[Tensor]) -> tuple[int, int]:
    """(H, W) of the sources' maps."""
    return tuple(views[1].shape[-2:])


def _arrays(sample: int, *tensors: Tensor | None) -> list[np.ndarray | None]:
    """One sample of each tensor."""
    return [None if tensor is None else tensor[sample].numpy() for tensor in tensors]


def _addresses(views: Sequence[Tensor], sample: int) -> np.ndarray:
    """Memory addresses of one sample's maps of all views."""
    return np.array([view[sample].data_ptr() for view in views])

"""The fused cost volume on CPUs: no warped view is ever stored, neither forward nor backward.

The kernels are in `models.plane_sweep.numba_kernels`. Results do not depend on the number of threads.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from models.cpu.threads import pieces, run_on
from models.plane_sweep.numba_kernels import mean_rows, scatter_rows, variance_rows

# Values of the gradient that one block of rows of the backward pass covers: 2 MiB, for the processor's caches.
_BLOCK_VALUES = 1 << 19
_MIN_LANES = 4


class NumbaVariance(torch.autograd.Function):
    """variance [B, C, D, h, W], channels last, of `dtype`; from float32 features, h rows of the reference [B, C, h, W]
    and the sources [B, C, H, W].

    rays [B, N-1, 3, h, W], offsets [B, N-1, 3] and hypotheses [B, D, h, W], float32: `plane_sweep.definition`. The
    gradient goes to the views only.
    """

    @staticmethod
    def forward(ctx, dtype: torch.dtype, rays: Tensor, offsets: Tensor, hypotheses: Tensor, *views: Tensor) -> Tensor:
        views = tuple(_channels_last(view) for view in views)
        rays, offsets, hypotheses = (tensor.contiguous() for tensor in (rays, offsets, hypotheses))
        ctx.save_for_backward(rays, offsets, hypotheses, *views)
        batch, hypothesis_count, height, width = hypotheses.shape
        volume = torch.empty(batch, hypothesis_count, height, width, views[0].shape[1], dtype=dtype)
        lanes = (None,) * volume.shape[-1]
        calls = []
        for sample in range(batch):
            geometry = (rays[sample].numpy(), offsets[sample].numpy(), hypotheses[sample].numpy())
            target = (volume[sample].data_ptr(), dtype == torch.bfloat16)
            for first, last in pieces(0, hypothesis_count * height):
                calls.append((first, last, _addresses(views, sample), _source_size(views), *geometry, *target, lanes))
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            run_on(pool, variance_rows, calls)
        return volume.permute(0, 4, 1, 2, 3)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):
        rays, offsets, hypotheses, *views = ctx.saved_tensors
        gradients = tuple(torch.zeros_like(view) for view in views)  # channels last like the views
        _, channels, hypothesis_count, height, width = grad.shape
        threads = torch.get_num_threads()
        rows = min(height, max(2 * threads, _BLOCK_VALUES // (channels * hypothesis_count * width)))
        means = torch.empty(rows, hypothesis_count, width, channels)
        with ThreadPoolExecutor(threads) as pool:
            for sample in range(len(hypotheses)):
                geometry = [tensor[sample].numpy() for tensor in (rays, offsets, hypotheses)]
                addresses = (_addresses(views, sample), _source_size(views), _addresses(gradients, sample))
                # The whole at once: torch's threads wait busily for a while, which would slow down those of the pool.
                grad_volume = grad[sample].permute(1, 2, 3, 0).float().contiguous()
                for first in range(0, height, rows):
                    block = (first, min(first + rows, height))
                    _block_gradient(pool, *block, grad_volume, means, *addresses, geometry)
        return None, None, None, None, *gradients


def _block_gradient(
    pool: ThreadPoolExecutor,
    first: int,
    last: int,
    grad: Tensor,
    means: Tensor,
    images: np.ndarray,
    size: tuple[int, int],
    targets: np.ndarray,
    geometry: Sequence[np.ndarray],
) -> None:
    """Add the gradient from the image rows first..last of a volume's grad [D, H, W, C] to the views' at `targets`.

    First the points' means [rows, D, W, C], rows in parallel; then each source by itself, so that no two threads add to
    one pixel and the order of the sums is fixed. Where there are more threads than sources, the channels of a source
    are shared out.
    """
    rays, offsets, hypotheses = geometry
    channels = grad.shape[-1]
    buffers = (grad.data_ptr(), means.data_ptr())
    common = (first, images, size, *geometry, *buffers, targets[0], (None,) * channels)
    run_on(pool, mean_rows, [(start, stop, *common) for start, stop in pieces(first, last)])
    part = _channel_part(channels, len(rays))
    factor = np.float32(2 / len(images))
    calls = []
    for skip in range(0, 4 * channels, 4 * part):
        for source in range(len(rays)):
            image, target = images[source + 1] + skip, targets[source + 1] + skip
            of_source = slice(source, source + 1)
            common = (channels, factor, rays[of_source], offsets[of_source], hypotheses)
            addresses = [address + skip for address in buffers]
            calls.append((first, last, image, size, *common, *addresses, target, (None,) * part))
    run_on(pool, scatter_rows, calls)


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


def _addresses(views: Sequence[Tensor], sample: int) -> np.ndarray:
    """Memory addresses of one sample's maps of all views."""
    return np.array([view[sample].data_ptr() for view in views])

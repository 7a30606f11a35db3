"""The fused cost volume on CUDA devices, as Triton kernels; without a GPU they run in Triton's interpreter.

No warped view is ever stored. Positions follow the plain definition operation by operation, in float32 (the kernels are
compiled without fused multiply-adds). A volume's channels lie side by side, as a tile is written and as convolutions
want them. The gradient is summed in 64-bit integers, whose sum does not depend on the order of the additions: repeated
runs give identical results.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from models.plane_sweep.weights import weights_gradient

FAR_OUTSIDE = tl.constexpr(4.0)
MIN_DEPTH = tl.constexpr(1e-6)

# Values that one program holds per tensor: pixels times channels.
_TILE_VALUES = 2048
# Room of the integers for the largest possible sum, and the largest power of two that float32 can hold with a margin.
_SUM_BITS, _LARGEST_EXPONENT = 62, 120


@triton.jit
def _bounded(position):
    """A grid position within a few image widths; NaN is far outside."""
    position = tl.where(position < FAR_OUTSIDE, position, FAR_OUTSIDE)
    return tl.where(position > -FAR_OUTSIDE, position, -FAR_OUTSIDE)


@triton.jit
def _axis(position, size):
    """The two pixels around a position along one axis, moved into the image, and their weights, zero outside."""
    low = tl.floor(position)
    high_weight = position - low
    low_weight = 1.0 - high_weight
    low = low.to(tl.int32)
    high = low + 1
    low_weight = tl.where((low >= 0) & (low < size), low_weight, 0.0)
    high_weight = tl.where((high >= 0) & (high < size), high_weight, 0.0)
    low, high = tl.maximum(tl.minimum(low, size - 1), 0), tl.maximum(tl.minimum(high, size - 1), 0)
    return low, high, low_weight, high_weight


@triton.jit
def _locate(rays, offsets, depth, pixel, plane, inside, half_width, half_height, height, width):
    """Pixel indices [P] of the four corners in one source, in reading order, and their weights [P]."""
    x = tl.load(rays + pixel, inside, 0.0) * depth + tl.load(offsets)
    y = tl.load(rays + plane + pixel, inside, 0.0) * depth + tl.load(offsets + 1)
    z = tl.load(rays + 2 * plane + pixel, inside, 0.0) * depth + tl.load(offsets + 2)
    safe_z = tl.where(tl.abs(z) < MIN_DEPTH, MIN_DEPTH, z)
    u = tl.div_rn(tl.div_rn(x, safe_z), half_width) - 1.0
    v = tl.div_rn(tl.div_rn(y, safe_z), half_height) - 1.0
    u = tl.where(z < MIN_DEPTH, FAR_OUTSIDE, u)
    left, right, left_weight, right_weight = _axis((_bounded(u) + 1.0) * ((width - 1) / 2.0), width)
    upper, lower, upper_weight, lower_weight = _axis((_bounded(v) + 1.0) * ((height - 1) / 2.0), height)
    corners = (upper * width + left, upper * width + right, lower * width + left, lower * width + right)
    weights = (
        left_weight * upper_weight,
        right_weight * upper_weight,
        left_weight * lower_weight,
        right_weight * lower_weight,
    )
    return corners, weights


@triton.jit
def _sample(image, corners, weights, channel, inside, channels):
    """Bilinear samples [P, C] of a map [H, W, C]."""
    sample = tl.load(image + corners[0][:, None] * channels + channel, inside, 0.0) * weights[0][:, None]
    for k in tl.static_range(1, 4):
        sample += tl.load(image + corners[k][:, None] * channels + channel, inside, 0.0) * weights[k][:, None]
    return sample


@triton.jit
def _weight(view_weights, source, plane, pixel, inside):
    """How much a source counts at pixels [P]; 1 without weights, by which the compiler multiplies nothing."""
    if view_weights is None:
        weight = tl.full(pixel.shape, 1.0, tl.float32)
    else:
        weight = tl.load(view_weights + source * plane + pixel, inside, 0.0)
    return weight


@triton.jit
def _variance_kernel(
    reference, sources, rays, offsets, hypotheses, view_weights, volume,
    half_width, half_height, height, width, plane, depths,
    channels, SOURCES: tl.constexpr, PIXELS: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    """Variance of a tile of the reference's `plane` pixels at one hypothesis; the grid is (tiles, D, B)."""
    d, sample_index = tl.program_id(1), tl.program_id(2).to(tl.int64)
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    channel = tl.arange(0, LANES)[None, :]
    inside = pixel < plane
    inside_tile = inside[:, None] & (channel < channels)
    reference += sample_index * plane * channels
    depth = tl.load(hypotheses + (sample_index * depths + d) * plane + pixel, inside, 0.0)
    total = tl.load(reference + pixel[:, None] * channels + channel, inside_tile, 0.0)
    squares = total * total
    weights_sum = tl.full(pixel.shape, 1.0, tl.float32)
    for s in tl.static_range(SOURCES):
        source = sample_index * SOURCES + s
        corners, weights = _locate(
            rays + source * 3 * plane,
            offsets + source * 3,
            depth,
            pixel,
            plane,
            inside,
            half_width,
            half_height,
            height,
            width,
        )
        image = sources + source * height * width * channels
        sample = _sample(image, corners, weights, channel, inside_tile, channels)
        weight = _weight(view_weights, source, plane, pixel, inside)
        weights_sum += weight
        weighed = sample * weight[:, None]
        total += weighed
        squares += weighed * sample
    mean = total / weights_sum[:, None]
    variance = squares / weights_sum[:, None] - mean * mean
    target = volume + ((sample_index * depths + d) * plane + pixel[:, None]) * channels + channel
    tl.store(target, variance.to(volume.dtype.element_ty), inside_tile)


@triton.jit
def _column(columns, index, values):
    """Sums [P, 1] of values [P, C] in one of the columns [1, V], zero in the others."""
    return tl.where(columns == index, tl.sum(values, axis=1)[:, None], 0.0)


@triton.jit
def _gradient_kernel(
    reference, sources, rays, offsets, hypotheses, view_weights, grads, scale, grad_reference, grad_sources,
    differences, half_width, half_height, height, width, plane, depths,
    channels, SOURCES: tl.constexpr, VIEWS: tl.constexpr, PIXELS: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    """Gradient from a tile of pixels at all hypotheses; the grid is (tiles, B). Sources: integers, times `scale`.

    With weights, `differences` [B, N, plane] takes what their gradient follows from (models.plane_sweep.weights). VIEWS
    is the power of two from N on.
    """
    sample_index = tl.program_id(1).to(tl.int64)
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    channel = tl.arange(0, LANES)[None, :]
    inside = pixel < plane
    inside_tile = inside[:, None] & (channel < channels)
    reference += sample_index * plane * channels
    map_values = height * width * channels  # of one source
    scale = tl.load(scale)
    own = tl.load(reference + pixel[:, None] * channels + channel, inside_tile, 0.0)
    gradient_sum = tl.zeros_like(own)
    weights_sum = tl.full(pixel.shape, 1.0, tl.float32)
    for s in tl.static_range(SOURCES):
        weights_sum += _weight(view_weights, sample_index * SOURCES + s, plane, pixel, inside)
    share = 2.0 / weights_sum
    view = tl.arange(0, VIEWS)[None, :]
    squares = tl.zeros((PIXELS, VIEWS), tl.float32)
    for d in range(depths):
        depth = tl.load(hypotheses + (sample_index * depths + d) * plane + pixel, inside, 0.0)
        total = own
        for s in tl.static_range(SOURCES):
            source = sample_index * SOURCES + s
            corners, weights = _locate(
                rays + source * 3 * plane, offsets + source * 3, depth, pixel, plane, inside,
                half_width, half_height, height, width,
            )  # fmt: skip
            sample = _sample(sources + source * map_values, corners, weights, channel, inside_tile, channels)
            total += sample * _weight(view_weights, source, plane, pixel, inside)[:, None]
        mean = total / weights_sum[:, None]
        grad = tl.load(
            grads + ((sample_index * depths + d) * plane + pixel[:, None]) * channels + channel, inside_tile, 0.0
        )
        grad *= share[:, None]
        gradient_sum += (own - mean) * grad
        if view_weights is not None:
            squares += _column(view, 0, (own - mean) * (own - mean) * grad)
        for s in tl.static_range(SOURCES):
            source = sample_index * SOURCES + s
            corners, weights = _locate(
                rays + source * 3 * plane, offsets + source * 3, depth, pixel, plane, inside,
                half_width, half_height, height, width,
            )  # fmt: skip
            sample = _sample(sources + source * map_values, corners, weights, channel, inside_tile, channels)
            if view_weights is not None:
                squares += _column(view, s + 1, (sample - mean) * (sample - mean) * grad)
            weight = _weight(view_weights, source, plane, pixel, inside)
            gradient = (sample - mean) * grad * weight[:, None] * scale
            for k in tl.static_range(4):
                target = grad_sources + source * map_values + corners[k][:, None] * channels + channel
                value = (gradient * weights[k][:, None]).to(tl.int64)
                tl.atomic_add(target, value, inside_tile & (weights[k][:, None] != 0), sem="relaxed")
    target = grad_reference + (sample_index * plane + pixel[:, None]) * channels + channel
    tl.store(target, gradient_sum, inside_tile)
    if view_weights is not None:
        target = differences + (sample_index * (SOURCES + 1) + view) * plane + pixel[:, None]
        tl.store(target, squares, inside[:, None] & (view <= SOURCES))


class TritonVariance(torch.autograd.Function):
    """variance [B, C, D, h, W] of `dtype`, in channels-last order; from float32 features, h rows of the reference
    [B, C, h, W] and the sources [B, C, H, W].

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
        reference: Tensor,
        *views: Tensor,
    ) -> Tensor:
        reference = reference.permute(0, 2, 3, 1).contiguous()
        sources = torch.stack([view.permute(0, 2, 3, 1) for view in views], dim=1)
        view_weights = None if view_weights is None else view_weights.contiguous()
        inputs = (reference, sources, rays.contiguous(), offsets.contiguous(), hypotheses.contiguous(), view_weights)
        ctx.save_for_backward(*inputs)
        batch, height, width, channels = reference.shape
        volume = torch.empty(
            (batch, channels, hypotheses.shape[1], height, width),
            dtype=dtype,
            device=reference.device,
            memory_format=torch.channels_last_3d,
        )
        tiles, settings = _launch(sources, hypotheses)
        grid = (tiles, hypotheses.shape[1], batch)
        with torch.cuda.device_of(volume):  # Triton launches on the current GPU, where the memory need not be
            _variance_kernel[grid](*inputs, volume, **settings, enable_fp_fusion=False)
        return volume

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):
        reference, sources, *geometry, view_weights = ctx.saved_tensors
        grad = grad.float().contiguous(memory_format=torch.channels_last_3d)
        largest = torch.maximum(reference.abs().amax(), sources.abs().amax())
        differences = None
        if view_weights is not None:
            largest = largest * view_weights.abs().amax().clamp(min=1)
            views, size = view_weights.shape[1] + 1, view_weights.shape[2:]
            differences = view_weights.new_empty((len(view_weights), views, *size))
        scale = _integer_scale(largest, grad)
        grad_reference = torch.empty_like(reference)
        grad_sources = torch.zeros_like(sources, dtype=torch.int64)
        tiles, settings = _launch(sources, geometry[-1])
        with torch.cuda.device_of(sources):
            _gradient_kernel[(tiles, len(reference))](
                reference, sources, *geometry, view_weights, grad, scale, grad_reference, grad_sources, differences,
                **settings, VIEWS=triton.next_power_of_2(sources.shape[1] + 1), enable_fp_fusion=False,
            )  # fmt: skip
        grad_weights = None if view_weights is None else weights_gradient(view_weights, differences)
        of_sources = (grad_sources.double() / scale).float().unbind(1)
        grad_views = (gradient.permute(0, 3, 1, 2) for gradient in (grad_reference, *of_sources))
        return None, None, None, None, grad_weights, *grad_views


def _launch(sources: Tensor, hypotheses: Tensor) -> tuple[int, dict[str, float]]:
    """Number of tiles of the reference's rows, and the sizes that the kernels take."""
    _, count, height, width, channels = sources.shape
    plane = hypotheses.shape[2] * hypotheses.shape[3]
    lanes = triton.next_power_of_2(channels)
    pixels = max(1, _TILE_VALUES // lanes)
    return triton.cdiv(plane, pixels), {
        "half_width": max(width - 1, 1) / 2,
        "half_height": max(height - 1, 1) / 2,
        "height": height,
        "width": width,
        "plane": plane,
        "depths": hypotheses.shape[1],
        "channels": channels,
        "SOURCES": count,
        "PIXELS": pixels,
        "LANES": lanes,
    }


def _integer_scale(largest: Tensor, grad: Tensor) -> Tensor:
    """The power of two by which gradients are multiplied to fill 64-bit integers without overflow, given the largest
    feature; 0 or NaN where a gradient is not finite, so that the result is not finite either.
    """
    points = grad[0, 0].numel()
    bound = 4 * largest * grad.abs().amax() * points
    return torch.exp2((_SUM_BITS - bound.log2().ceil()).clamp(max=_LARGEST_EXPONENT))

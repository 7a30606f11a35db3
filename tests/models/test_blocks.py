"""Folded convolutions: what the blocks compute in evaluation mode, in one operation."""

import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import nn

from models.blocks import BatchNorm3d, ConvBnReLU2d, ConvBnReLU3d, DeconvBnReLU3d, FoldedScoreConv, fold


def with_statistics(make: Callable[[], nn.Module]) -> nn.Sequential:
    """The block, always the same, in evaluation mode, its BatchNorm with statistics and weights of its own."""
    torch.manual_seed(1)
    block = make()
    for module in block.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return nn.Sequential(block).eval()


BLOCKS = {
    "2d": (lambda: ConvBnReLU2d(4, 8), (2, 4, 9, 7)),
    "2d, stride 2": (lambda: ConvBnReLU2d(4, 8, kernel=5, stride=2), (1, 4, 10, 12)),
    "3d": (lambda: ConvBnReLU3d(4, 8), (1, 4, 5, 6, 7)),
    "3d, stride 2": (lambda: ConvBnReLU3d(4, 8, stride=2), (2, 4, 4, 6, 8)),
    "transposed": (lambda: DeconvBnReLU3d(8, 4), (1, 8, 3, 2, 5)),
    "bare 2d, bias": (lambda: nn.Conv2d(4, 8, 1), (1, 4, 5, 5)),
    "bare 3d": (lambda: nn.Conv3d(4, 8, 3, padding=1, bias=False), (1, 4, 3, 5, 5)),
    "score": (lambda: nn.Conv3d(8, 1, 3, padding=1, bias=False), (2, 8, 4, 5, 11)),
}


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("name", BLOCKS)
@torch.no_grad()
def test_folded_block_computes_the_same(place, name, channels_last):
    """In float32 to rounding, in bf16 to its precision, from either memory layout."""
    make, shape = BLOCKS[name]
    block = place.put(with_statistics(make))
    x = place.put(torch.randn(shape))
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last if x.ndim == 4 else torch.channels_last_3d)
    expected = block(x)
    for dtype in {place.dtype, torch.bfloat16}:
        folded = fold(place.put(with_statistics(make)), dtype)
        assert not list(folded.parameters())
        scale = expected.abs().max()
        dataclasses.replace(place, dtype=dtype).assert_same("folded block", folded(x) / scale, expected / scale)


@pytest.mark.parametrize("channels", [1, 4, 8, 16])
@pytest.mark.parametrize("size", [(1, 1, 1), (1, 1, 6), (3, 2, 2), (2, 5, 3), (4, 3, 13)])
def test_scores_of_volumes_of_any_size(place, channels, size):
    """One channel out of one or many, borders and rows shorter than the kernel's step, several threads."""
    torch.manual_seed(1)
    convolution, x = nn.Conv3d(channels, 1, 3, padding=1, bias=False), torch.randn(1, channels, *size)
    convolution, x = place.put((convolution, x))
    scores = FoldedScoreConv(convolution, None, False, torch.float32)(x)
    place.assert_same("scores", scores, convolution(x).detach())


@torch.no_grad()
def test_scores_do_not_depend_on_threads():
    """Bit by bit: every score is one sum in a fixed order."""
    torch.manual_seed(1)
    convolution = FoldedScoreConv(nn.Conv3d(8, 1, 3, padding=1, bias=False), None, False, torch.float32)
    x, threads = torch.randn(1, 8, 6, 10, 21), torch.get_num_threads()
    results = []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        results.append(convolution(x))
    torch.set_num_threads(threads)
    assert all(torch.equal(result, results[0]) for result in results)


@pytest.mark.parametrize("name", ["2d", "3d", "transposed"])
def test_running_statistics_follow_by_a_tenth(name):
    """Official momentum: after one batch a tenth of its statistics and nine of what was known before."""
    make, shape = BLOCKS[name]
    torch.manual_seed(1)
    block, x = make(), 2 + 3 * torch.randn(shape)
    (norm,) = (module for module in block.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm))
    block(x)
    y = next(block.children())(x).transpose(0, 1).flatten(1)
    torch.testing.assert_close(norm.running_mean, 0.1 * y.mean(dim=1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(norm.running_var, 0.9 + 0.1 * y.var(dim=1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last_3d])
def test_volumes_are_normalised_as_by_torch(place, order):
    """Values, gradients and running statistics are torch's own on a CPU; the result is as large as the volume."""
    place.needs(dtype=torch.float32)
    torch.manual_seed(4)
    volume = (3 * torch.randn(2, 5, 3, 4, 6) + 1).contiguous(memory_format=order)
    weights = torch.randn(volume.shape)

    def normalised(norm, x, weights):
        x = x.detach().requires_grad_()
        y = norm(x)
        (y * weights).sum().backward()
        return y, x.grad, norm.weight.grad, norm.running_mean, norm.running_var

    expected = normalised(nn.BatchNorm3d(5), volume, weights)
    found = normalised(place.put(BatchNorm3d(5)), *place.put((volume, weights)))
    for name, ours, theirs in zip(("volume", "gradient", "weight", "mean", "variance"), found, expected, strict=True):
        place.assert_same("statistics", ours, theirs, name)


@pytest.mark.parametrize("size", [(2, 5, 3), (2, 5, 3, 4)])
def test_normalising_wants_volumes(size):
    """Maps are no volumes, which torch says, too."""
    with pytest.raises(ValueError, match=f"five dimensions, not {len(size)}"):
        BatchNorm3d(5)(torch.rand(size))

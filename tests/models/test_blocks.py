"""Folded convolutions: what the blocks compute in evaluation mode, in one operation."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from models.blocks import ConvBnReLU2d, ConvBnReLU3d, DeconvBnReLU3d, FoldedScoreConv, fold


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
def test_folded_block_computes_the_same(name, channels_last):
    """In float32 to rounding, in bf16 to its precision, from either memory layout."""
    make, shape = BLOCKS[name]
    block = with_statistics(make)
    x = torch.randn(shape)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last if x.ndim == 4 else torch.channels_last_3d)
    expected = block(x)
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.bfloat16, 0.03)):
        folded = fold(with_statistics(make), dtype)
        assert not list(folded.parameters())
        torch.testing.assert_close(folded(x).float(), expected, rtol=tolerance, atol=tolerance * expected.abs().max())


@pytest.mark.parametrize("channels", [1, 4, 8, 16])
@pytest.mark.parametrize("size", [(1, 1, 1), (1, 1, 6), (3, 2, 2), (2, 5, 3), (4, 3, 13)])
def test_scores_of_volumes_of_any_size(channels, size):
    """One channel out of one or many, borders and rows shorter than the kernel's step, several threads."""
    torch.manual_seed(1)
    convolution, x = nn.Conv3d(channels, 1, 3, padding=1, bias=False), torch.randn(1, channels, *size)
    expected = convolution(x).detach()
    scores = FoldedScoreConv(convolution, None, False, torch.float32)(x)
    torch.testing.assert_close(scores, expected, rtol=1e-5, atol=1e-5)


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

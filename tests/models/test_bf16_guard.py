"""The guard around oneDNN's bf16 weight gradient of Conv3d, which writes beyond its memory on AMX processors."""

import sys
from pathlib import Path

import pytest
import torch
from helpers import run_process

from models.blocks import Conv3d, DoublingConv3d, FoldedConv

TRAINING_STEP = """
import sys, torch
from models.blocks import Conv3d, DoublingConv3d

kind, (threads, inputs, outputs, *size) = sys.argv[1], map(int, sys.argv[2:])
torch.set_num_threads(threads)
torch.manual_seed(1)
doubles = kind == "doubling"
convolution = DoublingConv3d(inputs, outputs) if doubles else Conv3d(inputs, outputs, 3, padding=1, bias=False)
x = torch.randn(1, inputs, *size)
gradients = []
for bf16 in (False, True):
    convolution.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        (convolution(x).float() ** 2).mean().backward()
    gradients.append(convolution.weight.grad.clone())
error = (gradients[1] - gradients[0]).abs().max() / gradients[0].abs().max()
sys.exit(0 if error < 0.02 else 3)
"""


def has_amx() -> bool:
    """Whether the processor multiplies bf16 matrices in hardware (Linux)."""
    return sys.platform == "linux" and "amx_bf16" in Path("/proc/cpuinfo").read_text()


@pytest.mark.slow
@pytest.mark.skipif(not has_amx(), reason="the crash needs a CPU with AMX (amx_bf16)")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("kind", "channels", "depths", "size"),
    [
        ("3d", (8, 8), 8, (256, 320)),
        ("3d", (16, 8), 4, (224, 320)),
        ("3d", (8, 1), 8, (256, 320)),
        ("3d", (16, 16), 4, (144, 192)),
        ("doubling", (16, 8), 4, (144, 192)),
        ("doubling", (32, 16), 2, (72, 96)),
    ],
)
def test_training_step_at_a_crashing_size(kind, channels, depths, size, threads):
    """A process of its own survives the step, with a weight gradient close to float32's."""
    result = run_process("-c", TRAINING_STEP, kind, threads, *channels, depths, *size)
    assert result.returncode == 0, result.stderr


def train(convolution: Conv3d, x: torch.Tensor, bf16: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Output, input gradient and weight gradient of a training step."""
    x = x.clone().requires_grad_()
    convolution.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        output = convolution(x)
    (output.float() ** 2).mean().backward()
    return output.detach(), x.grad, convolution.weight.grad.clone()


@pytest.mark.parametrize("size", [(4, 12, 16), (4, 18, 5), (8, 5, 9), (17, 6, 4), (3, 9, 20)])
@pytest.mark.parametrize("kind", ["stride 1", "stride 2", "doubling"])
def test_guarded_gradients_are_close_to_float32(kind, size):
    """Output in bf16, both gradients in the parameters' float32 and within bf16's precision, whichever side is long."""
    torch.manual_seed(1)
    x = torch.randn(1, 8, *size)
    if kind == "doubling":
        convolution = DoublingConv3d(8, 4)
    else:
        convolution = Conv3d(8, 16, 3, stride=int(kind[-1]), padding=1, bias=False)
    exact, guarded = train(convolution, x, bf16=False), train(convolution, x, bf16=True)
    assert guarded[0].dtype == torch.bfloat16 and guarded[1].dtype == guarded[2].dtype == torch.float32
    for ours, theirs in zip(guarded, exact, strict=True):
        assert (ours - theirs).abs().max() < 0.02 * theirs.abs().max()


def test_guard_keeps_away_from_float32():
    """Without autocast the layer is torch's own, bit by bit."""
    torch.manual_seed(1)
    ours, x = Conv3d(8, 8, 3, padding=1, bias=False), torch.randn(1, 8, 4, 12, 16)
    plain = torch.nn.Conv3d(8, 8, 3, padding=1, bias=False)
    plain.load_state_dict(ours.state_dict())
    for a, b in zip(train(ours, x, bf16=False), train(plain, x, bf16=False), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("channels", "stride", "size"),
    [((32, 32), 1, (2, 16, 20)), ((64, 64), 1, (2, 4, 5)), ((32, 64), 2, (4, 5, 1)), ((16, 32), 2, (8, 1, 4))],
)
def test_gradient_does_not_hold_old_memory(channels, stride, size):
    """Kernel rows that only the border sees get their gradient too, whatever the memory held before."""
    torch.manual_seed(1)
    convolution = Conv3d(*channels, 3, stride=stride, padding=1, bias=False)
    x = torch.randn(1, channels[0], *size)
    exact = train(convolution, x, bf16=False)[2]
    for _ in range(3):
        for count in (1_000, 20_000, 300_000, 3_000_000):
            torch.full((count,), torch.nan)
        gradient = train(convolution, x, bf16=True)[2]
        assert (gradient - exact).abs().max() < 0.02 * exact.abs().max()


@pytest.mark.parametrize("channels", [(16, 32), (32, 64)])
@pytest.mark.parametrize("width", [1, 2, 3])
def test_output_does_not_hold_old_memory(channels, width):
    """Convolutions of stride 2 over rows of one or two values, in training and folded for prediction."""
    torch.manual_seed(1)
    convolution, x = Conv3d(*channels, 3, stride=2, padding=1, bias=False), torch.randn(1, channels[0], 4, 5, width)
    exact = train(convolution, x, bf16=False)[0]
    folded = FoldedConv(convolution, None, False, torch.bfloat16)
    for _ in range(3):
        for count in (1_000, 20_000, 300_000, 3_000_000):
            torch.full((count,), torch.nan)
        for output in (train(convolution, x, bf16=True)[0], folded(x)):
            assert (output.float() - exact).abs().max() < 0.02 * exact.abs().max()

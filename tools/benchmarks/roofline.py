"""How much work a depth map needs at least, and what this machine can do at most."""

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from models.cascade import build_model
from tools.benchmarks.measure import Figures, repeated

_TYPES = {"float32": torch.float32, "bf16": torch.bfloat16}


def machine_peaks(size: int = 3072, copied_mb: int = 512) -> Figures:
    """Measured floating-point operations per second of matrix products, and bytes per second of a copy."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    figures = {f"{name}_gflops": _matrix_gflops(size, dtype, device) for name, dtype in _TYPES.items()}
    source = torch.rand(copied_mb * 250_000, device=device)
    target = torch.empty_like(source)
    seconds = min(repeated(lambda: _finish(target.copy_(source)), 4))
    figures["copy_gb_per_s"] = 2 * source.nbytes / seconds / 1e9
    return [0.0], {name: round(value, 1) for name, value in figures.items()}


def _matrix_gflops(size: int, dtype: torch.dtype, device: torch.device) -> float:
    a, b = torch.rand(2, size, size, device=device).to(dtype)
    out = torch.empty_like(a)
    return 2 * size**3 / min(repeated(lambda: _finish(torch.mm(a, b, out=out)), 4)) / 1e9


def _finish(result: Tensor) -> None:
    if result.is_cuda:
        torch.cuda.synchronize()


def prediction_work(size: tuple[int, int], views: int) -> dict[str, float]:
    """GFLOP and GB that one depth map of a student needs when the features of each view are computed once.

    Operations: convolutions and, for each hypothesis, source and channel, bilinear weights, sum and squares. Bytes at
    4 per value: inputs and outputs of every convolution, and the features that the cost volumes read.
    """
    width, height = size
    with torch.device("meta"):
        model = build_model("student").eval()
        image = torch.empty(1, 3, height, width)
        volumes = [
            torch.empty(1, channels, depths, height // scale, width // scale)
            for channels, depths, scale in zip(
                model.feature.out_channels, model.settings.ndepths, (4, 2, 1), strict=True
            )
        ]
    values = 0

    def count(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        nonlocal values
        values += inputs[0].numel() + output.numel()

    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Conv3d, nn.ConvTranspose3d)):
            module.register_forward_hook(count)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.feature(image)
        for network, volume in zip(model.cost_regularization, volumes, strict=True):
            network(volume)
    sampled = sum(volume.numel() for volume in volumes) * (views - 1)
    values += views * sum(volume.numel() / volume.shape[2] for volume in volumes)
    return {"gflop": (counter.get_total_flops() + 11 * sampled) / 1e9, "gb": 4 * values / 1e9}

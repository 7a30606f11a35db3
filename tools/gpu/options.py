"""Ways to compute that are not in use, measured beside the one that is: whether they would pay on this device."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from models.blocks import fold
from models.cascade import CascadeMVSNet, build_model
from tools.benchmarks.measure import repeated
from tools.benchmarks.networks import ring_of_cameras
from tools.gpu.scans import named
from tools.gpu.settings import CheckSettings, Found, Size


def measure_options(settings: CheckSettings) -> Iterator[Found]:
    """A depth map's cost volumes and 3D U-Nets from ready features, in bf16, at the first size."""
    size, device = settings.sizes[0], torch.device(settings.device)
    inputs = _inputs(size, settings.num_view, device)
    ways: dict[str, Callable[[CascadeMVSNet], object]] = {
        "as used": lambda network: None,
        "weights not channels last": _contiguous,
        "torch.compile": _compiled,
    }
    usual = 0.0
    for way, change in ways.items():
        torch.manual_seed(1)
        network = fold(build_model("student").eval(), torch.bfloat16).to(device)
        change(network)

        def work(network: CascadeMVSNet = network) -> None:
            with torch.inference_mode():
                network.depth_of_features(*inputs)
            if device.type == "cuda":
                torch.cuda.synchronize()

        seconds = min(repeated(work, 3))
        usual = usual or seconds
        cells = {"way": way, "seconds": round(seconds, 4), "times as fast": round(usual / seconds, 2)}
        yield Found(f"{named(size)}, {settings.num_view} views, bf16, without features", cells)


def _inputs(size: Size, views: int, device: torch.device) -> tuple[list[list[Tensor]], dict[str, Tensor], Tensor]:
    """Random features of every stage and view, cameras, and depth values."""
    features, projections = [], {}
    for stage, scale, channels in (("stage1", 4, 32), ("stage2", 2, 16), ("stage3", 1, 8)):
        width, height = size[0] // scale, size[1] // scale
        maps = torch.rand(views, 1, channels, height, width, device=device).bfloat16()
        features.append([view.contiguous(memory_format=torch.channels_last) for view in maps])
        projections[stage] = ring_of_cameras(views, width, height).to(device)
    return features, projections, torch.linspace(500, 700, 192, device=device)[None]


def _contiguous(network: nn.Module) -> None:
    """Weights whose order tells the convolutions nothing."""
    for name, buffer in network.named_buffers():
        if name.endswith("weight"):
            buffer.data = buffer.contiguous(memory_format=torch.contiguous_format)


def _compiled(network: CascadeMVSNet) -> None:
    """The 3D U-Nets by torch.compile; kernels of the plane sweep stay as they are."""
    for unet in network.cost_regularization:
        unet.entry, unet.after_entry = torch.compile(unet.entry), torch.compile(unet.after_entry)

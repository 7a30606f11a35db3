"""Ways to compute that are not in use, measured beside the one that is: whether they would pay on this device."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from models.blocks import fold
from models.cascade import CascadeMVSNet, build_model
from tools.benchmarks.measure import repeated
from tools.benchmarks.networks import ring_of_cameras
from tools.gpu.scans import named
from tools.gpu.settings import CheckSettings, Found, Size

# Features of every stage and view, cameras, depth values.
Inputs = tuple[list[list[Tensor]], dict[str, Tensor], Tensor]
Work = Callable[[], object]
# Makes a network ready for a way to compute; gives the work to be timed in place of its prediction.
Prepare = Callable[[CascadeMVSNet, Work], AbstractContextManager[Work]]


def measure_options(settings: CheckSettings) -> Iterator[Found]:
    """A depth map's cost volumes and 3D U-Nets from ready features, in float32 and bf16, at the first size."""
    size, device = settings.sizes[0], torch.device(settings.device)
    inputs = _inputs(size, settings.num_view, device)
    for name, dtype in (("float32", torch.float32), ("bf16", torch.bfloat16)):
        usual = 0.0
        for way, prepare in _WAYS.items():
            if (device.type != "cuda" and way in _ON_CUDA) or (name == "float32" and way in _IN_BF16):
                continue
            cells: dict[str, object] = {"way": way}
            try:
                seconds = _seconds(prepare, dtype, inputs, device)
            except Exception as error:  # what cannot be had is no fault of what is in use
                if way == "as used":
                    raise
                cells["note"] = (str(error).strip().splitlines() or [repr(error)])[0][:200]
            else:
                usual = usual or seconds
                cells |= {"seconds": round(seconds, 4), "times as fast": round(usual / seconds, 2)}
            yield Found(f"{named(size)}, {settings.num_view} views, {name}, without features", cells)


def _seconds(prepare: Prepare, dtype: torch.dtype, inputs: Inputs, device: torch.device) -> float:
    """The least seconds of a depth map by a network that a way has prepared."""
    torch.manual_seed(1)
    network = fold(build_model("student").eval(), dtype).to(device)
    features, *others = inputs
    typed = [[view.to(dtype) for view in stage] for stage in features]  # keeps their order in memory

    def predict() -> object:
        with torch.inference_mode():
            return network.depth_of_features(typed, *others)

    with prepare(network, predict) as work:

        def waited_for() -> None:
            work()
            if device.type == "cuda":
                torch.cuda.synchronize()

        return min(repeated(waited_for, 3))


def _inputs(size: Size, views: int, device: torch.device) -> Inputs:
    """Random features of every stage and view, cameras, and depth values."""
    features, projections = [], {}
    for stage, scale, channels in (("stage1", 4, 32), ("stage2", 2, 16), ("stage3", 1, 8)):
        width, height = size[0] // scale, size[1] // scale
        maps = torch.rand(views, 1, channels, height, width, device=device)
        features.append([view.contiguous(memory_format=torch.channels_last) for view in maps])
        projections[stage] = ring_of_cameras(views, width, height).to(device)
    return features, projections, torch.linspace(500, 700, 192, device=device)[None]


@contextlib.contextmanager
def _as_used(network: CascadeMVSNet, predict: Work) -> Iterator[Work]:
    yield predict


@contextlib.contextmanager
def _tried_out(network: CascadeMVSNet, predict: Work) -> Iterator[Work]:
    """cuDNN measures its convolutions at each new size, and takes the fastest."""
    before, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, True
    try:
        yield predict
    finally:
        torch.backends.cudnn.benchmark = before


@contextlib.contextmanager
def _compiled(network: CascadeMVSNet, predict: Work) -> Iterator[Work]:
    """The 3D U-Nets by torch.compile; kernels of the plane sweep stay as they are."""
    for unet in network.cost_regularization:
        unet.entry, unet.after_entry = torch.compile(unet.entry), torch.compile(unet.after_entry)
    yield predict


@contextlib.contextmanager
def _graph(network: CascadeMVSNet, predict: Work) -> Iterator[Work]:
    """Everything launched once, and replayed: what launching the kernels one by one costs."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        predict()  # kernels are compiled, and libraries take their memory
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kept = predict()  # its memory is what replaying writes to
    yield graph.replay
    del kept


# The first is the one in use; the last may leave the device unusable where it fails.
_WAYS: dict[str, Prepare] = {
    "as used": _as_used,
    "cudnn.benchmark": _tried_out,
    "torch.compile": _compiled,
    "CUDA graph": _graph,
}
_ON_CUDA = ("cudnn.benchmark", "CUDA graph")
_IN_BF16 = ("torch.compile", "CUDA graph")  # where there is less to compute, and what surrounds it counts for more

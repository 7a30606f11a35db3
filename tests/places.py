"""Where and in which precision the numerical tests compute: the fixture `place`, told by pytest's flags.

    pytest --device cuda                     float32 on a GPU, its factors not rounded to TF32
    pytest --device cuda --tf32              the same, rounded
    pytest --device cuda --dtype bfloat16    networks in half precision
    pytest --device fake                     a GPU that is none: torch's fake tensors, which have a device and a shape
                                             but no values; a tensor on the wrong device is an error there, too

On every other place than the default one, the CPU in float32, only the tests run that take `place`.
"""

import copy
import ctypes
import dataclasses
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tolerances import limit
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeCopyMode,
    FakeTensorMode,
)

PLACES = ("cpu", "cuda", "mps", "xpu", "fake")
DTYPES = ("float32", "bfloat16", "float16")


@dataclasses.dataclass(frozen=True)
class Place:
    """A device, and the type that networks compute in and volumes are of; `measured` takes what comparisons found."""

    device: torch.device
    dtype: torch.dtype = torch.float32
    tf32: bool = False
    fake: FakeTensorMode | None = None
    measured: Callable[[str, str], None] = lambda name, value: None

    @property
    def precision(self) -> str:
        """One of the table's precisions."""
        name = str(self.dtype).removeprefix("torch.")
        return "tf32" if self.tf32 and self.dtype == torch.float32 else name

    def put(self, value: Any) -> Any:
        """Tensors here, in whatever they are; networks as a copy, but on a CPU."""
        if isinstance(value, Tensor):
            return value.to(self.device)
        if isinstance(value, nn.Module):
            return value if self.device.type == "cpu" else self._copied(value)
        if isinstance(value, dict):
            return {key: self.put(item) for key, item in value.items()}
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return type(value)(*map(self.put, value))
        return type(value)(map(self.put, value)) if isinstance(value, (list, tuple)) else value

    def _copied(self, network: nn.Module) -> nn.Module:
        """A copy of a network here. Fake parameters cannot be moved, so they are replaced one by one."""
        if self.fake is None:
            return copy.deepcopy(network).to(self.device)
        with FakeCopyMode(self.fake):
            network = copy.deepcopy(network)
        for module in network.modules():
            for name, value in module._parameters.items():
                if value is not None:
                    module._parameters[name] = nn.Parameter(value.detach().to(self.device))
            for name, value in module._buffers.items():
                module._buffers[name] = None if value is None else value.to(self.device)
        return network

    def autocast(self) -> torch.autocast:
        """What networks in training compute in this precision with."""
        half = self.dtype != torch.float32
        return torch.autocast(self.device.type, self.dtype if half else None, enabled=half)

    @property
    def slab_bytes(self) -> int:
        """SLAB_BYTES so small that the golden sample's volumes fall into many; into a few of fake tensors, operations
        on which take as long as on the CPU."""
        return (256 if self.fake else 64 if self.device.type == "cpu" else 16) << 10

    def needs(self, **wanted: object) -> None:
        """Skip the test on places of another device type, or another dtype, than it wants."""
        if "device" in wanted and self.device.type != wanted["device"]:
            pytest.skip(f"runs on {wanted['device']} only")
        if "dtype" in wanted and self.dtype != wanted["dtype"]:
            pytest.skip(f"{wanted['dtype']} only")
        if wanted.get("values") and self.fake:
            pytest.skip("fake tensors have no values")
        if wanted.get("float64") and self.device.type == "mps":
            pytest.skip("mps has no float64")

    def assert_same(self, quantity: str, actual: Tensor, expected: Any, what: str = "") -> None:
        """What was computed here is what was expected, within the table's limit for the quantity.

        Fake tensors: it is on this device and has the expected shape.
        """
        expected = torch.as_tensor(expected)
        if self.fake:
            assert actual.shape == expected.shape and actual.device.type == self.device.type, what or quantity
            return
        allowed = limit(quantity, self.precision)
        actual, expected = (tensor.detach().cpu().double() for tensor in (torch.as_tensor(actual), expected))
        assert actual.shape == expected.shape, what or quantity
        account = allowed.account(actual, expected)
        self.measured("deviation", json.dumps({"quantity": quantity, "what": what, **account}))
        assert allowed.holds(actual, expected), f"{what or quantity}: {account}"


@contextmanager
def fake_gpu(device_type: str = "cuda") -> Iterator[Place]:
    """A place on a device that this machine need not have.

    F.grid_sample asks a real driver, so other operations stand in for it; autocast asks, too.
    """
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        patch.setenv("KDMVS_PLANE_SWEEP", "streamed")  # fused kernels read memory, which fake tensors have none of
        patch.setattr(F, "grid_sample", _grid_sample)
        patch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
        patch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
        _know(device_type)
        yield Place(torch.device(device_type), fake=stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True)))


def _know(device_type: str) -> None:
    """Even fake tensors need torch's guard for a device's maker; where this torch has none, one that does nothing."""
    with FakeTensorMode():
        try:
            torch.empty(2, device=device_type)[0]
        except RuntimeError as error:
            _load_guards(str(error).splitlines()[0])
            torch.empty(2, device=device_type)[0]


def _load_guards(why: str) -> None:
    """Compile and load device_guards.cpp, for the rest of the process; without a compiler the test is skipped."""
    compiler, installed = shutil.which("c++"), Path(torch.__file__).parent
    if compiler is None:
        pytest.skip(f"{why}, and there is no c++ to help it")
    with tempfile.TemporaryDirectory() as folder:
        library, source = Path(folder) / "guards.so", Path(__file__).with_name("device_guards.cpp")
        paths = (f"-I{installed / 'include'}", f"-L{installed / 'lib'}")
        command = [compiler, "-std=c++20", "-shared", "-fPIC", *paths, "-o", library, source, "-lc10"]
        subprocess.run(command, check=True, timeout=120)
        ctypes.CDLL(str(library))


def _grid_sample(x: Tensor, grid: Tensor, mode: str, padding_mode: str, align_corners: bool) -> Tensor:
    """What F.grid_sample of maps [B, C, h, w] at [B, H, W, 2] gives without values: shape, type, device, and gradients
    to both. Its definition in other operations takes ten times as long."""
    assert mode == "bilinear" and padding_mode in ("zeros", "border") and align_corners
    return x.mean(dim=(2, 3))[:, :, None, None] * grid[:, None, :, :, 0]


def open_place(stack: ExitStack, name: str, dtype: str, tf32: bool, measured: Callable[[str, str], None]) -> Place:
    """The place that the flags name; the stack keeps it open."""
    place = stack.enter_context(fake_gpu()) if name == "fake" else Place(torch.device(name))
    if name == "cuda":
        stack.enter_context(_rounding_to_tf32(tf32))
    return dataclasses.replace(place, dtype=getattr(torch, dtype), tf32=tf32, measured=measured)


@contextmanager
def _rounding_to_tf32(allowed: bool) -> Iterator[None]:
    """Whether convolutions round their factors to TF32, as torch lets them; in matrix products, of which the geometry
    consists, it does not."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


# What torch says where fake tensors have no values, and where a gradient asks for the GPU itself.
_WITHOUT_VALUES = ".numpy() is not supported for tensor subclasses"
_WITHOUT_DRIVER = ("NVIDIA driver", "hasPrimaryContext")


def what_fake_tensors_lack(error: BaseException) -> str:
    """Why a test cannot go on with fake tensors; empty where the error is the test's or the code's."""
    lacking = (DataDependentOutputException, DynamicOutputShapeException)
    # torch.testing tells of its comparisons' errors in one of its own.
    if isinstance(error, lacking) or isinstance(error.__cause__, lacking) or _WITHOUT_VALUES in str(error):
        return "passed so far; what follows needs values, which fake tensors lack"
    if isinstance(error, RuntimeError) and any(words in str(error) for words in _WITHOUT_DRIVER):
        return "passed so far; a gradient needs a driver"
    return ""

"""Which device a flag means, how tensors get there and back, and in which precision networks compute."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from datasets.files import DataError

# Kinds of devices that --device names, by their makers' words.
_KINDS = {"cpu": "CPU", "cuda": "CUDA", "mps": "Apple (mps)", "xpu": "Intel (xpu)"}

# The types that values of --amp name.
AMP_TYPES = {"off": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def chosen_device(flag: str) -> torch.device:
    """The device that a value of --device means; "auto" is a CUDA device where there is one, else the CPU.

    Raises DataError for one that is unknown, or that this machine does not have.
    """
    if flag == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(flag)
    except RuntimeError:
        device = None
    if device is None or device.type not in _KINDS:
        raise DataError(f"--device {flag}: use auto, cpu, cuda, cuda:N, mps or xpu")
    if device.type != "cpu" and not _is_available(device.type):
        raise DataError(f"--device {flag}: no {_KINDS[device.type]} device is available; use --device cpu")
    return device


def _is_available(kind: str) -> bool:
    return torch.backends.mps.is_available() if kind == "mps" else getattr(torch, kind).is_available()


def sent_to(device: torch.device, tensor: Tensor) -> Tensor:
    """A CPU tensor, whatever its layout, on a device; nobody waits until a CUDA device has received it."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


class Arriving:
    """Tensors on their way from a device to the CPU, which a CUDA device sends once it has computed them; the CPU need
    not wait for that until it wants them, and may have launched what comes next."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._sent: torch.cuda.Event | None = None
        if tensors[0].is_cuda:
            targets = [torch.empty_like(tensor, device="cpu", pin_memory=True) for tensor in tensors]
            self._tensors = [target.copy_(t, non_blocking=True) for target, t in zip(targets, tensors, strict=True)]
            self._sent = torch.cuda.Event()
            # Of the tensors' device, which need not be the current one: with several models each has its own.
            self._sent.record(torch.cuda.current_stream(tensors[0].device))
        else:
            self._tensors = [tensor.cpu() for tensor in tensors]

    def get(self) -> list[Tensor]:
        """The tensors, once they are here."""
        if self._sent is not None:
            self._sent.synchronize()
        return self._tensors


def move_to(value: Any, device: torch.device) -> Any:
    """A sample, batched or not, with its tensors on the device."""
    if isinstance(value, dict):
        return {key: move_to(item, device) for key, item in value.items()}
    return value.to(device, non_blocking=device.type == "cuda") if isinstance(value, Tensor) else value


def has_amx() -> bool:
    """Whether this machine's CPU multiplies bf16 matrices in tiles; torch tells so by a name that may change."""
    ask = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return ask is not None and ask()


def resolved_amp(amp: str, device: torch.device) -> str:
    """The key of AMP_TYPES that a value of --amp means on a device."""
    if amp != "auto":
        return amp
    # Without AMX a CPU's float32 convolutions are as fast as its bf16 ones, measured with AVX512-BF16. What Apple's and
    # Intel's devices are fast in was never measured.
    fast = {"cuda": torch.cuda.is_bf16_supported, "cpu": has_amx}.get(device.type, lambda: False)
    return "bf16" if fast() else "off"

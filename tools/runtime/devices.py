"""Where tensors lie, and in which precision networks compute."""

from typing import Any

import torch
from torch import Tensor

# The types that values of --amp name.
AMP_TYPES = {"off": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def move_to(value: Any, device: torch.device) -> Any:
    """A sample, batched or not, with its tensors on the device."""
    if isinstance(value, dict):
        return {key: move_to(item, device) for key, item in value.items()}
    return value.to(device, non_blocking=True) if isinstance(value, Tensor) else value


def has_amx() -> bool:
    """Whether this machine's CPU multiplies bf16 matrices in tiles; torch tells so by a name that may change."""
    ask = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return ask is not None and ask()


def resolved_amp(amp: str, device: torch.device) -> str:
    """The key of AMP_TYPES that a value of --amp means on a device."""
    if amp != "auto":
        return amp
    # Without AMX a CPU's float32 convolutions are as fast as its bf16 ones, measured with AVX512-BF16.
    fast = torch.cuda.is_bf16_supported() if device.type == "cuda" else has_amx()
    return "bf16" if fast else "off"

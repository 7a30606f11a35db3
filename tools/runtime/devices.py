"""Where tensors lie."""

from typing import Any

import torch
from torch import Tensor


def move_to(value: Any, device: torch.device) -> Any:
    """A sample, batched or not, with its tensors on the device."""
    if isinstance(value, dict):
        return {key: move_to(item, device) for key, item in value.items()}
    return value.to(device, non_blocking=True) if isinstance(value, Tensor) else value

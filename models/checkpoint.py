"""Checkpoints in the official format: {"epoch": int, "model": state_dict, "optimizer": state_dict}.

Files are opened without running any code they may hold. Teacher and student are told apart by their keys.
"""

import hashlib
import io
import os
import pickle
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.cascade import STAGES, CascadeMVSNet, build_model

_EXAMPLES = 3


class CheckpointError(Exception):
    """A checkpoint file that cannot be used; the message is one line: the file, what is wrong, what to do."""


def read_checkpoint(path: str | os.PathLike) -> dict[str, Any]:
    """Content of a checkpoint file, with "model" a state dict of tensors; raises CheckpointError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's remarks about files that it then refuses
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such checkpoint") from None
    except pickle.UnpicklingError:
        message = "is not a checkpoint, or holds more than tensors and numbers, which is not loaded for safety"
        raise CheckpointError(f"{path}: {message}") from None
    except (RuntimeError, EOFError, OSError, KeyError, ValueError, AttributeError, TypeError, IndexError):
        raise CheckpointError(f"{path}: is damaged or not a checkpoint; copy or train it again") from None
    state = content.get("model") if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{path}: holds no 'model' state dict; it is not a checkpoint of this project")
    content["model"] = {key.removeprefix("module."): value for key, value in state.items()}
    return content


def network_kind(state: dict[str, Tensor]) -> str | None:
    """ "teacher" or "student" by the state dict's keys, None for another network."""
    if any(key.startswith("var_regression.") for key in state):
        return "teacher"
    if any(".convini." in key for key in state):
        return "student"
    return None


def load_weights(model: nn.Module, state: dict[str, Tensor], path: str | os.PathLike) -> None:
    """Load a state dict whose keys and shapes must be the model's; raises CheckpointError saying what differs."""
    own = model.state_dict()
    missing = [f"lacks {key}" for key in own if key not in state]
    extra = [f"has {key}" for key in state if key not in own]
    shapes = [
        f"{key} is {tuple(state[key].shape)} instead of {tuple(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    differences = missing + extra + shapes
    if differences:
        listed = "; ".join(differences[:_EXAMPLES])
        more = f"; and {len(differences) - _EXAMPLES} more" if len(differences) > _EXAMPLES else ""
        raise CheckpointError(f"{path}: is of another network: {listed}{more}")
    model.load_state_dict(state)


def load_model(
    path: str | os.PathLike,
    ndepths: Sequence[int] = (48, 32, 8),
    depth_interval_ratios: Sequence[float] = (4, 1, 0.5),
    share_cr: bool = False,
) -> CascadeMVSNet:
    """The network of a checkpoint file, teacher or student, in evaluation mode.

    The base channels of the 3D U-Nets are read off the weights. Raises CheckpointError.
    """
    state = read_checkpoint(path)["model"]
    kind = network_kind(state)
    widths = [state.get(f"cost_regularization.{i}.conv1.conv.weight") for i in range(len(STAGES))]
    if kind is None or any(weight is None or weight.ndim != 5 for weight in widths):
        raise CheckpointError(f"{path}: is of another network: neither a teacher's nor a student's keys")
    settings = {"ndepths": ndepths, "depth_interval_ratios": depth_interval_ratios, "share_cr": share_cr}
    try:
        model = build_model(kind, cr_base_chs=[max(1, weight.shape[0] // 2) for weight in widths], **settings)
    except ValueError as error:
        raise CheckpointError(f"{path}: does not go with these settings: {error}") from None
    load_weights(model, state, path)
    # About twice as fast as the default layout on CPUs (specs: platform).
    model.cost_regularization.to(memory_format=torch.channels_last_3d)
    return model.eval()


def checkpoint_bytes(model: nn.Module, optimizer: torch.optim.Optimizer, epoch: int, **extra: Any) -> bytes:
    """A checkpoint file's content in the official format, with `extra` entries beside the official ones."""
    buffer = io.BytesIO()
    content = {"epoch": epoch, "model": model.state_dict(), "optimizer": optimizer.state_dict(), **extra}
    torch.save(content, buffer)
    return buffer.getvalue()


def file_digest(path: str | os.PathLike) -> str:
    """SHA-256 of a checkpoint file, by which results tell the weights that made them."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        raise CheckpointError(f"{path}: no such checkpoint") from None

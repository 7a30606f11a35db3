"""Checkpoints in the official format: {"epoch": int, "model": state_dict, "optimizer": state_dict}.

Files are opened without running any code they may hold. Teacher and student are told apart by their keys.
"""

import hashlib
import io
import os
import pickle
import pickletools
import warnings
import zipfile
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.cascade import CascadeMVSNet
from models.errors import CheckpointError
from models.settings import STAGES, NetworkSettings, stored_settings

_EXAMPLES = 3

# Prefixes of what only some networks have.
_VARIANCE, _VISIBILITY = "var_regression.", "visibility."

OFFICIAL_RATIOS = NetworkSettings().depth_interval_ratios

# What the pickles of a checkpoint may name: containers, tensors, and their types.
_HARMLESS_NAMES = {
    "collections OrderedDict",
    "collections Counter",
    "torch Size",
    "torch device",
    "torch.nn.parameter Parameter",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
    *(
        f"torch {name}Storage"
        for name in ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte")
    ),
    *("torch BoolStorage", "torch.storage UntypedStorage", "torch.storage TypedStorage"),
}
_LEGACY_PICKLES = 5  # one after the other in files of torch before 1.6


def read_checkpoint(path: str | os.PathLike) -> dict[str, Any]:
    """Content of a checkpoint file, with "model" a state dict of dense tensors by name; raises CheckpointError."""
    content = _read_file(path)
    try:
        _check_pickles(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's remarks about files that it then refuses
            # From memory: a file would allocate whatever length it claims for a string before it is read.
            content = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        message = "is not a checkpoint, or holds more than tensors and numbers, which is not loaded for safety"
        raise CheckpointError(f"{path}: {message}") from None
    except MemoryError:
        raise
    except Exception:  # torch and the unpickler raise many kinds
        raise CheckpointError(f"{path}: is damaged or not a checkpoint; copy or train it again") from None
    state = content.get("model") if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{path}: holds no 'model' state dict; it is not a checkpoint of this project")
    odd = [key for key, value in state.items() if not isinstance(key, str) or not _is_dense(value)]
    names = {key: key.removeprefix("module.") for key in state if isinstance(key, str)}
    if odd or len(set(names.values())) < len(state):
        first = f"of {odd[0]!r:.60}" if odd else "with and without 'module.'"
        raise CheckpointError(f"{path}: holds entries {first} that are no weights; copy or train it again")
    content["model"] = {names[key]: value for key, value in state.items()}
    return content


def _read_file(path: str | os.PathLike) -> bytes:
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such checkpoint") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from None


def _check_pickles(content: bytes) -> None:
    """Raise UnpicklingError when unpickling would call what is not harmless; nothing is called here.

    torch refuses most other names too, but not those that allocate any size they are asked for. Raises ValueError, or
    zipfile's errors, for what is no checkpoint and for archives with compressed members, which can expand to any size.
    """
    files = [io.BytesIO(content)] * _LEGACY_PICKLES
    if zipfile.is_zipfile(files[0]):
        with zipfile.ZipFile(files[0]) as archive:
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise ValueError("compressed members")
            files = [archive.open(name) for name in archive.namelist() if name.endswith("data.pkl")]
    else:
        files[0].seek(0)
    for code, argument, _ in chain.from_iterable(map(pickletools.genops, files)):
        named = code.name in ("GLOBAL", "INST") and argument not in _HARMLESS_NAMES
        if named or code.name == "STACK_GLOBAL":
            raise pickle.UnpicklingError(f"{argument} is not harmless")


def _is_dense(value: Tensor) -> bool:
    """Whether a tensor holds a number for each of its elements in memory, instead of claiming them."""
    plain = value.layout == torch.strided and value.device.type == "cpu" and not value.is_quantized
    return plain and type(value) in (Tensor, nn.Parameter) and value.is_contiguous()


def network_kind(state: dict[str, Tensor]) -> str | None:
    """ "teacher" or "student" by the state dict's keys, None for another network."""
    if any(key.startswith(_VARIANCE) for key in state):
        return "teacher"
    if has_input_conv(state):
        return "student"
    return None


def has_input_conv(state: dict[str, Tensor]) -> bool:
    """Whether the 3D U-Nets have the first layer that students have."""
    return any(".convini." in key for key in state)


def has_view_weights(state: dict[str, Tensor]) -> bool:
    """Whether the network weighs its source views."""
    return any(key.startswith(_VISIBILITY) for key in state)


def check_weights(model: nn.Module, state: dict[str, Tensor], path: str | os.PathLike) -> None:
    """Raise CheckpointError, saying what differs, unless keys, shapes and kinds of numbers are the model's."""
    own = model.state_dict()
    differences = [f"lacks {key}" for key in own if key not in state]
    differences += [f"has {key:.80}" for key in state if key not in own]
    common = [(key, own[key], state[key]) for key in own if key in state]
    differences += [
        f"{key} is {tuple(found.shape)} instead of {tuple(expected.shape)}"
        for key, expected, found in common
        if found.shape != expected.shape
    ]
    differences += [
        f"{key} is of {found.dtype} instead of {expected.dtype}"
        for key, expected, found in common
        if found.is_floating_point() != expected.is_floating_point()
    ]
    if differences:
        raise CheckpointError(f"{path}: is of another network: {_listed(differences)}")
    broken = [f"{key} is not finite" for key, value in state.items() if not value.isfinite().all()]
    if broken:
        raise CheckpointError(f"{path}: cannot be used: {_listed(broken)}; take an earlier checkpoint")


def _listed(differences: list[str]) -> str:
    """Some of the differences, and how many there are beside them."""
    more = f"; and {len(differences) - _EXAMPLES} more" if len(differences) > _EXAMPLES else ""
    return "; ".join(ascii(text)[1:-1] for text in differences[:_EXAMPLES]) + more


def load_weights(model: nn.Module, state: dict[str, Tensor], path: str | os.PathLike) -> None:
    """Load a state dict that `check_weights` allows; raises its CheckpointError."""
    check_weights(model, state, path)
    model.load_state_dict(state)


def load_start(model: CascadeMVSNet, state: dict[str, Tensor], path: str | os.PathLike) -> None:
    """Load the weights of a network of either kind, as the start of a training; raises CheckpointError.

    What only the other one has is left out (the teacher's variance branch, the views' weights). What only this one has
    stays as it is (the same branch), or does nothing at first: fresh weights of the views are equal; a student's first
    layer is the teacher's, and the layer after it hands that one's outputs on unchanged, with BatchNorm's running
    statistics.
    """
    own = model.state_dict()
    if network_kind(state) == "teacher" and model.kind == "student":
        state = _without(state, _VARIANCE)
        if not has_input_conv(state):
            state = _with_input_conv(state, own)
    elif network_kind(state) == "student" and model.kind == "teacher":
        state = state | _only(own, _VARIANCE)
    if not has_view_weights(own):
        state = _without(state, _VISIBILITY)
    elif not has_view_weights(state):
        state = state | _only(own, _VISIBILITY)
    load_weights(model, state, path)


def _only(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The part of a state dict whose keys begin with the prefix."""
    return {key: value for key, value in state.items() if key.startswith(prefix)}


def _without(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The other part."""
    return {key: value for key, value in state.items() if not key.startswith(prefix)}


def _with_input_conv(state: dict[str, Tensor], student: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict whose U-Nets begin with `conv0`, made one of those that begin with `convini`."""
    moved = {key.replace(".conv0.", ".convini.") if _in_unets(key) else key: v for key, v in state.items()}
    for key, value in student.items():
        if _in_unets(key) and ".conv0." in key:
            moved[key] = (
                torch.ones_like(value) if key.endswith(("bn.weight", "running_var")) else torch.zeros_like(value)
            )
            if key.endswith("conv.weight"):
                nn.init.dirac_(moved[key])
    return moved


def _in_unets(key: str) -> bool:
    return key.startswith("cost_regularization.")


def load_optimizer(optimizer: torch.optim.Optimizer, state: Any, path: str | os.PathLike) -> None:
    """Load an optimizer's state dict; raises CheckpointError when it is not that of the optimizer's parameters."""
    try:
        optimizer.load_state_dict(state)
        tensors = [
            (parameter, value)
            for parameter, values in optimizer.state.items()
            for value in values.values()
            if isinstance(value, Tensor)
        ]
        fits = all(value.ndim == 0 or value.shape == parameter.shape for parameter, value in tensors)
    except Exception:  # torch raises many kinds
        fits = False
    if not fits:
        raise CheckpointError(f"{path}: cannot be resumed from; its optimizer state does not fit")


def load_model(path: str | os.PathLike, ratios: Sequence[float] = OFFICIAL_RATIOS, **settings: Any) -> CascadeMVSNet:
    """The network of a checkpoint file, teacher or student, in evaluation mode.

    `settings` are fields of `NetworkSettings`. Those that are missing or None are the file's own; what it does not tell
    either is read off the weights or official. `ratios` stand in for depth_interval_ratios that are the training's
    official ones: the official test program has others. Raises CheckpointError.
    """
    content = read_checkpoint(path)
    chosen = checkpoint_settings(content, path) | {name: value for name, value in settings.items() if value is not None}
    if "depth_interval_ratios" not in chosen or (
        settings.get("depth_interval_ratios") is None and tuple(chosen["depth_interval_ratios"]) == OFFICIAL_RATIOS
    ):
        chosen["depth_interval_ratios"] = ratios
    state = content["model"]
    try:
        network = NetworkSettings(**chosen)
        with torch.device("meta"):  # no memory for a network that is larger than the file's
            check_weights(CascadeMVSNet(network), state, path)
    except ValueError as error:
        raise CheckpointError(f"{path}: does not go with these settings: {error}") from None
    model = CascadeMVSNet(network)
    model.load_state_dict(state)
    # About twice as fast as the default layout on CPUs.
    model.cost_regularization.to(memory_format=torch.channels_last_3d)
    return model.eval()


def checkpoint_settings(content: dict[str, Any], path: str | os.PathLike) -> dict[str, Any]:
    """The fields of NetworkSettings that a checkpoint's content tells or its weights show; raises CheckpointError."""
    state = content["model"]
    kind = network_kind(state)
    widths = [state.get(f"cost_regularization.{i}.conv1.conv.weight") for i in range(len(STAGES))]
    if kind is None or any(weight is None or weight.ndim != 5 for weight in widths):
        raise CheckpointError(f"{path}: is of another network: neither a teacher's nor a student's keys")
    try:
        stored = stored_settings(content)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from None
    seen = {"cr_base_chs": tuple(max(1, weight.shape[0] // 2) for weight in widths)}
    seen["view_weights"] = "learned" if has_view_weights(state) else "equal"
    return {"kind": kind, **stored, **seen, "extra_input_conv": has_input_conv(state)}


def checkpoint_bytes(model: CascadeMVSNet, optimizer: torch.optim.Optimizer, epoch: int, **extra: Any) -> bytes:
    """A checkpoint file's content in the official format; beside it what the network is, and `extra` entries."""
    buffer = io.BytesIO()
    content = {"epoch": epoch, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
    content |= {"network": model.settings.stored(), **extra}
    torch.save(content, buffer)
    return buffer.getvalue()


def averaged_weights(paths: Sequence[str | os.PathLike]) -> dict[str, Tensor]:
    """The mean of the weights of several checkpoints, BatchNorm's statistics among them; counters are the first one's.

    Raises CheckpointError for a file that cannot be read, and where one's network is another than the first one's.
    """
    first = load_model(paths[0])
    states = [first.state_dict()]
    for path in paths[1:]:
        other = load_model(path)
        if other.settings != first.settings:
            raise CheckpointError(f"{path}: its network is another than that of {paths[0]}; their weights have no mean")
        states.append(other.state_dict())
    means = {}
    for name, value in states[0].items():
        same = [state[name] for state in states]
        means[name] = torch.stack(same).mean(dim=0) if value.is_floating_point() else value
    return means


def file_digest(path: str | os.PathLike) -> str:
    """SHA-256 of a checkpoint file, by which results tell the weights that made them."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        raise CheckpointError(f"{path}: no such checkpoint") from None

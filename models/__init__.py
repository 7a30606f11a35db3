"""Networks and losses of KD-MVS; they know tensors, not files. Names are loaded when they are first used."""

import importlib
from typing import Any

_HOMES = {"CascadeMVSNet": "models.cascade", "build_model": "models.cascade", "NetworkSettings": "models.settings"}
__all__ = ["CascadeMVSNet", "NetworkSettings", "build_model"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)

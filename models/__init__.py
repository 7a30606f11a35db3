"""Networks and losses of KD-MVS; they know tensors, not files."""

from models.cascade import CascadeMVSNet, build_model

__all__ = ["CascadeMVSNet", "build_model"]

"""TensorBoard event files of a training: scalars and pictures."""

import contextlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from datasets.files import DataError


class EventLog:
    """Writes tensorboardX events into a folder; without a folder every call does nothing."""

    def __init__(self, folder: Path | None) -> None:
        self._writer = None
        if folder is None:
            return
        from tensorboardX import SummaryWriter  # slow to import; one process needs it

        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._writer = SummaryWriter(str(folder))
        except OSError as error:
            raise DataError(f"{folder}: cannot be written: {error.strerror}") from None

    @property
    def active(self) -> bool:
        """Whether anything is written."""
        return self._writer is not None

    def scalars(self, group: str, values: dict[str, float], step: int) -> None:
        """Log named numbers, those that are finite: tensorboardX complains about others on stderr."""
        if self._writer is not None:
            for name, value in values.items():
                if math.isfinite(value):
                    self._writer.add_scalar(f"{group}/{name}", value, step)

    def images(self, group: str, pictures: dict[str, np.ndarray], step: int) -> None:
        """Log named pictures, float [3, H, W] or [1, H, W] in 0..1."""
        if self._writer is not None:
            for name, picture in pictures.items():
                self._writer.add_image(f"{group}/{name}", np.nan_to_num(picture), step)

    def close(self) -> None:
        """Write what is left; a full disk costs the log's end, not the training."""
        if self._writer is not None:
            with contextlib.suppress(OSError):
                self._writer.close()
            self._writer = None


def sample_images(batch: dict[str, Any], outputs: dict[str, Any]) -> dict[str, np.ndarray]:
    """Pictures of a batch's first sample: reference image, depth, confidence, ground truth or label where known."""
    low, high = float(batch["depth_values"][0, 0]), float(batch["depth_values"][0, -1])

    def depth_picture(depth: Tensor) -> np.ndarray:
        return ((depth[0].detach().float().cpu() - low) / (high - low)).clamp(0, 1)[None].numpy()

    pictures = {"reference": batch["imgs"][0, 0].cpu().numpy(), "depth": depth_picture(outputs["depth"])}
    pictures["confidence"] = outputs["photometric_confidence"][0].detach().float().cpu()[None].numpy()
    if "depth" in batch:
        pictures["ground_truth"] = depth_picture(batch["depth"]["stage3"])
    if "mu" in batch:
        pictures["label"] = depth_picture(batch["mu"]["stage3"] * torch.as_tensor(batch["label_mask"]["stage3"]))
    return pictures

"""What a training logs: numbers in metrics.jsonl, and with pictures in TensorBoard's event files."""

import contextlib
import json
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from datasets.files import DataError, write_bytes
from datasets.formats.metrics import METRICS, lines_up_to


class TrainingLog:
    """Writes metrics.jsonl and tensorboardX events into a folder; without a folder every call does nothing.

    Events are written at once, not by tensorboardX's background thread: on a full disk that thread ends, and whoever
    waits for it hangs. Here it raises DataError. Every start has an event file of its own, so what a killed process
    left at the end of an older one does no harm; of those, TensorBoard drops what is from `first_step` on. So does a
    start with the lines of metrics.jsonl. A line is written by one call: it is whole, or at the end of the file.
    """

    def __init__(self, folder: Path | None, first_step: int = 0) -> None:
        self._writer = None
        if folder is None:
            return
        from tensorboardX.event_file_writer import EventsWriter  # slow to import; one process needs it

        self._folder = folder
        with self._writing():
            folder.mkdir(parents=True, exist_ok=True)
            write_bytes(folder / METRICS, *lines_up_to(folder / METRICS, first_step - 1))
            self._metrics = open(folder / METRICS, "ab")  # noqa: SIM115
            self._writer = EventsWriter(str(folder / "events"), f".{os.getpid()}")
            self._write_start(first_step)

    def _write_start(self, step: int) -> None:
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        start = SessionLog(status=SessionLog.SessionStatus.START)
        self._writer.write_event(Event(wall_time=time.time(), step=step, session_log=start))
        self._writer.flush()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._writer = None
            message = f"{self._folder}: metrics.jsonl or the event file cannot be written: {error.strerror or error}"
            raise DataError(message) from None

    @property
    def active(self) -> bool:
        """Whether anything is written."""
        return self._writer is not None

    def scalars(self, group: str, values: dict[str, float], step: int) -> None:
        """Log named numbers, those that are finite: JSON knows no others, and tensorboardX complains about them."""
        if self._writer is not None:
            from tensorboardX.summary import scalar

            finite = {f"{group}/{name}": value for name, value in values.items() if math.isfinite(value)}
            with self._writing():
                self._metrics.write(json.dumps({"step": step, **finite}).encode() + b"\n")
                self._metrics.flush()
            self._write([scalar(name, value) for name, value in finite.items()], step)

    def images(self, group: str, pictures: dict[str, np.ndarray], step: int) -> None:
        """Log named pictures, float [3, H, W] or [1, H, W] in 0..1."""
        if self._writer is not None:
            from tensorboardX.summary import image

            self._write([image(f"{group}/{name}", np.nan_to_num(picture)) for name, picture in pictures.items()], step)

    def _write(self, summaries: list[Any], step: int) -> None:
        from tensorboardX.proto.event_pb2 import Event

        with self._writing():
            for summary in summaries:
                self._writer.write_event(Event(wall_time=time.time(), step=step, summary=summary))
            self._writer.flush()

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            with self._writing():
                self._metrics.close()
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

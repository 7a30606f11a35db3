"""Reading `metrics.jsonl`, the numbers of a training as tools.training.log writes them.

A line is a JSON object: "step", and numbers by their names such as "train/total". Steps do not go back.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from datasets.files import DataError, PathLike, list_folder, read_bytes

METRICS = "metrics.jsonl"

# Numbers by name: [N, 2] float64 of step and value, in the order of steps.
Scalars = dict[str, np.ndarray]

_LARGEST_STEP = 2**53  # float64 holds every whole number up to here


def read_scalars(folder: PathLike) -> Scalars:
    """The numbers of the training that a folder belongs to; empty when none has been logged there."""
    return read_metrics(Path(folder) / METRICS) if METRICS in list_folder(folder) else {}


def read_metrics(path: PathLike) -> Scalars:
    """The numbers in a file; raises DataError when it is missing or damaged."""
    found: dict[str, list[tuple[int, float]]] = {}
    last = 0
    for number, line in enumerate(whole_lines(read_bytes(path)), 1):
        record = _record(path, number, line)
        step = record.pop("step")
        if step < last:
            raise DataError(f"{path}: line {number} is of step {step}, after step {last}; move this file away")
        last = step
        for name, value in record.items():
            found.setdefault(name, []).append((step, value))
    return {name: np.array(rows, np.float64) for name, rows in sorted(found.items())}


def lines_up_to(path: PathLike, step: int) -> list[bytes]:
    """The lines of a file up to a step, this one included, with their ends; none when there is no file."""
    if not Path(path).exists():
        return []
    lines = list(whole_lines(read_bytes(path)))
    return [line for number, line in enumerate(lines, 1) if _record(path, number, line)["step"] <= step]


def whole_lines(content: bytes) -> Iterator[bytes]:
    """The lines with their ends; without the last one where it has none, as a killed process leaves it."""
    start = 0
    while end := content.find(b"\n", start) + 1:
        yield content[start:end]
        start = end


def _record(path: PathLike, number: int, line: bytes) -> dict[str, int | float]:
    """A line's names and numbers, "step" among them."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict) or not _is_step(record.get("step")) or not all(map(_is_number, record.values())):
        raise DataError(f"{path}: line {number} is damaged; move this file away, the training's checkpoints stay")
    return record


def _is_step(value: object) -> bool:
    return type(value) is int and 0 <= value <= _LARGEST_STEP


def _is_number(value: object) -> bool:
    """Whether a value is a finite number that float64 holds."""
    if type(value) is int:
        return abs(value) <= _LARGEST_STEP
    return type(value) is float and math.isfinite(value)

"""What results were made from, so that a rerun makes anew exactly those that depend on what has changed.

Beside the map that marks a view as finished lies its record (JSON): "made_from", the digest of all that the view's
files depend on, and digests of what they hold, from which later steps make theirs. A view is written in the order
files, record, map. Before anything is made anew, the maps of all views that are stale are removed. So a map that is
there is the one that its record tells, whenever a program was killed.
"""

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from datasets.camera import Camera
from datasets.files import DataError, read_bytes, read_json, write_json
from datasets.formats.pfm import write_pfm


class ImageStamp(NamedTuple):
    """Size in bytes, time of the last change (ns) and SHA-256 of an image file."""

    size: int
    changed: int
    digest: str


def digest(*facts: Any) -> str:
    """SHA-256 of values that JSON can hold."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def map_digest(values: np.ndarray) -> str:
    """SHA-256 of a float32 map [H, W]: of its shape and values, whatever file holds it."""
    hashed = hashlib.sha256(repr(values.shape).encode())
    hashed.update(np.ascontiguousarray(values, "<f4"))
    return hashed.hexdigest()


def camera_facts(camera: Camera) -> list[list]:
    """What a camera's projection depends on, for `digest`."""
    return [camera.K.tolist(), camera.cam_T_world.tolist()]


def image_stamp(path: Path, known: ImageStamp | None = None) -> ImageStamp:
    """The stamp of an image, which is read only where size or time differ from those that are `known`."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    if known is not None and known[:2] == (status.st_size, status.st_mtime_ns):
        return known
    return ImageStamp(status.st_size, status.st_mtime_ns, hashlib.sha256(read_bytes(path)).hexdigest())


def read_record(path: Path) -> dict[str, Any]:
    """A view's or a scan's record; empty where there is none, or a damaged one."""
    with contextlib.suppress(DataError):
        content = read_json(path)
        if isinstance(content, dict):
            return content
    return {}


def recorded_stamp(record: dict[str, Any]) -> ImageStamp | None:
    """The image stamp in a view's record."""
    stamp = record.get("image")
    if isinstance(stamp, list) and [type(value) for value in stamp] == [int, int, str]:
        return ImageStamp(*stamp)
    return None


def keep_record(path: Path, record: dict[str, Any]) -> None:
    """Write a scan's record unless it is there already."""
    if read_record(path) != record:
        write_json(path, record)


def write_marker(path: Path, values: np.ndarray, record_path: Path, record: dict[str, Any]) -> None:
    """Write the map that marks a view as finished, after its record."""
    write_json(record_path, record)
    write_pfm(path, values)
    os.utime(record_path)  # no older than the map: what changes the map later is told by the times

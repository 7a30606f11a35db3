"""Reading the scalars of TensorBoard event files, as tensorboardX and `tools.training.log` write them.

A file is a sequence of records: length (8 bytes), its checksum (4), an Event as protobuf, its checksum (4). Pictures
are stepped over, so memory grows with the number of scalars, not with the file.
"""

import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from datasets.files import DataError, PathLike, list_folder

# Scalars by tag: [N, 2] float64 of step and value, in the order of steps.
Scalars = dict[str, np.ndarray]

_LENGTH, _CHECKSUM = struct.Struct("<Q"), struct.Struct("<I")
# An event of scalars takes some dozens of bytes; what is longer holds pictures or histograms.
_LONGEST_EVENT = 1 << 16


def read_scalars(folder: PathLike) -> Scalars:
    """The finite scalars of all event files in a folder; empty when there is none.

    Where a training was started again, what an older file holds from that step on is dropped, as TensorBoard does.
    """
    names = [name for name in list_folder(folder) if "tfevents" in name]  # they begin with the time of the start
    return _scalars(event for name in names for event in read_events(Path(folder) / name))


def read_event_file(path: PathLike) -> Scalars:
    """The finite scalars of one event file; raises DataError when it is missing or damaged."""
    return _scalars(read_events(path))


def _scalars(events: Iterator[Any]) -> Scalars:
    found: dict[str, list[tuple[int, float]]] = {}
    for event in events:
        if event.session_log.status == event.session_log.START:
            found = {tag: [row for row in rows if row[0] < event.step] for tag, rows in found.items()}
        for value in event.summary.value:
            if value.WhichOneof("value") == "simple_value":
                found.setdefault(value.tag, []).append((event.step, value.simple_value))
    tables = {tag: np.array(rows, np.float64).reshape(-1, 2) for tag, rows in sorted(found.items())}
    tables = {tag: table[np.isfinite(table[:, 1])] for tag, table in tables.items()}
    return {tag: table[np.argsort(table[:, 0], kind="stable")] for tag, table in tables.items() if len(table)}


def read_events(path: PathLike) -> Iterator[Any]:
    """The Events of a file that are small enough to hold scalars, with their checksums checked.

    Half a record at the end is what a killed process leaves, and ends the file. Raises DataError for other damage.
    """
    from google.protobuf.message import DecodeError  # slow to import, as is tensorboardX
    from tensorboardX.proto.event_pb2 import Event

    try:
        with open(path, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise DataError(f"{path}: is not a file")
            for number, content in enumerate(_records(path, file)):
                event = Event.FromString(content)
                if number == 0 and not event.file_version.startswith("brain.Event"):
                    raise DataError(f"{path}: is not an event file of TensorBoard")
                yield event
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    except DecodeError:
        raise _damaged(path) from None


def _records(path: PathLike, file: BinaryIO) -> Iterator[bytes]:
    """The contents of the short records, whose checksums are right."""
    from tensorboardX.record_writer import masked_crc32c

    size = os.fstat(file.fileno()).st_size
    while len(head := file.read(12)) == 12:
        if masked_crc32c(head[:8]) != _CHECKSUM.unpack(head[8:])[0]:
            raise _damaged(path)
        (length,) = _LENGTH.unpack(head[:8])
        end = file.tell() + length + 4
        if end > size:
            return
        if length > _LONGEST_EVENT:
            file.seek(end)
            continue
        content, checksum = file.read(length), file.read(4)
        if masked_crc32c(content) != _CHECKSUM.unpack(checksum)[0]:
            raise _damaged(path)
        yield content


def _damaged(path: PathLike) -> DataError:
    return DataError(f"{path}: this event file is damaged; move it away, the curves of other files stay")

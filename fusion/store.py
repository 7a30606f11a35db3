"""Points in a temporary file: as many as there are, in memory only block by block."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np

from datasets.files import DataError
from fusion.clouds import Points

_BLOCK = 1 << 20  # points in memory at a time


class PointStore:
    """Takes points part by part and gives them again, in their order, as often as wanted; a context manager.

    The file lies in `folder`, has no name, and goes with the process however that ends. Raises DataError when it cannot
    be written (a full disk).
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._dtype: np.dtype | None = None
        self._like: Points | None = None  # which columns there are
        self.count = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115  closed in __exit__
        except OSError as error:
            raise self._failed(error) from None

    def __enter__(self) -> "PointStore":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def __len__(self) -> int:
        return self.count

    def append(self, points: Points) -> None:
        """Add points; all have the columns of the first ones, and their precision."""
        if self._dtype is None:
            self._like, self._dtype = points[:0], _record(points)
        records = np.empty(len(points), self._dtype)
        for name in self._dtype.names:
            records[name] = getattr(points, name)
        try:
            self._file.seek(0, 2)
            self._write(memoryview(records.view(np.uint8)))
        except OSError as error:
            raise self._failed(error) from None
        self.count += len(points)

    def _write(self, content: memoryview) -> None:
        while len(content):
            content = content[self._file.write(content) :]

    def _failed(self, error: OSError) -> DataError:
        return DataError(f"{self._folder}: cannot hold the cloud while it is made: {error.strerror or error}")

    def blocks(self, size: int = _BLOCK) -> Iterator[Points]:
        """The points in order, `size` at a time."""
        for start in range(0, self.count, size):
            yield self.part(start, min(start + size, self.count))

    def part(self, start: int, stop: int) -> Points:
        """The points from one index up to another."""
        if self._dtype is None or stop <= start:
            return self.empty
        self._file.seek(start * self._dtype.itemsize)
        content = bytearray((stop - start) * self._dtype.itemsize)
        view = memoryview(content)
        while len(view):
            view = view[self._file.readinto(view) :]
        records = np.frombuffer(content, self._dtype)
        return Points(**{name: np.ascontiguousarray(records[name]) for name in self._dtype.names})

    @property
    def empty(self) -> Points:
        """No point, with the columns of the others."""
        if self._like is None:
            nothing = np.empty((0, 3), np.float32)
            return Points(nothing, nothing.astype(np.uint8))
        return self._like

    def sample(self, count: int) -> np.ndarray:
        """About `count` of the places [n, 3], evenly over their order; all of them where there are no more."""
        step = max(1, self.count // count)
        parts, start = [], 0
        for block in self.blocks():
            parts.append(block.xyz[-start % step :: step])
            start += len(block)
        return np.concatenate(parts) if parts else self.empty.xyz


def _record(points: Points) -> np.dtype:
    """The type of a point's record: its columns, side by side."""
    columns = [("xyz", points.xyz), ("colors", points.colors), ("normals", points.normals)]
    columns += [("views", points.views), ("confidence", points.confidence)]
    return np.dtype([(name, array.dtype, array.shape[1:]) for name, array in columns if array is not None])

"""What the last lines of a scan's camera files mean, and whether its cameras belong to its images (docs/formats.md).

Converters write `depth_min interval`, `depth_min interval count [depth_max]`, `depth_min depth_max` or
`depth_min depth_max interval`, and the file does not say which. What is plausible does, for the forms exclude each
other: an interval is at most the nearest depth, a farthest depth is beyond it.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from datasets.camera import Camera
from datasets.files import DataError

DEPTHS = 192  # that a line without a count stands for

_WIDEST = 50.0  # farthest to nearest depth
_FEWEST = 8  # depths of a range
_ALIKE = 0.02  # share of the sides by which principal points of scaled images differ across and down
_ASIDE = 0.08  # and by which those of others are off the middle at most
_DIFFERENT = 0.25  # share of a range by which it may differ and still be interval and count of a converter
_SAME = 0.02  # share of a range by which depth_max may differ from what interval and count make of it

_AS_WRITTEN = "write 'depth_min interval count depth_max', four numbers that agree, or give --dataset as_written"

DepthLine = tuple[float, ...]


def scan_has_maxima(lines: Mapping[Path, DepthLine]) -> bool:
    """Whether the second number of a scan's last lines is the farthest depth, not an interval.

    Raises DataError, which names a file, when they differ in that.
    """
    two = {path: line for path, line in lines.items() if len(line) in (2, 3) and line[0] > 0}
    beyond = [path for path, line in two.items() if line[1] > line[0]]
    if beyond and len(beyond) < len(two):
        other = next(path for path in two if path not in beyond)
        raise DataError(
            f"{beyond[0]}: its last line has a second number above the first, {other.name} one below: interval and "
            f"depth_max are mixed in this scan; {_AS_WRITTEN}"
        )
    return bool(beyond)


def explained(camera: Camera, maxima: bool, path: Path) -> Camera:
    """The camera with a depth line `depth_min interval [count depth_max]`, whatever its file has.

    maxima: whether the scan's second numbers are farthest depths (`scan_has_maxima`). Raises DataError for a range that
    is not plausible in any form.
    """
    line = camera.depth_line
    if not 2 <= len(line) <= 4 or line[0] <= 0:
        return camera  # depth_values says what is wrong with it
    if len(line) == 4:
        return _four_numbers(camera, path)
    if (line[1] > line[0]) != maxima:
        raise DataError(f"{path}: its last line differs in kind from those of the scan's other views; {_AS_WRITTEN}")
    if maxima:
        return _with_maximum(camera, path)
    if len(line) == 3:
        _check_count(line[2], path)
    depth_max = line[0] + line[1] * (int(line[2]) if len(line) == 3 else DEPTHS)
    _check_range(line[0], depth_max, "interval", path)
    return camera


def _with_maximum(camera: Camera, path: Path) -> Camera:
    """Of a camera whose line is `depth_min depth_max [interval]`."""
    depth_min, depth_max, *interval = camera.depth_line
    _check_range(depth_min, depth_max, "depth_max", path)
    count = float(DEPTHS)
    if interval:
        count = float(round((depth_max - depth_min) / interval[0])) if interval[0] > 0 else 0.0
        if count < _FEWEST:
            raise DataError(
                f"{path}: its last line {_words(camera.depth_line)} is neither 'depth_min interval count' nor "
                f"'depth_min depth_max interval'; {_AS_WRITTEN}"
            )
    return with_range(camera, depth_min, depth_max, count)


def with_range(camera: Camera, depth_min: float, depth_max: float, count: float = float(DEPTHS)) -> Camera:
    """The camera with a depth line of four numbers."""
    line = (depth_min, (depth_max - depth_min) / count, count, depth_max)
    return dataclasses.replace(camera, depth_line=line)


def _four_numbers(camera: Camera, path: Path) -> Camera:
    """`depth_min interval count depth_max`: taken at its word where the numbers agree."""
    depth_min, interval, count, depth_max = camera.depth_line
    last = depth_min + interval * count
    if abs(last - depth_max) <= max(_SAME * abs(depth_max - depth_min), 1.01 * abs(interval)):
        return camera
    if interval > depth_min or abs(last - depth_max) > _DIFFERENT * abs(depth_max - depth_min):
        raise DataError(
            f"{path}: its last line {_words(camera.depth_line)} is not 'depth_min interval count depth_max': "
            f"{depth_min:g} + {count:g} x {interval:g} is {last:g}; {_AS_WRITTEN}"
        )
    _check_count(count, path)
    _check_range(depth_min, last, "interval", path)
    return camera


def _check_count(count: float, path: Path) -> None:
    if count != int(count) or count < _FEWEST:
        raise DataError(
            f"{path}: its last line has {count:g} as the number of depths, which is "
            f"{'fractional' if count != int(count) else 'very few'}; {_AS_WRITTEN}"
        )


def _check_range(depth_min: float, depth_max: float, second: str, path: Path) -> None:
    if depth_max > _WIDEST * depth_min:
        tanks = "--dataset tanks takes it as depth_max; or " if second == "depth_max" else ""
        raise DataError(
            f"{path}: with its last line's second number as {second} depths reach from {depth_min:g} to {depth_max:g}, "
            f"over {_WIDEST:g}:1; {tanks}{_AS_WRITTEN}"
        )


def _words(line: Sequence[float]) -> str:
    return "'" + " ".join(f"{value:g}" for value in line) + "'"


def off_centre(camera: Camera, size: tuple[int, int]) -> str:
    """Where the principal point lies, in words, if not where that of an image of a size (width, height) should.

    K of another size shows in both directions alike: a lens or a crop hardly ever does.
    """
    across, down = camera.K[:2, 2] / size
    if not (0.25 <= across <= 0.75 and 0.25 <= down <= 0.75):
        return "outside the middle half"
    alike = abs(across - down) < _ALIKE and min(abs(across - 0.5), abs(down - 0.5)) > _ASIDE
    return f"at {across:.2f} of the width and {down:.2f} of the height" if alike else ""

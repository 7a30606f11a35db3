"""What settings may hold, numbers above all. Every check raises DataError in the words of the programs' flags. Light:
no torch.

The limits lie beyond what anybody uses. They keep a mistyped number from taking all memory, or from becoming infinite.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from datasets.files import DataError

PRECISIONS = ("auto", "off", "bf16", "fp16")
MOST_VIEWS = 10_000
MOST_DEPTHS = 65_536
MOST_SAMPLES = 4096  # of a batch
MOST_WORKERS = 1024
MOST_CHANNELS = 1024
SMALLEST_SIDE, LARGEST_SIDE = 32, 65_536  # of an image, pixels; the networks halve it five times
SMALLEST_SCALE, LARGEST_SCALE = 1e-6, 1e6
MOST_CACHE_GB = 1e6

_STAGES = 3
_DEPTH_STEP = 8  # the 3D U-Nets halve the hypotheses three times


def check_between(flag: str, value: float, least: float, most: float) -> None:
    """Refuse what is not from `least` on and at most `most`: NaN too, and the list that argparse makes of `--`."""
    if not isinstance(value, int | float) or not least <= value <= most:
        raise DataError(f"--{flag} {_text(value)}: must be a number from {_text(least)} on, {_text(most)} at most")


def use_plain_numbers(settings: Any) -> None:
    """Let the numbers of numpy in a frozen dataclass, and those in its tuples, be Python's: records hold no others."""
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        plain = _plain(value)
        if isinstance(plain, tuple | list):
            plain = tuple(_plain(item) for item in plain)
        if plain is not value:
            object.__setattr__(settings, field.name, plain)


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


def check_precision(amp: str) -> None:
    """Refuse a precision that there is not."""
    if amp not in PRECISIONS:
        raise DataError(f"--amp {amp}: must be one of {', '.join(PRECISIONS)}")


def check_depth_range(numdepth: int, interval_scale: float) -> None:
    """Refuse a number or an interval of depth values that make no range."""
    if not SMALLEST_SCALE <= interval_scale <= LARGEST_SCALE:
        raise DataError(
            f"--interval_scale {interval_scale}: must be positive, from {SMALLEST_SCALE:g} to {LARGEST_SCALE:g}"
        )
    if numdepth < 2:
        raise DataError(f"--numdepth {numdepth}: a range needs at least two depth values")
    check_between("numdepth", numdepth, 2, MOST_DEPTHS)


def check_views(flag: str, views: int) -> None:
    """Refuse a number of views, the reference among them, that makes no sample."""
    if not isinstance(views, int):
        raise DataError(f"--{flag} {views!r}: must be a whole number")
    if views < 2:
        raise DataError(f"--{flag}: {views} views are too few: a reference needs at least one source view")
    check_between(flag, views, 2, MOST_VIEWS)


def check_size(max_w: int, max_h: int) -> None:
    """Refuse a largest image size in which no image fits the networks."""
    for flag, side in (("max_w", max_w), ("max_h", max_h)):
        if side < SMALLEST_SIDE:
            raise DataError(f"--{flag} {side}: is too small; images are scaled to sides that are multiples of 32")
        check_between(flag, side, SMALLEST_SIDE, LARGEST_SIDE)


def check_network(
    ndepths: Sequence[int] | None, depth_interval_ratios: Sequence[float] | None, cr_base_chs: Sequence[int] | None
) -> None:
    """Refuse numbers of hypotheses, their spacings and channels that no network has; None: not given."""
    if ndepths is not None and (len(ndepths) != _STAGES or any(not _is_depth_count(count) for count in ndepths)):
        raise DataError(f"--ndepths {_listed(ndepths)}: needs three multiples of 8, {MOST_DEPTHS} at most")
    ratios = depth_interval_ratios
    if ratios is not None and (len(ratios) != _STAGES or not all(0 < ratio < LARGEST_SCALE for ratio in ratios)):
        raise DataError(f"--depth_inter_r {_listed(ratios)}: needs three positive numbers below {LARGEST_SCALE:g}")
    if cr_base_chs is not None:
        if len(cr_base_chs) != _STAGES or min(cr_base_chs) < 1:
            raise DataError("--dlossw and --cr_base_chs need three numbers, one per stage")
        check_between("cr_base_chs", max(cr_base_chs), 1, MOST_CHANNELS)


def _is_depth_count(count: int) -> bool:
    return _DEPTH_STEP <= count <= MOST_DEPTHS and count % _DEPTH_STEP == 0


def _text(value: float) -> str:
    return f"{value:g}" if isinstance(value, float) and not math.isnan(value) else str(value)


def _listed(values: Sequence[float]) -> str:
    return ",".join(map(str, values))

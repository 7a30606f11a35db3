"""The learning rate of each training step."""

import bisect
import math

from datasets.files import DataError

# Together they keep the rate finite, should a divisor below 1 raise it.
_SMALLEST_DIVISOR, _MOST_MILESTONES = 1e-3, 100


def learning_rate_factor(
    step: int, steps_per_epoch: int, warmup: int, milestones: list[float], divisor: float
) -> float:
    """Factor on the learning rate at a step: linear warm-up from 1/3, then divided at each milestone, in epochs."""
    factor = divisor ** -bisect.bisect_right(milestones, step / steps_per_epoch)
    if step < warmup:
        factor *= 1 / 3 + (1 - 1 / 3) * step / warmup
    return factor


def parse_milestones(text: str) -> tuple[list[float], float]:
    """(epochs, divisor) of a flag such as "6,8,12:2"; epochs may have fractions."""
    try:
        epochs, divisor = text.split(":")
        milestones = sorted(float(epoch) for epoch in epochs.split(",")), float(divisor)
    except ValueError:
        milestones = [], 0.0
    if not _SMALLEST_DIVISOR <= milestones[1] < math.inf or not all(map(math.isfinite, milestones[0])):
        raise DataError(f"--lrepochs {text[:80]}: write epochs and a divisor such as 6,8,12:2")
    if len(milestones[0]) > _MOST_MILESTONES:
        raise DataError(f"--lrepochs {text[:80]}...: has more than {_MOST_MILESTONES} epochs")
    return milestones

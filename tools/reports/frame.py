"""Where a page's model lies: world points become steps of 16 bits around a centre."""

import dataclasses

import numpy as np

_LARGEST = 32767  # of int16
# The middle part of a cloud in percentiles along each axis; the box reaches further by its extent on every side.
_BODY = (1, 99)


@dataclasses.dataclass(frozen=True)
class Frame:
    """The box low to high [3] around a model, in the world's unit, whose centre is 0 and whose longest side has 65534
    steps."""

    low: np.ndarray
    high: np.ndarray

    @property
    def centre(self) -> np.ndarray:
        """Its middle, float64 [3]."""
        return (self.low.astype(np.float64) + self.high) / 2

    @property
    def step(self) -> float:
        """The length of a step."""
        return max(float((self.high - self.low).max()) / 2 / _LARGEST, float(np.finfo(np.float32).tiny))

    def holds(self, xyz: np.ndarray) -> np.ndarray:
        """Which of the points [N, 3] lie in the box."""
        return ((xyz >= self.low) & (xyz <= self.high)).all(axis=1)

    def steps(self, xyz: np.ndarray) -> np.ndarray:
        """Points [N, 3] as int16; those beyond the box lie on its border."""
        return np.rint((xyz - self.centre) / self.step).clip(-_LARGEST, _LARGEST).astype("<i2")


def frame_around(xyz: np.ndarray) -> Frame:
    """The box around points [N, 3] without what lies far off."""
    low, high = np.percentile(xyz, _BODY, axis=0)
    rounding = 8 * float(np.finfo(xyz.dtype).eps)  # points on one plane have a box, too
    reach = max(float((high - low).max()), float(np.abs(high).max()) * rounding, np.finfo(np.float32).tiny)
    return Frame(np.maximum(low - reach, xyz.min(axis=0)), np.minimum(high + reach, xyz.max(axis=0)))


def frame_of_both(one: Frame, other: Frame) -> Frame:
    """The box around two boxes."""
    return Frame(np.minimum(one.low, other.low), np.maximum(one.high, other.high))

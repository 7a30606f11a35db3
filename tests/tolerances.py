"""The one table of tolerances: how far results may lie from those of the definition, or of the golden files, by
precision.

Processors add in different orders, so the same float32 code ends elsewhere on each. How far was measured against the
golden files: with oneDNN, MKL and torch held to instruction sets from SSE4 to AVX-512, with one and two threads, and
in float64, which is no nearer than any processor. Depths in mm, where hypotheses lie 1 to 10 mm apart:
  predicted depth       99.5 % within 7e-4, all of the teacher's within 1.4e-3
  depth in training     all of the teacher's within 4.4e-3, as BatchNorm's statistics are rounded too
  confidence, variance  all within 6e-5
  losses                5e-6 of their value
  gradient norms        each within 0.9 % of its value; on an AMD EPYC 5 of 133 up to 1.9 %. With layers that compute
                        in float64 each within 0.8 %, 95 % of them within 0.25 %, 0.3 % between processors
"""

from typing import NamedTuple

import numpy as np


class Limit(NamedTuple):
    """`share` of the values differ by at most `near`, all of them by at most `far`; both after `relative` of the
    expected value is taken off."""

    near: float
    share: float = 1.0
    far: float = np.inf
    relative: float = 0.0

    def excess(self, actual, expected) -> np.ndarray:
        """By how much values differ beyond what is relative."""
        actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
        return np.abs(actual - expected) - self.relative * np.abs(expected)

    def account(self, actual, expected) -> dict[str, float]:
        """What was found beside what is allowed: the largest excess of the `share` of values that lie nearest, and of
        all."""
        excess = np.sort(self.excess(actual, expected), axis=None)
        nearest = excess[int(np.ceil(self.share * len(excess))) - 1]
        return {"found": float(nearest), "most": float(excess[-1]), **self._asdict()}

    def holds(self, actual, expected) -> bool:
        """Whether the values are within the limit; what is not a number never is."""
        excess = self.excess(actual, expected)
        return bool((excess <= self.near).mean() >= self.share and (excess <= self.far).all())


# What torch computes in, and "tf32": float32 whose factors an NVIDIA GPU rounds to 10 bits.
PRECISIONS = ("float32", "tf32", "bfloat16", "float16")

TABLE: dict[str, dict[str, Limit]] = {
    # ---- networks against the golden files. Depth in mm: of a teacher, and of a student, whose most probable hypothesis
    # may flip on a near tie at a few pixels.
    "depth": {"float32": Limit(1e-3, 0.995, 1e-2)},
    "chosen depth": {"float32": Limit(1e-3, 0.995)},
    "depth in training": {"float32": Limit(1e-2)},
    # Probabilities; after a flip they are those of another hypothesis.
    "confidence": {"float32": Limit(1e-4)},
    "chosen confidence": {"float32": Limit(1e-4, 0.995)},
    "log-variance": {"float32": Limit(1e-4)},
    "loss": {"float32": Limit(0, relative=1e-4)},
    # Relative to the expected one.
    "gradient norms": {"float32": Limit(0.01, 0.9, 0.04)},
    "gradient norms in float64": {"float32": Limit(0.005, 0.95, 0.015)},
    # ---- networks against themselves
    "depth in a batch": {"float32": Limit(1e-2, 0.99)},
    "confidence in a batch": {"float32": Limit(1e-3, 0.99)},
    "view weights": {"float32": Limit(1e-4, relative=1e-3)},
    "features": {"float32": Limit(1e-4, relative=1e-4)},
    "statistics": {"float32": Limit(1e-5, relative=1e-4)},
    "mean of gradients": {"float32": Limit(1e-3, relative=1e-2)},
    # Relative to the largest output.
    "folded block": {"float32": Limit(1e-5, relative=1e-5), "bfloat16": Limit(0.03, relative=0.03)},
    "scores": {"float32": Limit(1e-5, relative=1e-5)},
    # ---- what is computed in float32 whatever networks compute in
    "hypothesis": {"float32": Limit(1e-5, relative=1.3e-6)},
    "inverse steps": {"float32": Limit(0, relative=1e-3)},
    "golden samples": {"float32": Limit(1e-4)},
    "samples": {"float32": Limit(1e-5)},
    "known variance": {"float32": Limit(1e-4, relative=1e-3)},
    "known similarity": {"float32": Limit(1e-3)},
    "volume": {"float32": Limit(1e-5, relative=1e-5)},
    "volume's gradient": {"float32": Limit(1e-5, relative=1e-4)},
    "weighed volume's gradient": {"float32": Limit(2e-5, relative=1e-4)},
    "loss of the same volume": {"float32": Limit(0, relative=1e-5)},
    "gradient of the same volume": {"float32": Limit(1e-9, relative=1e-3)},
    "mean of losses": {"float32": Limit(1e-6, relative=1e-5)},
    "mean of losses' gradients": {"float32": Limit(1e-7, relative=1e-4)},
}


def limit(quantity: str, precision: str) -> Limit:
    """The limit for a quantity; where none is told for a precision, it is computed in float32."""
    return TABLE[quantity].get(precision, TABLE[quantity]["float32"])

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

Rounded to 10 bits (TF32 and fp16) and to 7 (bf16), on CPUs, TF32 by rounding the convolutions' factors there. The
golden networks' weights are random: hypotheses are nearly tied, and a student's choice flips where a trained one's
would not. 12 mm is one hypothesis of the first stage.
                        10 bits                    7 bits
  teacher's depth       99.5 % within 0.5          99.5 % within 3
  student's depth       98 % within 12             83 % within 12
  depth in training     all within 3.5             all within 17
  confidence            95 % within 0.03           90 % within 0.12
  log-variance          all within 0.04            all within 0.35
  losses                3.5 % of their value       2.5 %
  gradient norms        90 % within 0.23           90 % within 0.29
"""

from typing import NamedTuple

import numpy as np


class Limit(NamedTuple):
    """`share` of the values differ by at most `near`, all of them by at most `far`; `relative` times the expected value
    is added to both."""

    near: float
    share: float = 1.0
    far: float = np.inf
    relative: float = 0.0

    def allowed(self, expected) -> np.ndarray:
        """How far values may be off that are among the `share` nearest."""
        return self.near + self.relative * np.abs(np.asarray(expected, np.float64))

    def holds(self, actual, expected) -> bool:
        """Whether the values are within the limit; what is not a number never is."""
        off = np.abs(np.asarray(actual, np.float64) - np.asarray(expected, np.float64))
        near, far = off <= self.allowed(expected), off - self.allowed(expected) + self.near <= self.far
        return bool(near.mean() >= self.share and far.all())

    def account(self, actual, expected) -> dict[str, float]:
        """What was found beside what is allowed: the largest difference of the `share` of values that lie nearest, and
        of all. Relative to the expected value where the limit is; where it is both, as a part of what is allowed."""
        off, unit = np.abs(np.asarray(actual, np.float64) - np.asarray(expected, np.float64)), 1.0
        allowed = self.near
        if self.relative:
            unit = np.maximum(self.allowed(expected), np.finfo(float).tiny)
            allowed = 1.0 if self.near else self.relative
        off = np.sort(off / unit * (allowed if self.relative else 1), axis=None)
        nearest = off[int(np.ceil(self.share * len(off))) - 1]
        return {"found": float(nearest), "allowed": allowed, "share": self.share, "largest": float(off[-1])}


# What torch computes in, and "tf32": float32 whose factors an NVIDIA GPU rounds to 10 bits.
PRECISIONS = ("float32", "tf32", "bfloat16", "float16")

TABLE: dict[str, dict[str, Limit]] = {
    # ---- networks against the golden files. Depth in mm: of a teacher, and of a student, whose most probable
    # hypothesis may flip on a near tie at a few pixels.
    "depth": {"float32": Limit(1e-3, 0.995, 1e-2), "tf32": Limit(1.2, 0.995, 3), "bfloat16": Limit(8, 0.995, 20)},
    "chosen depth": {"float32": Limit(1e-3, 0.995), "tf32": Limit(12, 0.96), "bfloat16": Limit(12, 0.75)},
    "depth in training": {"float32": Limit(1e-2), "tf32": Limit(8), "bfloat16": Limit(40)},
    # Probabilities; after a flip they are those of another hypothesis.
    "confidence": {"float32": Limit(1e-4), "tf32": Limit(0.02), "bfloat16": Limit(0.1)},
    "chosen confidence": {"float32": Limit(1e-4, 0.995), "tf32": Limit(0.06, 0.95), "bfloat16": Limit(0.25, 0.9)},
    "log-variance": {"float32": Limit(1e-4), "tf32": Limit(0.1), "bfloat16": Limit(0.8)},
    "loss": {"float32": Limit(0, relative=1e-4), "tf32": Limit(0, relative=0.1), "bfloat16": Limit(0, relative=0.1)},
    # Relative to the expected one.
    "gradient norms": {"float32": Limit(0.01, 0.9, 0.04), "tf32": Limit(0.5, 0.9, 4), "bfloat16": Limit(0.6, 0.9, 4)},
    "gradient norms in float64": {"float32": Limit(0.005, 0.95, 0.015)},
    # ---- networks against themselves
    "depth in a batch": {"float32": Limit(1e-2, 0.99), "tf32": Limit(12, 0.93), "bfloat16": Limit(12, 0.75)},
    "confidence in a batch": {"float32": Limit(1e-3, 0.99), "tf32": Limit(0.06, 0.95), "bfloat16": Limit(0.25, 0.9)},
    "view weights": {
        "float32": Limit(1e-4, relative=1e-3),
        "tf32": Limit(1e-3, relative=1e-2),
        "bfloat16": Limit(1e-2, relative=0.1),
    },
    "features": {
        "float32": Limit(1e-4, relative=1e-4),
        "tf32": Limit(1e-2, relative=1e-2),
        "bfloat16": Limit(0.1, relative=0.1),
    },
    "statistics": {"float32": Limit(1e-5, relative=1e-4)},
    # Without a scaled loss fp16 loses the smallest of them.
    "mean of gradients": {
        "float32": Limit(1e-3, relative=1e-2),
        "tf32": Limit(5e-3, relative=5e-2),
        "bfloat16": Limit(0.02, relative=0.1),
        "float16": Limit(0.02, relative=0.2),
    },
    # Relative to the largest output.
    "folded block": {
        "float32": Limit(1e-5, relative=1e-5),
        "tf32": Limit(2e-3, relative=2e-3),
        "bfloat16": Limit(0.03, relative=0.03),
    },
    "scores": {"float32": Limit(1e-5, relative=1e-5), "tf32": Limit(2e-3, relative=2e-3)},
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
    # Where a point lies at a source's border, or almost in its plane, rounding may move it a long way.
    "volume of other rays": {"float32": Limit(1e-4, 0.99)},
    "gradient of other rays": {"float32": Limit(1e-3, 0.99, relative=1e-3)},
    "loss of the same volume": {"float32": Limit(0, relative=1e-5)},
    "gradient of the same volume": {"float32": Limit(1e-9, relative=1e-3)},
    "mean of losses": {"float32": Limit(1e-6, relative=1e-5)},
    "mean of losses' gradients": {"float32": Limit(1e-7, relative=1e-4)},
}


def limit(quantity: str, precision: str) -> Limit:
    """The limit for a quantity. fp16 keeps as many bits as TF32; where none is told, it is computed in float32."""
    limits = TABLE[quantity]
    return limits.get(precision) or limits.get("tf32" if precision == "float16" else "float32") or limits["float32"]

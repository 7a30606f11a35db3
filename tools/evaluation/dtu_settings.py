"""How clouds are scored against DTU's ground truth, with the defaults of tools/eval_dtu.py. Light: no numba."""

import dataclasses
import math
import os
from pathlib import Path

from datasets.files import DataError

# The official search goes through the bounding box in cubes of this edge; no distance beyond it is ever found, mm.
SEARCH_BLOCK = 60.0
_FINEST = 1e-3  # mm between points


@dataclasses.dataclass(frozen=True)
class DtuSettings:
    """Fields are named as the flags.

    data_dir: the ground truth; ply_dir: the clouds; out: the JSON file of the scores, None for none. seed: of the
    random order in which a cloud is thinned to points that are `dst` mm apart; max_dist: distances from this on do not
    count, mm. jobs: scans at a time, as long as the estimate of their memory stays within memory_gb.

    Raises DataError, in the words of the flags, for values that cannot be.
    """

    data_dir: Path
    ply_dir: Path
    out: Path | None = None
    seed: int = 1
    dst: float = 0.2
    max_dist: float = 20.0
    jobs: int = os.cpu_count() or 1
    memory_gb: float = 6.0

    def __post_init__(self) -> None:
        if self.dst != 0 and not _FINEST <= self.dst < math.inf:
            raise DataError(f"--dst {self.dst}: must be 0 or a positive distance in mm, from {_FINEST:g} on")
        if not 0 < self.max_dist <= SEARCH_BLOCK:
            raise DataError(f"--max_dist {self.max_dist}: must be above 0 and at most {SEARCH_BLOCK:g} mm")
        if not self.memory_gb > 0:
            raise DataError(f"--memory_gb {self.memory_gb}: must be positive")

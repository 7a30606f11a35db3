"""What tools/benchmark.py measures. Light: no torch."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class BenchmarkSettings:
    """Fields are named as the flags.

    sections: what to measure; sizes, training_sizes: (width, height) of images; curve_steps: of the loss curves;
    num_view: views of a depth map; scan_views, fused_views: of the scans that are predicted and fused; cloud_points: of
    the scored cloud, millions.
    """

    sections: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    training_sizes: tuple[tuple[int, int], ...]
    curve_steps: int
    num_view: int
    scan_views: int
    fused_views: int
    cloud_points: float

"""Settings of prediction, fusion, labels and the plain plane sweep, with the programs' own defaults. Light: no torch.

Each raises DataError, in the words of the programs' flags, for values that cannot be.
"""

import dataclasses
import os
from pathlib import Path
from typing import Any

from datasets.files import DataError
from fusion.options import CloudOptions
from tools.runtime.limits import (
    MOST_CACHE_GB,
    MOST_DEPTHS,
    MOST_SAMPLES,
    MOST_WORKERS,
    check_between,
    check_depth_range,
    check_network,
    check_precision,
    check_size,
    check_views,
    use_plain_numbers,
)

CONFIDENCES = ("product", "last")
FILTERS = ("gipuma", "normal", "dynamic", "none")
CHECKS = ("normal", "dynamic")
_LARGEST_WINDOW = 255
_LONGEST_RUN = 1e6  # seconds


def check_view_count(thres_view: int) -> None:
    """Raise DataError for a number of views below 0."""
    if thres_view < 0:
        raise DataError(f"--thres_view {thres_view}: must be 0 or more")


@dataclasses.dataclass(frozen=True)
class NetworkOverrides:
    """The fields of models.settings.NetworkSettings that are not to be as the checkpoint tells; None: as it tells."""

    ndepths: tuple[int, ...] | None = None
    depth_interval_ratios: tuple[float, ...] | None = None
    spacing: str | None = None
    share_cr: bool | None = None
    read_out: str | None = None
    cr_base_chs: tuple[int, ...] | None = None
    view_weights: str | None = None

    def __post_init__(self) -> None:
        check_network(self.ndepths, self.depth_interval_ratios, self.cr_base_chs)


@dataclasses.dataclass(frozen=True)
class PredictionSettings:
    """How depth is predicted; the defaults are those of test.py.

    views: the reference and its sources. numdepth, interval_scale: number of depth values over the range, and a factor
    on the camera files' interval. max_size: (width, height) of the largest images, for layouts that scale them. light:
    the one to take where a layout has several, None for all. official_ratios: hypothesis spacings for checkpoints that
    tell none, or the training's official ones. confidence: what the confidence maps hold, the "product" of the stages'
    or the "last" one's. amp: precision; "auto" is bf16 where the device is fast at it. cache_gb: memory for features of
    views that come up again. batch_size: reference views at a time. workers: threads that read and write.
    """

    views: int = 5
    numdepth: int = 192
    interval_scale: float = 1.06
    max_size: tuple[int, int] = (1152, 864)
    light: int | None = None
    network: NetworkOverrides = NetworkOverrides()
    official_ratios: tuple[float, ...] = (4.0, 1.0, 0.4)
    confidence: str = "product"
    amp: str = "auto"
    cache_gb: float = 0.35
    batch_size: int = 1
    workers: int = min(4, max(1, (os.cpu_count() or 1) // 2))

    def __post_init__(self) -> None:
        use_plain_numbers(self)
        check_views("num_view", self.views)
        check_depth_range(self.numdepth, self.interval_scale)
        check_size(*self.max_size)
        check_precision(self.amp)
        check_between("cache_gb", self.cache_gb, 0, MOST_CACHE_GB)
        check_between("batch_size", self.batch_size, 1, MOST_SAMPLES)
        check_between("num_workers", self.workers, 0, MOST_WORKERS)
        if self.confidence not in CONFIDENCES:
            raise DataError(f"--confidence {self.confidence}: must be one of {', '.join(CONFIDENCES)}")


# Those of tools/predict.py, whose depth becomes labels.
FOR_LABELS = PredictionSettings(max_size=(640, 512), light=6, official_ratios=(4.0, 1.0, 0.5))


@dataclasses.dataclass(frozen=True)
class FusionSettings:
    """How a scan's depth maps become a cloud.

    method: "gipuma" is fusibile's algorithm, by the built-in fuser or by a CUDA `program` (its path) within time_limit
    seconds; "normal" and "dynamic" are cross-view checks; "none" makes no cloud. prob_threshold (least confidence),
    disp_threshold (pixels), agree_widths (of a pixel: depths so near to each other agree in any case; 0: as in
    fusibile), num_consistent (views) and sources (others that a view is compared with at most, those that
    see most of the same; 0: all of them, as in fusibile) are gipuma's; conf (least confidence) that of both checks,
    thres_view (views) the normal one's. refined: fuse refined depth where there is some, else the network's. cloud:
    what becomes of the points.
    """

    method: str = "gipuma"
    prob_threshold: float = 0.01
    disp_threshold: float = 0.1
    agree_widths: float = 0.0
    num_consistent: float = 2
    sources: int = 0
    conf: float = 0.05
    thres_view: int = 5
    program: str = ""
    time_limit: float = 3600.0
    refined: bool = False
    cloud: CloudOptions = dataclasses.field(default_factory=CloudOptions)

    def __post_init__(self) -> None:
        use_plain_numbers(self)
        if self.method not in FILTERS:
            raise DataError(f"--filter_method {self.method}: must be one of {', '.join(FILTERS)}")
        check_view_count(self.thres_view)
        if self.sources < 0:
            raise DataError(f"--fusion_sources {self.sources}: must be 0, for all views, or more")
        if not self.agree_widths >= 0:
            raise DataError(f"--agree_widths {self.agree_widths:g}: must be 0, as in fusibile, or more")
        for flag, what in (
            (f"--fusion_sources {self.sources}" if self.sources else "", "compares each view with all others"),
            (f"--agree_widths {self.agree_widths:g}" if self.agree_widths else "", "compares disparities alone"),
        ):
            if flag and self.program and self.method == "gipuma":
                raise DataError(f"{self.program}: {what}; {flag} needs the built-in fuser")
        if 0 < self.sources < int(self.num_consistent) and self.method == "gipuma":
            raise DataError(
                f"--fusion_sources {self.sources}: fewer than the views that must agree (--num_consistent "
                f"{self.num_consistent:g}); nothing would stay"
            )
        check_between("fusibile_timeout", self.time_limit, 0, _LONGEST_RUN)


@dataclasses.dataclass(frozen=True)
class LabelSettings:
    """How predictions become pseudo-labels.

    check: "normal" keeps pixels that at least thres_view sources confirm within reproject_dist pixels and depth_diff,
    relative to the depth; "dynamic" has levels of its own. conf: least confidence.
    """

    check: str = "normal"
    conf: float = 0.05
    reproject_dist: float = 1.0
    depth_diff: float = 0.005
    thres_view: int = 5

    def __post_init__(self) -> None:
        use_plain_numbers(self)
        if self.check not in CHECKS:
            raise DataError(f"--check {self.check}: must be one of {', '.join(CHECKS)}")
        check_view_count(self.thres_view)


@dataclasses.dataclass(frozen=True)
class SweepSettings:
    """How tools/zncc_sweep.py finds depth; the first five are those of `PredictionSettings`.

    hypotheses: depths that are tried; window: side of the windows, pixels, odd; best: sources whose scores count.
    """

    views: int = 5
    numdepth: int = 192
    interval_scale: float = 1.06
    max_size: tuple[int, int] = (1152, 864)
    light: int | None = 6
    hypotheses: int = 128
    window: int = 7
    best: int = 2

    def __post_init__(self) -> None:
        use_plain_numbers(self)
        check_views("num_view", self.views)
        check_depth_range(self.numdepth, self.interval_scale)
        check_size(*self.max_size)
        if self.window % 2 == 0 or self.window < 3:
            raise DataError(f"--window {self.window}: must be odd, and 3 or more")
        check_between("window", self.window, 3, _LARGEST_WINDOW)
        if self.hypotheses < 2:
            raise DataError(f"--hypotheses {self.hypotheses}: a sweep needs at least two depths")
        check_between("hypotheses", self.hypotheses, 2, MOST_DEPTHS)
        if self.best < 1:
            raise DataError(f"--best {self.best}: must be 1 or more")


@dataclasses.dataclass(frozen=True)
class ImportSettings:
    """How tools/import_depth.py reads the depth maps of another program; the last five are those of
    `PredictionSettings`.

    depth, confidence: folders of maps, or of a folder for each scan; suffix: what follows a photo's name in the names
    of maps ("": any that is known). inverse: the maps hold inverse depth. scale: world units per unit of the maps. fit:
    scale and shift are found for each view from `points`, by default the scan's own sparse_points.txt.
    """

    depth: Path
    confidence: Path | None = None
    suffix: str = ""
    inverse: bool = False
    scale: float = 1.0
    fit: bool = False
    points: Path | None = None
    views: int = 2
    numdepth: int = 192
    interval_scale: float = 1.0
    max_size: tuple[int, int] = (1152, 864)
    light: int | None = 6

    def __post_init__(self) -> None:
        use_plain_numbers(self)
        check_depth_range(self.numdepth, self.interval_scale)
        check_size(*self.max_size)
        if self.inverse and self.scale != 1.0:
            raise DataError(f"--scale {self.scale:g}: is for depth; of inverse depth it is found by --fit_points")


def recorded(values: dict[str, Any]) -> dict[str, Any]:
    """Settings as JSON gives them back."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

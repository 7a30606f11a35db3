"""What a report is told, with the defaults of tools/report.py. Light: no torch."""

import dataclasses
from pathlib import Path

from datasets.files import DataError, PathLike


@dataclasses.dataclass(frozen=True)
class ReportSettings:
    """Fields are named as the flags.

    outdir: results; testlist: a file of scan names, or "all" that were predicted; testpath: the scans in the layout
    `dataset` (a key of LAYOUTS), for pair files, true depth and the photos' names; logdir: log folders of trainings.
    max_points: of a cloud in its page, which is thinned evenly; max_views: of a scan whose pictures are shown,
    picture_size pixels long. unit: of the camera files' lengths; thresholds: error bounds in it; error_limit: end of
    the errors' colour scale. check, thres_view, conf: a cross-view check for the masks instead of what made the cloud,
    which all three None stand for. png: also write sheets of pictures and views of the clouds.

    Raises DataError for a testpath that is no folder.
    """

    outdir: Path
    testlist: PathLike = "all"
    testpath: Path | None = None
    dataset: str = "general_eval"
    logdir: tuple[Path, ...] = ()
    max_points: int = 300_000
    max_views: int = 12
    picture_size: int = 640
    unit: str = "units"
    thresholds: tuple[float, ...] = (2.0, 4.0, 8.0)
    error_limit: float | None = None
    check: str | None = None
    thres_view: int | None = None
    conf: float | None = None
    png: bool = False

    @property
    def index(self) -> Path:
        """The first page."""
        return self.outdir / "report" / "index.html"

    def __post_init__(self) -> None:
        if self.testpath is not None and not self.testpath.is_dir():
            raise DataError(f"{self.testpath}: no such folder; --testpath must say where the scans are")

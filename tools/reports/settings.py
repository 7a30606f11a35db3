"""What a report is told, with the defaults of tools/report.py. Light: no torch."""

import dataclasses
from pathlib import Path

from datasets.files import PathLike


@dataclasses.dataclass(frozen=True)
class ReportSettings:
    """Fields are named as the flags.

    outdir: results; testlist: a file of scan names, or "all" that were predicted; testpath: the scans in the test
    layout, for pair files and true depth; logdir: log folders of trainings. max_points: of a cloud in its page;
    max_views: of a scan whose pictures are shown, picture_size pixels long. unit: of the camera files' lengths;
    thresholds: error bounds in it; error_limit: end of the errors' colour scale. check, thres_view, conf: the
    cross-view check of the masks. png: also write sheets of pictures and views of the clouds.
    """

    outdir: Path
    testlist: PathLike = "all"
    testpath: Path | None = None
    logdir: tuple[Path, ...] = ()
    max_points: int = 200_000
    max_views: int = 12
    picture_size: int = 640
    unit: str = "units"
    thresholds: tuple[float, ...] = (2.0, 4.0, 8.0)
    error_limit: float | None = None
    check: str = "normal"
    thres_view: int = 3
    conf: float = 0.05
    png: bool = False

    @property
    def index(self) -> Path:
        """The first page."""
        return self.outdir / "report" / "index.html"

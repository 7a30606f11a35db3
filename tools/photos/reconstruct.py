"""The way from a folder of photos to a page with their cloud: poses, a scan, depth, the cloud, pages.

OUTDIR/poses/           the COLMAP model, upright photos           tools.photos.poses
       scans/NAME/      the scan in the test layout                tools.photos.importing
       depth/           depth maps, the cloud, report/             tools.prediction.testing, tools.reports.report

A rerun goes on where the last one was: each step makes only what is missing or was made from something else.
"""

import dataclasses
from pathlib import Path

from datasets.files import DataError, PathLike, check_scan_name, list_folder, read_json, write_json
from datasets.layouts.base import forget_files
from datasets.layouts.general import SingleScan
from datasets.results import cloud_path
from tools.photos.importing import Options, import_scan, read_posed_photos
from tools.photos.poses import photos_to_poses
from tools.photos.scale import note_units
from tools.photos.settings import ReconstructionSettings
from tools.prediction.testing import predict_and_fuse
from tools.reports.report import write_report
from tools.reports.settings import ReportSettings
from tools.runtime import distributed

# In the folder of results: which photos they were made from.
_RECORD = "photos.json"


@dataclasses.dataclass(frozen=True)
class ReconstructionReport:
    """What came of a folder of photos.

    photos: how many there are; views: how many of them have a pose and a depth map; points, cloud: number and PLY file,
    None without fusion. scan: the scan's folder; depth: the folder of results; page: what to open in a browser.
    """

    photos: int
    views: int
    points: int | None
    cloud: Path | None
    scan: Path
    depth: Path
    page: Path


def reconstruct(
    photos: Path,
    outdir: Path,
    checkpoint: PathLike,
    settings: ReconstructionSettings,
    device: str = "auto",
    name: str | None = None,
) -> ReconstructionReport:
    """Photos to pages; `name` is the scan's and its cloud's, by default the folder's.

    Under torchrun all processes call it: they share the depth, the first one does the rest. Raises DataError and
    CheckpointError.
    """
    name = check_scan_name(name or photos.resolve().name, photos)
    chosen = distributed.start(device)
    scan, depth = outdir / "scans" / name, outdir / "depth"
    made = _make_scan(photos, outdir / "poses", scan, settings) if distributed.is_main() else 0
    (count,) = map(int, distributed.agree([made]))
    forget_files()
    _announce("depth and cloud")
    layout = SingleScan(scan)
    if distributed.is_main():
        note_units(photos, layout, name, depth)
    distributed.barrier()
    given = (checkpoint, layout, [name], depth, settings.prediction, settings.fusion, chosen)
    fused = predict_and_fuse(*given, passes=settings.refine)
    (points,) = map(int, distributed.agree([fused.get(name, -1)]))
    views = sum(bool(sources) for _, sources in layout.pairs(name))
    pages = ReportSettings(depth, testpath=outdir / "scans")
    if distributed.is_main():
        _announce("report")
        print(f"report: {write_report(pages)}", flush=True)
    distributed.barrier()
    distributed.finish()
    result = (None, None) if settings.fusion.method == "none" else (points, cloud_path(depth, name))
    return ReconstructionReport(count, views, *result, scan, depth, pages.index)


def _make_scan(photos: Path, poses: Path, scan: Path, settings: ReconstructionSettings) -> int:
    """Returns the number of photos."""
    _claim(poses.parent, photos)
    _announce("poses")
    side = max(settings.poses.max_side, *settings.prediction.max_size)  # or the depth would have smaller images
    count = photos_to_poses(photos, poses, dataclasses.replace(settings.poses, max_side=side))
    _announce("views")
    posed, images = read_posed_photos(poses)
    import_scan(posed, images, scan, Options(max_size=settings.prediction.max_size), poses)
    return count


def _claim(outdir: Path, photos: Path) -> None:
    """Note whose results a folder holds; DataError where they are another folder's, which may have the same name."""
    if not photos.exists():
        raise DataError(f"{photos}: no such folder")
    record, own = outdir / _RECORD, {"photos": str(photos.resolve())}
    if record.exists() and read_json(record) != own:
        raise DataError(f"{outdir}: holds the results of other photos (see {record}); choose another --outdir")
    if not record.exists() and outdir.is_dir() and list_folder(outdir):
        raise DataError(f"{outdir}: holds files of something else; choose another --outdir, or an empty folder")
    write_json(record, own)


def _announce(step: str) -> None:
    if distributed.is_main():
        print(f"== {step}", flush=True)

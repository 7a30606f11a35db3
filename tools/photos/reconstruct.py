"""The way from a folder of photos to a page with their cloud: poses, a scan, depth, the cloud, pages.

OUTDIR/poses/           the COLMAP model, upright photos           tools.photos.poses
       scans/NAME/      the scan in the test layout                tools.photos.importing
       depth/           depth maps, the cloud, report/             tools.prediction.testing, tools.reports.report
       depth/NAME/verdict.json                                     tools.photos.outcome

A rerun goes on where the last one was: each step makes only what is missing or was made from something else.
"""

import dataclasses
from pathlib import Path

import torch

from datasets.files import DataError, PathLike, check_scan_name, list_folder, read_json, write_json
from datasets.layouts.base import Layout, forget_files
from datasets.layouts.general import SingleScan
from datasets.photos.left_out import read_left_out, write_left_out
from datasets.photos.posed import PosedPhotos
from datasets.predictions import Predictions
from datasets.records import digest, read_record
from datasets.results import (
    DEPTH_FOLDER,
    FUSION_RECORD,
    PREDICTION_RECORD,
    REFINE_RECORD,
    UNITS,
    ViewFiles,
    cloud_path,
    mesh_path,
    network_folder,
)
from fusion.mesh.library import check_open3d
from tools.meshing.scan_mesh import mesh_scan
from tools.meshing.steps import ShownSteps
from tools.photos.coverage import Coverage, measure_coverage
from tools.photos.importing import Options, import_scan, read_posed_photos
from tools.photos.known import has_known_poses, measured_by, pose_known_photos
from tools.photos.outcome import judge, pixel_shares
from tools.photos.poses import photos_to_poses
from tools.photos.scale import note_units
from tools.photos.settings import ReconstructionSettings
from tools.photos.sfm import TURNED
from tools.prediction.testing import predict_and_fuse
from tools.reports.report import write_report
from tools.reports.settings import ReportSettings
from tools.runtime import distributed
from tools.runtime.alive import Alive

VERDICT = "verdict.json"

# In the folder of results: which photos they were made from. In a scan's: what its cloud and pages were made from.
_RECORD = "photos.json"
_FINISHED = "finished.json"

# In a scan's results: what its cloud was made from, and how it stands in the world.
_RECORDS = (PREDICTION_RECORD, REFINE_RECORD, FUSION_RECORD, UNITS)


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


@dataclasses.dataclass(frozen=True)
class _Scan:
    """A scan on its way: its name, the number of photos, and the places of its parts."""

    name: str
    photos: int
    layout: Layout
    depth: Path
    coverage: Coverage | None

    @property
    def results(self) -> Path:
        return self.depth / self.name

    @property
    def cloud(self) -> Path:
        return cloud_path(self.depth, self.name)

    def pairs(self) -> list[tuple[int, list[int]]]:
        """The views that are predicted, with their sources."""
        return [(view, sources) for view, sources in self.layout.pairs(self.name) if sources]


def reconstruct(
    photos: Path,
    outdir: Path,
    checkpoint: PathLike,
    settings: ReconstructionSettings,
    device: str = "auto",
    name: str | None = None,
) -> ReconstructionReport:
    """Photos to pages; `name` is the scan's and its cloud's, by default the folder's. `photos` is a folder, also one
    with a transforms.json of a capture app, whose poses are kept, or a video.

    Under torchrun all processes call it: they share the depth, the first one does the rest. Raises DataError and
    CheckpointError.
    """
    name = check_scan_name(name or photos.resolve().stem, photos)
    if settings.mesh is not None:
        check_open3d()  # or its absence would be told after the depth
    chosen = distributed.start(device)
    folder, depth = outdir / "scans" / name, outdir / "depth"
    count, coverage = _make_scan(photos, outdir / "poses", folder, settings) if distributed.is_main() else (0, None)
    thin = coverage is not None and coverage.is_thin
    count, thin = map(int, distributed.agree([count, thin]))
    fitted = settings.fitted(bool(thin))
    if fitted != settings:
        _announce(
            "few photos see the same: a depth becomes a point where one other photo confirms it (two elsewhere; "
            "--num_consistent says how many)"
        )
    settings = fitted
    forget_files()
    scan = _Scan(name, count, SingleScan(folder), depth, coverage)
    _announce("depth and cloud")
    if distributed.is_main():
        measured = measured_by(photos) if has_known_poses(photos) else None
        note_units(photos, scan.layout, name, depth, measured)
    distributed.barrier()
    points = _make_cloud(scan, checkpoint, settings, chosen)
    pages = ReportSettings(depth, testpath=outdir / "scans")
    if distributed.is_main():
        _finish(scan, settings, pages, points)
    distributed.barrier()
    distributed.finish()
    result = (None, None) if settings.fusion.method == "none" else (points, scan.cloud)
    return ReconstructionReport(count, len(scan.pairs()), *result, folder, depth, pages.index)


# ---------------------------------------------------------------- poses and views


def _make_scan(
    photos: Path, poses: Path, folder: Path, settings: ReconstructionSettings
) -> tuple[int, Coverage | None]:
    """Returns the number of photos, and how well they see what others see."""
    _claim(poses.parent, photos)
    _announce("poses")
    side = max(settings.poses.max_side, *settings.prediction.max_size)  # or the depth would have smaller images
    pose_settings = dataclasses.replace(settings.poses, max_side=side)
    find = pose_known_photos if has_known_poses(photos) else photos_to_poses
    count = find(photos, poses, pose_settings)
    _announce("views")
    with Alive("views"):
        posed, images = read_posed_photos(poses)
        coverage = measure_coverage(posed)
        if coverage is not None:
            _say_coverage(photos, posed, coverage)
        import_scan(posed, images, folder, Options(max_size=settings.prediction.max_size), poses)
    return count, coverage


def _say_coverage(photos: Path, posed: PosedPhotos, coverage: Coverage) -> None:
    """Say before the work which photos stand apart; DataError where the camera only turned."""
    if coverage.only_turned:
        raise DataError(f"{photos}: {TURNED}")
    for sentence in coverage.advice():
        print(sentence, flush=True)
    print(
        f"{len(posed.photos)} photos; each has {coverage.partners:.0f} others (median) that share enough with it",
        flush=True,
    )


def _claim(outdir: Path, photos: Path) -> None:
    """Note whose results a folder holds; DataError where they are another folder's, which may have the same name."""
    if not photos.exists():
        raise DataError(f"{photos}: no such folder")
    record, own = outdir / _RECORD, {"photos": str(photos.resolve())}
    if record.exists() and read_json(record) != own:
        raise DataError(f"{outdir}: holds the results of other photos (see {record}); choose another --outdir (OUTDIR)")
    if not record.exists() and outdir.is_dir() and list_folder(outdir):
        raise DataError(f"{outdir}: holds files of something else; choose another, or an empty, --outdir (OUTDIR)")
    if not record.exists():
        write_json(record, own)


# ---------------------------------------------------------------- depth, cloud and pages


def _make_cloud(scan: _Scan, checkpoint: PathLike, settings: ReconstructionSettings, device: torch.device) -> int:
    """Returns the number of points, -1 without fusion. The cloud is made anew only when something has changed."""
    given = (checkpoint, scan.layout, [scan.name], scan.depth, settings.prediction)
    without = dataclasses.replace(settings.fusion, method="none")
    quiet = not distributed.is_main()
    with Alive("the first depth map", until=lambda: any(scan.results.glob(f"{DEPTH_FOLDER}/*.pfm")), quiet=quiet):
        predict_and_fuse(*given, without, device, passes=settings.refine)
    finished = distributed.is_main() and _finished(scan, settings)
    if max(distributed.agree([finished])) > 0:
        return int(read_record(scan.results / _FINISHED)["points"])
    with Alive("fusion", quiet=quiet):
        fused = predict_and_fuse(*given, settings.fusion, device, passes=0, skip_depth=True)
    return int(max(distributed.agree([fused.get(scan.name, -1)])))


def _made_from(scan: _Scan, settings: ReconstructionSettings) -> str:
    """The digest of all that the cloud and the pages depend on."""
    folder = network_folder(scan.results)
    records = [read_record(ViewFiles(scan.results, view, folder).record).get("made_from") for view, _ in scan.pairs()]
    own = [field.name for field in dataclasses.fields(settings) if field.name not in ("poses", "prediction")]
    told = [scan.photos, *(repr(getattr(settings, name)) for name in own)]
    kept = [read_record(scan.results / name) for name in _RECORDS]
    return digest(records, told, kept, read_left_out(scan.layout.root / scan.name))


def _finished(scan: _Scan, settings: ReconstructionSettings) -> bool:
    """Whether cloud, pages and verdict are there, made from the same."""
    made = [ReportSettings(scan.depth).index]
    if settings.fusion.method != "none":
        made += [scan.results / VERDICT, scan.cloud]
    if settings.mesh is not None:
        made += [mesh_path(scan.cloud, suffix) for suffix in settings.mesh.formats]
    record = read_record(scan.results / _FINISHED)
    return all(path.exists() for path in made) and record.get("made_from") == _made_from(scan, settings)


def _finish(scan: _Scan, settings: ReconstructionSettings, pages: ReportSettings, points: int) -> None:
    """Write the verdict and the pages unless they are there, and say the verdict."""
    if _finished(scan, settings):
        print("nothing has changed: cloud and pages are there already", flush=True)
    else:
        (scan.results / _FINISHED).unlink(missing_ok=True)
        write_left_out(scan.results, read_left_out(scan.layout.root / scan.name))
        if settings.fusion.method != "none":
            _write_verdict(scan, settings, points)
        if settings.mesh is not None:
            _announce("mesh")
            with ShownSteps() as steps:
                mesh_scan(scan.depth, scan.name, scan.layout.root, settings.mesh, steps)
        _announce("report")
        with Alive("report"):
            write_report(pages)
        write_json(scan.results / _FINISHED, {"made_from": _made_from(scan, settings), "points": points})
    print(f"report: {pages.index}", flush=True)
    verdict = read_record(scan.results / VERDICT)
    if verdict:
        print(f"== {verdict['verdict']}: {' '.join(verdict['sentences'])}", flush=True)
        for sentence in verdict["advice"]:
            print(f"   - {sentence}", flush=True)


def _write_verdict(scan: _Scan, settings: ReconstructionSettings, points: int) -> None:
    folder = DEPTH_FOLDER if settings.fusion.refined else network_folder(scan.results)
    with Alive("counting pixels"):
        shares = pixel_shares(Predictions(scan.results, folder), scan.pairs(), settings.fusion)
    verdict = judge(scan.photos, len(scan.pairs()), points, shares, scan.coverage)
    write_json(scan.results / VERDICT, verdict.as_json())


def _announce(step: str) -> None:
    if distributed.is_main():
        print(f"== {step}", flush=True)

"""Scans whose cameras a tracker has measured, adjusted until their images fit: the scan again, with better cameras."""

import dataclasses
import shutil
import tempfile
from pathlib import Path

import numpy as np

from datasets.camera import Camera, local_origin
from datasets.files import DataError, write_json
from datasets.formats.images import read_image_size
from datasets.io import write_camera
from datasets.layouts.base import Layout
from datasets.masks import read_mask
from datasets.records import digest, image_stamp, read_record
from tools.photos.features import Search
from tools.photos.replacing import replaced_folder
from tools.photos.scan_masks import write_mask
from tools.photos.triangulation import ADJUSTING, FEWEST_SURE, KnownPhoto, Triangulated, triangulate

_RECORD = "adjusted.json"


@dataclasses.dataclass(frozen=True)
class Adjustment:
    """How a scan's cameras changed.

    points: that the images have in common. before, after: how far off they are seen, pixels in the mean; equal where
    the cameras stayed as they are. turned: the median camera, degrees. moved: the median camera, in scan units. focal:
    the most that a focal length has changed, as a share of it.
    """

    points: int
    before: float
    after: float
    turned: float
    moved: float
    focal: float


def adjust_scan(layout: Layout, scan: str, outdir: Path, seed: int = 0, threads: int = -1) -> Adjustment:
    """Write outdir/<scan>: the scan with its cameras turned, moved by little and their focal lengths changed by little,
    until the images fit together.

    All other files are copied, also those of camera files that the pair file does not name. Where it is there already,
    made from the same, nothing is done. Raises DataError where the images have too little in common, or the cameras'
    files do not lie in the scan's folder.
    """
    source = layout.root / scan
    if source.resolve() not in layout.camera_folder(scan).resolve().parents:
        raise DataError(f"{layout.camera_folder(scan)}: cameras that several scans share are not adjusted")
    target = outdir / scan
    if target.resolve() == source.resolve():
        raise DataError(f"{target}: is the scan itself; give --outdir another folder")
    views = sorted({view for view, sources in layout.pairs(scan) if sources})
    light = layout.lights(scan)[0]
    layout.check_views(scan, views, [light])
    cameras = {view: layout.camera_as_written(scan, view) for view in views}
    files = sorted(path for path in source.rglob("*") if path.is_file())
    contents = [[str(path.relative_to(source)), image_stamp(path).digest] for path in files]
    made_from = digest(ADJUSTING, type(layout).__name__, contents, seed)
    record = read_record(target / _RECORD)
    if record.get("made_from") == made_from:
        print(f"{target}: these cameras are adjusted already", flush=True)
        return Adjustment(*(record[field.name] for field in dataclasses.fields(Adjustment)))
    adjusted, result = _adjusted_cameras(layout, scan, cameras, light, outdir, seed, threads)
    ours = [path.name for path in sorted(source.iterdir())]
    with replaced_folder(target, [*ours, _RECORD]) as aside:
        for name in ours:
            copy = shutil.copytree if (source / name).is_dir() else shutil.copy2
            copy(source / name, aside / name)
        for view, camera in adjusted.items():
            write_camera(aside / layout.camera_path(scan, view).relative_to(source), camera, np.float64)
        write_json(aside / _RECORD, {"made_from": made_from, **dataclasses.asdict(result)})
    return result


def _adjusted_cameras(
    layout: Layout, scan: str, cameras: dict[int, Camera], light: int, outdir: Path, seed: int, threads: int
) -> tuple[dict[int, Camera], Adjustment]:
    """The cameras by view that fit the images, and how they changed."""
    origin = local_origin(list(cameras.values()))
    photos = {}
    for view, camera in cameras.items():
        image = layout.image_path(scan, view, light)
        K = camera.at_halves().K
        pinhole = (K[0, 0], K[1, 1], K[0, 2], K[1, 2])
        photos[view] = KnownPhoto(image.name, read_image_size(image), pinhole, camera.around(origin).cam_T_world)
    outdir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".adjust-", dir=outdir) as work:
        search = Search("auto", seed, threads, _masks(layout, scan, photos, Path(work) / "masks"))
        found = triangulate(layout.image_folder(scan), list(photos.values()), Path(work), search, adjust=True)
    if found.sure < FEWEST_SURE:
        raise DataError(
            f"{layout.image_folder(scan)}: only {found.sure} points fit together with the scan's cameras, too few to "
            "adjust them; do images and cameras belong together?"
        )
    return _changed(cameras, photos, found, origin)


def _masks(layout: Layout, scan: str, photos: dict[int, KnownPhoto], folder: Path) -> Path | None:
    """The images' masks in a folder, named as COLMAP looks for them; None where there are none."""
    for view, photo in photos.items():
        mask = layout.mask_path(scan, view)
        if mask is not None:
            write_mask(folder / f"{photo.name}.png", read_mask(mask, photo.size))
    return folder if folder.is_dir() else None


def _changed(
    cameras: dict[int, Camera], photos: dict[int, KnownPhoto], found: Triangulated, origin: np.ndarray
) -> tuple[dict[int, Camera], Adjustment]:
    if found.adjusted_error is None:
        return cameras, Adjustment(found.points, found.error, found.error, 0.0, 0.0, 0.0)
    adjusted, turned, moved, focal = {}, [], [], [0.0]
    for view, camera in cameras.items():
        photo = photos[view]
        share = np.divide(found.cameras[photo.name], photo.camera)[:2]
        K = camera.K.copy()
        K[[0, 1], [0, 1]] *= share
        local = dataclasses.replace(camera, K=K, cam_T_world=found.poses[photo.name])
        adjusted[view] = local.around(-origin)
        focal.append(float(abs(share - 1).max()))
        between = local.cam_T_world[:3, :3] @ camera.cam_T_world[:3, :3].T
        turned.append(np.degrees(np.arccos(np.clip((np.trace(between) - 1) / 2, -1, 1))))
        moved.append(np.linalg.norm(local.centre - camera.around(origin).centre))
    change = float(np.median(turned)), float(np.median(moved)), max(focal)
    return adjusted, Adjustment(found.points, found.error, found.adjusted_error, *change)

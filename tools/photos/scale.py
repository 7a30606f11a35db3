"""What tells how long a unit of a scan is: GPS in its photos, a printed marker, one known distance, or its maker.

Cameras and depth maps stay as they are (datasets.units): units.json in the scan's folder of results says what was told,
and the files of its cloud are taken from where they stand to where they should.
"""

import glob
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from datasets.camera import Camera
from datasets.files import DataError, write_json
from datasets.formats.images import read_image
from datasets.formats.ply import ply_writer
from datasets.formats.ply_clouds import read_cloud_blocks, read_cloud_columns
from datasets.layouts.base import Layout
from datasets.photos.folders import PhotoFolders
from datasets.photos.georeference import units_of_gps
from datasets.photos.gps import GpsPlace, read_gps
from datasets.photos.markers import locate
from datasets.photos.names import read_photo_names
from datasets.predictions import Predictions
from datasets.records import read_record
from datasets.results import (
    DEPTH_FOLDER,
    FUSION_RECORD,
    UNITS,
    all_points_path,
    cloud_files,
    cloud_in_format,
    cloud_path,
    mapped_views,
    units_path,
)
from datasets.units import METRES, Units, read_units, similarity, transformed, write_units
from fusion.clouds import Points
from fusion.export import write_format
from fusion.standing import standing, up_of_cameras

NOTHING, _GPS = "none", "GPS"
_PLACED = 200_000  # points that say where a cloud stands


# ---------------------------------------------------------------- what tells it


def units_by_gps(names: dict[int, str], photos: PhotoFolders, cameras: dict[int, Camera], source: Path) -> Units:
    """Units by the GPS places of photos, whose names and cameras are given by view. Raises DataError where they do not
    tell a length."""
    found = _places(names, photos, cameras)
    centres = [camera.centre for camera, place in zip(cameras.values(), found, strict=True) if place is not None]
    places = [place for place in found if place is not None]
    up = up_of_cameras(list(cameras.values()))
    return units_of_gps(np.array(centres).reshape(-1, 3), places, up, str(source))


def _places(names: dict[int, str], photos: PhotoFolders, cameras: dict[int, Camera]) -> list[GpsPlace | None]:
    """Where each view's photo was taken, as far as it tells."""
    paths = [photos.find(names[view]) if view in names else None for view in cameras]
    return [None if path is None else read_gps(path) for path in paths]


def units_by_marker(layout: Layout, scan: str, side: float) -> Units:
    """Units by a printed marker whose outer black square has a side of so many metres. Raises DataError where no two
    photos see one."""
    views = [view for view, _ in layout.pairs(scan)]
    found = locate((read_image(layout.image_path(scan, view)), layout.camera(scan, view)) for view in views)
    if not found:
        raise DataError(
            f"{layout.image_folder(scan)}: no two of its photos see a marker of ArUco or AprilTag as a whole; print it "
            "larger, keep its white border, and take two photos more of it"
        )
    best = found[0]
    source = f"marker {best.number} of {best.dictionary} in {best.photos} photos"
    return Units(METRES, source, None, similarity(side / best.side), best.spread * side)


def units_by_distance(before: Units | None, picked: tuple[np.ndarray, np.ndarray], distance: float) -> Units:
    """Units by one distance in metres between two points [3] in the cloud as it stands now."""
    apart = float(np.linalg.norm(picked[0].astype(np.float64) - picked[1]))
    if not apart > 0:
        raise DataError("--pick: both points are the same; a length needs two")
    scale = (1.0 if before is None else before.scale) * distance / apart
    return Units(METRES, f"a distance of {distance:g} m between two points", None, similarity(scale))


def metric_units(source: str) -> Units:
    """Units of a scan whose maker measured in metres, such as ARKit."""
    return Units(METRES, source)


def note_units(photos: Path, layout: Layout, scan: str, outdir: Path, measured: str | None = None) -> None:
    """Note in a scan's folder of results what its photos tell of its units, unless somebody has said what they are.

    measured: who has measured the cameras in metres, such as "ARKit"; None: nobody. Where GPS does not tell a length,
    that is said, and the scan has a length of its own.
    """
    path = outdir / scan / UNITS
    before = read_units(path)
    if before is not None and not before.source.startswith((_GPS, NOTHING)):
        return
    if measured is not None:
        write_units(path, metric_units(measured))
        return
    names = read_photo_names(layout.image_folder(scan).parent)
    cameras = {view: layout.camera(scan, view) for view, sources in layout.pairs(scan) if sources}
    units = Units(source=NOTHING)
    try:
        units = units_by_gps(names, PhotoFolders((photos,)), cameras, photos)
        print(f"units: metres by {units.source}, which fit to {units.residual:.1f} m", flush=True)
    except DataError as error:
        if any(_places(names, PhotoFolders((photos,)), cameras)):
            print(f"units: {error}", flush=True)
    if before is None or before.record() != units.record():
        write_units(path, units)


# ---------------------------------------------------------------- what follows from it


def scan_cameras(folder: Path) -> dict[int, Camera]:
    """The cameras of the views of a scan's folder of results."""
    maps = Predictions(folder)
    return {view: maps.view(view).camera for view in mapped_views(folder / DEPTH_FOLDER)}


def set_units(outdir: Path, scan: str, units: Units) -> Units:
    """Note what a scan's coordinates mean, and take its cloud there; returns what those of the cloud mean then.

    A mesh beside it is removed, as it would be of another size. Raises DataError where there is no whole cloud, and
    where the folder holds clouds of other scans, as units.json is for all of them.
    """
    ply, record = cloud_path(outdir, scan), outdir / scan / FUSION_RECORD
    known = read_record(record)
    if not known or not ply.exists():
        raise DataError(f"{ply}: is missing or half-written; fuse the scan (again) first")
    _check_alone(ply)
    before = read_units(units_path(ply))
    scan_T_world = np.eye(4) if before is None else np.linalg.inv(before.world_T_scan)
    stood = standing(units, list(scan_cameras(outdir / scan).values()), _some_points(ply, scan_T_world))
    record.unlink()  # killed from here on, the cloud must be made anew
    write_units(outdir / scan / UNITS, units)
    for mesh in sorted(ply.parent.glob(f"{glob.escape(ply.stem)}_mesh*")):
        print(f"{mesh}: removed, it was made in other units; make it again", flush=True)
        mesh.unlink()
    move_cloud(ply, stood.world_T_scan @ scan_T_world)
    write_units(units_path(ply), stood)
    write_json(record, known | {"made_from": ""})
    return stood


def _check_alone(ply: Path) -> None:
    """Raise DataError for a folder with clouds of other scans than that of a PLY."""
    for other in sorted(ply.parent.glob("*.ply")):
        if other not in cloud_files(ply) and not other.stem.startswith(f"{ply.stem}_"):
            raise DataError(f"{ply.parent}: holds clouds of several scans ({other.name}); give an --outdir of one scan")


def _some_points(ply: Path, scan_T_world: np.ndarray) -> np.ndarray:
    """Places [n, 3] of a cloud in the scan's coordinates, evenly over the file."""
    step = max(1, read_cloud_columns(ply).count // _PLACED)
    parts, start = [np.empty((0, 3))], 0
    for block in read_cloud_blocks(ply):
        parts.append(block.xyz[-start % step :: step])
        start += len(block.xyz)
    return transformed(scan_T_world, np.concatenate(parts).astype(np.float64))[0]


def move_cloud(ply: Path, new_T_old: np.ndarray) -> None:
    """Take the files of a cloud through a similarity [4, 4], the PLY last."""
    moved = _moved(ply, new_T_old)
    if all_points_path(ply).exists():
        _write_like(all_points_path(ply), _moved(all_points_path(ply), new_T_old))
    for suffix in ("laz", "glb"):
        if cloud_in_format(ply, suffix).exists():
            write_format(cloud_in_format(ply, suffix), moved, suffix)
    _write_like(ply, moved)


def _moved(ply: Path, T: np.ndarray) -> Callable[[], Iterable[Points]]:
    """What gives the points of a PLY where a similarity takes them."""

    def parts() -> Iterable[Points]:
        for block in read_cloud_blocks(ply):
            xyz, normals = transformed(T, block.xyz, block.normals)
            yield Points(xyz, block.colors, normals, block.views, block.confidence)

    return parts


def _write_like(ply: Path, parts: Callable[[], Iterable[Points]]) -> None:
    """Write a PLY anew, with the columns that it has."""
    columns = read_cloud_columns(ply)
    with ply_writer(ply, columns.normals, columns.views and columns.confidence) as writer:
        for part in parts():
            agreement = (part.views, part.confidence) if columns.views and columns.confidence else (None, None)
            writer.append(part.xyz, part.colors, part.normals, *agreement)

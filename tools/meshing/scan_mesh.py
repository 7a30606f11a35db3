"""The mesh of a scan's results, unless it is there already and nothing has changed."""

import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from datasets.files import DataError, write_json
from datasets.predictions import Predictions
from datasets.records import digest, image_stamp, read_record
from datasets.results import (
    DEPTH_FOLDER,
    FUSION_RECORD,
    MESH_RECORD,
    cloud_path,
    find_pair_file,
    mapped_views,
    mesh_files,
    mesh_path,
    network_folder,
    units_path,
)
from datasets.units import read_units
from fusion.consistency import dynamic_check, normal_check
from fusion.mesh.bridges import without_bridges
from fusion.mesh.library import check_open3d
from fusion.mesh.maps import KeptMaps, KeptView, kept_by_check, kept_by_fusibile, without_rims
from fusion.mesh.mesh import Mesh, write_mesh
from fusion.mesh.meshes import Steps, make_mesh
from fusion.mesh.settings import MeshSettings
from fusion.mesh.smoothing import smoothed_views
from tools.prediction.settings import FusionSettings
from tools.runtime.alive import Alive

# Counted up when the same settings give another mesh.
_VERSION = 5


@dataclasses.dataclass(frozen=True)
class MeshReport:
    """What came of a scan: number of faces and vertices, the voxels' edge, whether it is a closed solid, its files."""

    faces: int
    vertices: int
    voxel: float
    closed: bool
    files: dict[str, int]


def mesh_scan(outdir: Path, scan: str, testpath: Path | None, settings: MeshSettings, steps: Steps) -> MeshReport:
    """Make the mesh of a scan folder in `outdir` beside its cloud (datasets.results), from what the cloud was made of.

    testpath: the scan's pair file, which the checks "normal" and "dynamic" need. A mesh that was made from the same
    maps and photos with the same settings stays. Raises DataError where a file is missing or damaged, nothing is left
    of the depth, or Open3D is missing.
    """
    check_open3d()  # or its absence would be told after minutes
    folder, ply = outdir / scan, cloud_path(outdir, scan)
    fusion = recorded_fusion(folder)
    maps = Predictions(folder, DEPTH_FOLDER if fusion.refined else network_folder(folder))
    views = mapped_views(folder / maps.depth_folder)
    if not views:
        raise DataError(f"{folder / maps.depth_folder}: holds no depth map; predict this scan first")
    pairs = find_pair_file(testpath, scan) if testpath is not None else None
    units = read_units(units_path(ply))
    world_T_scan = None if units is None else units.world_T_scan
    with Alive("mesh"):  # reads all maps
        made_from = _made_from(maps, views, pairs, fusion, settings, world_T_scan)
    known = read_record(folder / MESH_RECORD)
    if known.get("made_from") == made_from and known.get("files") == _file_sizes(ply):
        steps.say(f"{scan}: the mesh of these depth maps is there already")
        return MeshReport(**{field.name: known[field.name] for field in dataclasses.fields(MeshReport)})
    (folder / MESH_RECORD).unlink(missing_ok=True)  # it must not tell of another mesh
    mesh = make_kept_mesh(kept_views(maps, views, pairs, fusion, settings.fill), maps, len(views), settings, steps)
    mesh = mesh if world_T_scan is None else mesh.moved(world_T_scan)
    for path in mesh_files(ply):
        path.unlink(missing_ok=True)  # of other settings
    for suffix in settings.formats:
        write_mesh(mesh_path(ply, suffix), mesh)
    report = MeshReport(len(mesh.faces), len(mesh.vertices), mesh.voxel, mesh.closed, _file_sizes(ply))
    write_json(folder / MESH_RECORD, dataclasses.asdict(report) | {"made_from": made_from})
    return report


def recorded_fusion(folder: Path) -> FusionSettings:
    """How the cloud of a scan folder was made, as far as that decides which pixels became points; else the defaults."""
    record = read_record(folder / FUSION_RECORD)
    names = {field.name for field in dataclasses.fields(FusionSettings)}
    fusion = FusionSettings(**{name: value for name, value in record.items() if name in names - {"cloud", "program"}})
    return fusion if fusion.method != "none" else dataclasses.replace(fusion, method="gipuma")


def kept_views(
    maps: Predictions, views: list[int], pairs: Path | None, fusion: FusionSettings, fill: bool
) -> Iterator[KeptView]:
    """What the cloud's check keeps of each view, and with `fill` a looser one.

    Raises DataError where the check needs a pair file and there is none.
    """
    if fusion.method == "gipuma":
        thresholds = (fusion.prob_threshold, fusion.disp_threshold, fusion.num_consistent)
        return kept_by_fusibile(maps, views, *thresholds, fill, fusion.sources, fusion.agree_widths)
    if pairs is None:
        raise DataError(f"{maps.folder}: its cloud was made with --filter_method {fusion.method}; give --testpath")
    check = normal_check(thres_view=fusion.thres_view) if fusion.method == "normal" else dynamic_check()
    return kept_by_check(maps, pairs, fusion.conf, check, fill)


def make_kept_mesh(
    views: Iterator[KeptView], maps: Predictions, count: int, settings: MeshSettings, steps: Steps
) -> Mesh:
    """The mesh of kept views, which lie in a temporary folder (TMPDIR) while it is made."""
    with tempfile.TemporaryDirectory(prefix="kdmvs-") as folder:
        views = without_rims(views, maps, settings.rim)
        views = without_bridges(views) if settings.bridges else views
        views = smoothed_views(views, settings.smooth)
        kept = KeptMaps(views, maps, Path(folder), steps.begin("check", count))
        return make_mesh(kept, settings, steps)


def _made_from(
    maps: Predictions,
    views: list[int],
    pairs: Path | None,
    fusion: FusionSettings,
    settings: MeshSettings,
    world_T_scan: np.ndarray | None,
) -> str:
    """The digest of all that a mesh depends on."""
    contents = [[view, *maps.digests(view), image_stamp(maps.files(view).image).digest] for view in views]
    similarity = None if world_T_scan is None else world_T_scan.tolist()
    listed = [[view, list(sources)] for view, sources in maps.checked_pairs(pairs)] if pairs is not None else None
    return digest(_VERSION, dataclasses.asdict(settings), dataclasses.asdict(fusion), listed, contents, similarity)


def _file_sizes(ply: Path) -> dict[str, int]:
    """The files of a mesh that there are, and their sizes."""
    return {path.name: path.stat().st_size for path in mesh_files(ply) if path.exists()}

"""The result layout: the one home of where depth maps, labels and clouds lie (docs/formats.md).

datasets.predictions reads what lies there.

OUTDIR/gipuma_pcd/                      clouds                                           cloud_path
OUTDIR/<scan>/depth_est/ confidence/    depth maps, their confidence, previews, records  ViewFiles
              depth_raw/ confidence_raw/    the network's, where those are refined       ViewFiles
              cams/ images/                                                              ViewFiles
LABELS/<scan>/checked_depth/ fused_sigma/ mask/                                          LabelFiles
"""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

from datasets.files import DataError, check_scan_name, list_folder, read_scan_list

DEPTH_FOLDER = "depth_est"
RAW_FOLDER = "depth_raw"
REFINED_FOLDER = "depth_refined"  # while refined maps are not all made, or the network's are being made anew
# Where the confidence of the depth maps in a folder lies.
CONFIDENCE_OF = {
    DEPTH_FOLDER: "confidence",
    RAW_FOLDER: "confidence_raw",
    REFINED_FOLDER: "confidence_refined",
}
CLOUD_FOLDER = "gipuma_pcd"
MASKS = ("photo", "geo", "final")

# In a scan folder: what its predictions, refined depth, cloud, labels and mesh were made with.
PREDICTION_RECORD = "prediction.json"
REFINE_RECORD = "refine.json"
FUSION_RECORD = "fusion.json"
LABEL_RECORD = "check_and_encode.json"
MESH_RECORD = "mesh.json"

# What a scan's coordinates mean (datasets.units), in its folder; and what those of its cloud do, beside that.
UNITS = "units.json"

# ---------------------------------------------------------------- files


def view_name(view: int) -> str:
    """What the names of a view's files begin with."""
    return f"{view:08d}"


@dataclasses.dataclass(frozen=True)
class ViewFiles:
    """The files of a predicted view in a scan folder; `depth_folder` is where its depth map lies."""

    folder: Path
    view: int
    depth_folder: str = DEPTH_FOLDER

    def _file(self, folder: str, suffix: str) -> Path:
        return self.folder / folder / f"{view_name(self.view)}{suffix}"

    @property
    def depth(self) -> Path:
        """The depth map, written last: it marks the view as finished."""
        return self._file(self.depth_folder, ".pfm")

    @property
    def record(self) -> Path:
        """What the depth map was made from (datasets.records)."""
        return self._file(self.depth_folder, ".json")

    @property
    def depth_preview(self) -> Path:
        """A picture of the depth."""
        return self._file(self.depth_folder, ".png")

    @property
    def confidence(self) -> Path:
        """The confidence map."""
        return self._file(CONFIDENCE_OF[self.depth_folder], ".pfm")

    @property
    def confidence_preview(self) -> Path:
        """A picture of the confidence."""
        return self._file(CONFIDENCE_OF[self.depth_folder], ".png")

    @property
    def camera(self) -> Path:
        """The camera, at the depth map's size."""
        return self._file("cams", "_cam.txt")

    @property
    def image(self) -> Path:
        """The image, at the depth map's size."""
        return self._file("images", ".jpg")

    def remove(self) -> None:
        """Remove them all, first the depth map."""
        self.remove_maps()
        for path in (self.camera, self.image):
            path.unlink(missing_ok=True)

    def remove_maps(self) -> None:
        """Remove the depth map, first, with its record, its confidence and the pictures of the two."""
        for path in (self.depth, self.record, self.depth_preview, self.confidence, self.confidence_preview):
            path.unlink(missing_ok=True)


@dataclasses.dataclass(frozen=True)
class LabelFiles:
    """The files of a view's pseudo-label in a scan folder."""

    folder: Path
    view: int

    @property
    def mean(self) -> Path:
        """mu, the mean of the depths that agree, written last: it marks the view as finished."""
        return self.folder / "checked_depth" / f"{view_name(self.view)}.pfm"

    @property
    def record(self) -> Path:
        """What the label was made from (datasets.records)."""
        return self.mean.with_suffix(".json")

    @property
    def deviation(self) -> Path:
        """sigma, their standard deviation."""
        return self.folder / "fused_sigma" / f"{view_name(self.view)}.pfm"

    @property
    def previews(self) -> tuple[Path, Path]:
        """Pictures of mu and sigma."""
        return self.mean.with_suffix(".png"), self.deviation.with_suffix(".png")

    def mask(self, kind: str) -> Path:
        """A picture of the pixels that a check keeps: one of `MASKS`."""
        return self.folder / "mask" / f"{view_name(self.view)}_{kind}.png"

    def remove(self) -> None:
        """Remove them all, first the one that marks the view as finished."""
        for path in (self.mean, self.record, self.deviation, *self.previews, *map(self.mask, MASKS)):
            path.unlink(missing_ok=True)


def network_folder(scan_dir: Path) -> str:
    """The name of the folder with the network's own depth: where refined maps stand in its place, it is put aside."""
    return RAW_FOLDER if (scan_dir / RAW_FOLDER).is_dir() else DEPTH_FOLDER


def is_refined(scan_dir: Path) -> bool:
    """Whether a scan folder's depth_est/ holds refined depth maps, all of them."""
    return (scan_dir / REFINE_RECORD).exists()


def mapped_views(folder: Path) -> list[int]:
    """The views whose map (PFM) lies in a folder, in order; none where there is no such folder."""
    names = list_folder(folder) if folder.is_dir() else []
    return [int(name[:8]) for name in names if re.fullmatch(r"[0-9]{8}\.pfm", name)]


# ---------------------------------------------------------------- clouds


def cloud_path(outdir: Path, scan: str) -> Path:
    """Where a scan's cloud is written."""
    return outdir / CLOUD_FOLDER / cloud_name(scan)


def all_points_path(ply: Path) -> Path:
    """Where all points of a cloud are whose PLY is thinned."""
    return ply.with_name(f"{ply.stem}_all.ply")


def cloud_in_format(ply: Path, suffix: str) -> Path:
    """Where the cloud of a PLY is in another format, "laz" or "glb"."""
    return ply.with_suffix(f".{suffix}")


def units_path(ply: Path) -> Path:
    """Where it says what the coordinates of a cloud mean (datasets.units): of all clouds of a folder."""
    return ply.with_name(UNITS)


def cloud_files(ply: Path) -> list[Path]:
    """All files that may be there of a cloud, the PLY first: it says that the others are whole."""
    return [ply, all_points_path(ply), *(cloud_in_format(ply, suffix) for suffix in ("laz", "glb"))]


def mesh_path(ply: Path, suffix: str = "ply") -> Path:
    """Where the mesh of the scan with this cloud is, in a format: ply, glb, stl, obj and, with this, mtl and jpg."""
    return ply.with_name(f"{ply.stem}_mesh.{suffix}")


def mesh_files(ply: Path) -> list[Path]:
    """All files that may be there of the mesh beside a cloud."""
    return [mesh_path(ply, suffix) for suffix in ("ply", "glb", "stl", "obj", "mtl", "jpg")]


def cloud_name(scan: str) -> str:
    """The file name of a scan's cloud: the official one for scan<number>; not for scan01, as scan1 has that name."""
    number = scan_number(scan)
    return f"mvsnet{number:03d}_l3.ply" if scan == f"scan{number}" else f"{scan}.ply"


def scan_number(scan: str) -> int | None:
    """The number of a scan named scan<number>, else None."""
    match = re.fullmatch(r"scan([0-9]{1,9})", scan)
    return int(match[1]) if match else None


def check_cloud_names(scans: Sequence[str]) -> None:
    """Raise DataError where the clouds of two scans would be one file."""
    owners: dict[str, str] = {}
    for scan in scans:
        other = owners.setdefault(cloud_name(scan).lower(), scan)  # some file systems do not tell capitals apart
        if other != scan:
            raise DataError(f"scans {other} and {scan}: both clouds would be {cloud_name(scan)}; rename one of them")
    for scan in scans:
        mesh = mesh_path(Path(cloud_name(scan))).name
        if mesh.lower() in owners:
            other = owners[mesh.lower()]
            raise DataError(
                f"scans {scan} and {other}: the mesh of one and the cloud of the other would be {mesh}; rename"
            )


# ---------------------------------------------------------------- looking for results


def find_scans(testpath: Path, testlist: str) -> list[str]:
    """Scan names of the list file, or of every folder with predictions."""
    if testlist != "all":
        return read_scan_list(testlist)
    scans = [name for name in list_folder(testpath) if (testpath / name / DEPTH_FOLDER).is_dir()]
    if not scans:
        raise DataError(f"{testpath}: has no folder with predictions (<scan>/{DEPTH_FOLDER}); predict first")
    return [check_scan_name(scan, testpath) for scan in scans]


def find_pair_file(pairpath: Path, scan: str) -> Path:
    """The pair file itself, or that of the DTU training, the test or the BlendedMVS layout (docs/formats.md)."""
    if pairpath.is_file():
        return pairpath
    names = ("Cameras/pair.txt", f"{scan}/pair.txt", f"{scan}/cams/pair.txt")
    for name in names:
        if (pairpath / name).is_file():
            return pairpath / name
    raise DataError(f"{pairpath}: is no pair file and holds none ({', '.join(names)})")

"""What other steps left beside a scan's results for its page: files to take away, the unit, a verdict, photos left out.

All of it may be missing, and is not shown then; what is damaged is named in one line and not shown either.
"""

import dataclasses
import math
import os
import urllib.parse
from pathlib import Path
from typing import Any

from datasets.files import DataError, read_json
from tools.evaluation.scan_results import ScanResult
from tools.reports.cloud import Measures
from tools.reports.mesh import Mesh, read_mesh

UNITS = "units.json"
VERDICT = "verdict.json"
LEFT_OUT = "left_out.json"

MOST_FACES = 300_000  # of a mesh that is shown in a page
_LARGEST_MESH = 64_000_000  # bytes; more is not read at all

# What follows the name of the cloud's file, what it is, and what it is for; the commonest wish first.
_FILES = (
    ("_mesh.glb", "Surface (GLB)", "for Blender, Windows, phones and the web"),
    ("_mesh.obj", "Surface (OBJ)", "for most 3D programs"),
    ("_mesh.stl", "Surface (STL)", "for 3D printing"),
    ("_mesh.ply", "Surface (PLY)", "for MeshLab and Blender"),
    (".ply", "Points (PLY)", "for CloudCompare, MeshLab and Blender"),
    ("_all.ply", "All points (PLY)", "the whole cloud, not thinned"),
    (".glb", "Points (GLB)", "for viewers on the web"),
    (".laz", "Points (LAZ)", "for CloudCompare, QGIS and maps"),
)
_SIZES = ("bytes", "KB", "MB", "GB", "TB")
_HEADINGS = {"good": "A good model", "fair": "A fair model", "poor": "A poor model"}


@dataclasses.dataclass(frozen=True)
class Download:
    """A file beside the page: what it is and is for, its size in words, and the way to it from the page's folder.

    name, folder: of the file and of where it lies.
    """

    title: str
    purpose: str
    size: str
    link: str
    name: str
    folder: str


@dataclasses.dataclass(frozen=True)
class Verdict:
    """How good a model is: "good", "fair" or "poor", why, and what to photograph next time."""

    kind: str
    sentences: tuple[str, ...]
    advice: tuple[str, ...]

    @property
    def heading(self) -> str:
        """It in words."""
        return _HEADINGS[self.kind]


def downloads(result: ScanResult, page_folder: Path) -> list[Download]:
    """The files of the scan's cloud and mesh that there are, and how they are reached from the page."""
    found = []
    for ending, title, purpose in _FILES:
        path = _beside_cloud(result, ending)
        if path.is_file():
            link = urllib.parse.quote(Path(os.path.relpath(path, page_folder)).as_posix())
            found.append(
                Download(title, purpose, size_in_words(path.stat().st_size), link, path.name, path.parent.name)
            )
    return found


def size_in_words(size: int) -> str:
    """A number of bytes as people say it."""
    power = min(len(_SIZES) - 1, max(0, int(math.log(max(size, 1), 1000))))
    value = size / 1000**power
    return f"{value:.0f} {_SIZES[power]}" if power == 0 or value >= 10 else f"{value:.1f} {_SIZES[power]}"


def read_measures(result: ScanResult, unit: str) -> Measures:
    """The unit and the direction that is up, as units.json beside the cloud has them; else `unit`, and no direction."""
    content = _read_object(result.cloud_path.with_name(UNITS))
    up = content.get("up")
    if not (isinstance(up, list) and len(up) == 3 and all(_is_number(value) for value in up) and any(up)):
        up = None
    given = content.get("units")
    return Measures(given if given in ("metres", "units") else unit, up and tuple(map(float, up)))


def read_shown_mesh(result: ScanResult) -> Mesh | None:
    """The scan's mesh; None where there is none, it cannot be read, or has more faces than a page holds."""
    path = _beside_cloud(result, "_mesh.ply")
    if not path.is_file():
        return None
    try:
        size = path.stat().st_size
        mesh = read_mesh(path) if size <= _LARGEST_MESH else None
        if mesh is not None and len(mesh.faces) <= MOST_FACES:
            return mesh
        print(f"{path}: is too large for a page ({size_in_words(size)}), which then shows the cloud alone", flush=True)
    except DataError as error:
        print(f"{error}; the page shows the cloud alone", flush=True)
    return None


def read_verdict(result: ScanResult) -> Verdict | None:
    """What verdict.json says, in the scan's folder of results or of photos; None where there is none."""
    content = _read_beside_scan(result, VERDICT)
    if content.get("verdict") not in _HEADINGS:
        return None
    return Verdict(content["verdict"], _texts(content.get("sentences")), _texts(content.get("advice")))


def read_left_out(result: ScanResult) -> dict[str, str]:
    """The photos that are not in the scan, by name, and why, as left_out.json there has them."""
    return {name: str(why) for name, why in _read_beside_scan(result, LEFT_OUT).items()}


def _beside_cloud(result: ScanResult, ending: str) -> Path:
    return result.cloud_path.with_name(result.cloud_path.stem + ending)


def _read_beside_scan(result: ScanResult, name: str) -> dict[str, Any]:
    """A file's content, from the folder of results, else from that of the scan."""
    content = _read_object(result.folder / name)
    if content or result.testpath is None:
        return content
    return _read_object(result.testpath / result.name / name)


def _read_object(path: Path) -> dict[str, Any]:
    """Names and values; none where there is no such file or it is damaged, which is said."""
    if not path.exists():
        return {}
    try:
        content = read_json(path)
    except DataError as error:
        print(f"{error}; it is not shown", flush=True)
        return {}
    if isinstance(content, dict):
        return content
    print(f"{path}: holds no names and values; it is not shown", flush=True)
    return {}


def _texts(content: object) -> tuple[str, ...]:
    return tuple(map(str, content)) if isinstance(content, list) else ()


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)

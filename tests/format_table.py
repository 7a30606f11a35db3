"""The table in docs/formats.md of what is read, refused and lost: small files are made, and read as programs do.

python tests/format_table.py        writes the table anew between its marks
"""

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

if __name__ == "__main__":  # as pytest does for the tests
    sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import numpy as np
from colmap_models import Camera, small_model, write_model
from PIL import Image
from scene_files import SCENES, metashape_xml, transforms_json, write_photos, write_scene

from datasets.files import DataError
from datasets.formats.images import read_image, write_image
from datasets.formats.ply import read_ply
from datasets.formats.scenes import read_scene
from datasets.io import read_camera, read_pairs
from datasets.layouts import LAYOUTS
from datasets.photos.remarks import Remarks
from tools.photos.gathering import find_photos

DOCUMENT = Path(__file__).parents[1] / "docs" / "formats.md"
MARKS = ("<!-- table: python tests/format_table.py -->", "<!-- end of table -->")

Say = Callable[[str], None]
Case = Callable[[Path, Say], str]

_CAMERA = "extrinsic\n1 0 0 0\n0 1 0 0\n0 0 1 5\n0 0 0 1\n\nintrinsic\n60 0 32\n0 60 24\n0 0 1\n\n{}\n"


# ---------------------------------------------------------------- kinds of cases


def _scene(write: Callable[[Path], object]) -> Case:
    """A model that is imported: how many photos, of which lens, with how many points."""

    def read(folder: Path, say: Say) -> str:
        write(folder)
        scene, folders = read_scene(folder, remarks=Remarks(strict=False, say=say))
        found = sum(folders.find(photo.name) is not None for photo in scene.photos)
        lenses = {photo.lens.model if photo.lens.distortion else "pinhole" for photo in scene.photos}
        points = f", {len(scene.points)} points" if len(scene.points) else ""
        return f"{len(scene.photos)} poses, {found} photos found, {' and '.join(sorted(lenses))}{points}"

    return read


def _transforms(**entries) -> Case:
    def write(folder: Path) -> None:
        write_photos(folder / "images")
        (folder / "transforms.json").write_text(transforms_json(**entries))

    return _scene(write)


def _file_path(name: str) -> Case:
    def write(folder: Path) -> None:
        write_photos(folder / "images")
        (folder / "transforms.json").write_text(transforms_json().replace("images/", name))

    return _scene(write)


def _colmap(place: str = "sparse/0", camera: Camera | None = None, images: str = "images", without: str = "") -> Case:
    def write(folder: Path) -> None:
        model = small_model()
        cameras = model.cameras if camera is None else dict.fromkeys(model.cameras, camera)
        path = write_model(folder / place, model._replace(cameras=cameras), text=True)
        if without:
            (path / without).unlink()
        for image in model.images.values():
            path = folder / images / image.name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (64, 48)).save(path)

    return _scene(write)


def _one_line(folder: Path) -> None:
    path = write_model(folder, small_model(), text=True) / "images.txt"
    path.write_text("\n".join(line for line in path.read_text().split("\n") if line.endswith(".jpg")))


def _damaged(folder: Path) -> None:
    path = write_model(folder, small_model(), text=True) / "points3D.txt"
    path.write_text(path.read_text() + "99 nan 0 0 0 0 0 1 7 0\n")


def _depths(line: str, layout: str = "general_eval", size: tuple[int, int] = (64, 48)) -> Case:
    """The depth range of a scan's cameras with a last line; its images may be of another size than K's."""

    def read(folder: Path, say: Say) -> str:
        (folder / "cams").mkdir()
        for view in range(2):
            write_image(folder / "images" / f"{view:08d}.jpg", np.zeros((*size[::-1], 3), np.uint8))
            (folder / "cams" / f"{view:08d}_cam.txt").write_text(_CAMERA.format(line))
        (folder / "pair.txt").write_text("2\n0\n1 1 5.0\n1\n1 0 5.0\n")
        low, high = LAYOUTS[layout].of_one_scan(folder).camera(folder.resolve().name, 0).depth_range(192)
        return f"depths {low:g} to {high:g}"

    return read


def _pairs(text: str) -> Case:
    def read(folder: Path, say: Say) -> str:
        (folder / "pair.txt").write_text(text)
        return f"{read_pairs(folder / 'pair.txt')}"

    return read


def _text() -> str:
    return _CAMERA.format("425 2.5")


def _camera_text(text: str) -> Case:
    def read(folder: Path, say: Say) -> str:
        (folder / "0_cam.txt").write_text(text)
        return "the same camera" if read_camera(folder / "0_cam.txt").K[0, 0] == 60 else "another camera"

    return read


def _photos(*names: str) -> Case:
    def read(folder: Path, say: Say) -> str:
        for name in names:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).touch()
        return f"{len(find_photos(folder))} photos"

    return read


def _image(content: bytes) -> Case:
    def read(folder: Path, say: Say) -> str:
        (folder / "a.jpg").write_bytes(content)
        return f"{read_image(folder / 'a.jpg').shape}"

    return read


def _ply(header: str, data: str) -> Case:
    def read(folder: Path, say: Say) -> str:
        (folder / "a.ply").write_text(f"ply\nformat ascii 1.0\n{header}end_header\n{data}\n")
        points, colors = read_ply(folder / "a.ply")
        return f"points {points.tolist()}" + ("" if colors is None else f", colours {colors.tolist()}")

    return read


def _edited(name: str, old: str, new: str) -> Case:
    """A scene of another program with something else in its file."""

    def write(folder: Path) -> None:
        path = write_scene(folder, name)
        path.write_text(path.read_text().replace(old, new))

    return _scene(write)


def _columns(folder: Path) -> None:
    path = write_scene(folder, "transforms.json")
    content = json.loads(path.read_text())
    for frame in content["frames"]:
        frame["transform_matrix"] = np.transpose(frame["transform_matrix"]).tolist()
    path.write_text(json.dumps({**content, "frames": content["frames"][:1]}))


def _other(name: str) -> Case:
    return _scene(lambda folder: (folder / name).touch())


_XYZ = "property float x\nproperty float y\nproperty float z\n"
_RGB = "property float R\nproperty float G\nproperty float B\n"


def _ply_list(first: str, vertex: str, data: str) -> Case:
    """A cloud with a list, in an element before the vertices or among their properties."""
    return _ply(f"{first}element vertex 1\n{vertex}{_XYZ}", data)


# ---------------------------------------------------------------- the cases

_LIST = "property list uchar int i\n"
_THIN_PRISM = Camera("THIN_PRISM_FISHEYE", (64, 48), (60, 60, 32, 24, *[0.01] * 8))
_OTHER_PROGRAMS = [name for name in (*SCENES, "a.jpg.camera") if name != "transforms.json"]
_NOT_READ = ("project.psx", "scene.rcproj", "scene.mvs", "scene.abc", "database.db")

CASES: dict[str, Case] = {
    "depth line `425 2.5`": _depths("425 2.5"),
    "depth line `425 905`": _depths("425 905"),
    "depth line `425 905 2.5`": _depths("425 905 2.5"),
    "depth line `425 2.5 192 905`": _depths("425 2.5 192 905"),
    "depth line `425 200`": _depths("425 200"),
    "depth line `1 60`": _depths("1 60"),
    "depth line `1 60`, `--dataset tanks`": _depths("1 60", "tanks"),
    "depth line `425 2.5 100.5`": _depths("425 2.5 100.5"),
    "depth line `425 2.5 100.5`, `--dataset as_written`": _depths("425 2.5 100.5", "as_written"),
    "depth line `425 2.5 192 2000`": _depths("425 2.5 192 2000"),
    "images of half the size that K is for": _depths("425 2.5", size=(32, 24)),
    "images of three quarters of the size that K is for": _depths("425 2.5", size=(48, 36)),
    "camera file: `Extrinsic:`, commas": _camera_text(_text().replace("insic", "insic:").title().replace(" ", ", ")),
    "camera file: no last row": _camera_text(_text().replace("0 0 0 1\n", "")),
    "camera file: a comment": _camera_text("# mine\n" + _text()),
    "camera file: another heading": _camera_text(_text().replace("extrinsic", "pose")),
    "pair.txt: a view lists itself, score 0": _pairs("2\n0\n2 1 9.5 0 0.000\n1\n2 0 9.5 1 0.000\n"),
    "pair.txt: blank lines": _pairs("2\n\n0\n1 1 9.5\n\n1\n1 0 9.5\n"),
    "pair.txt: fewer sources than announced": _pairs("2\n0\n3 1 9.5\n1\n1 0 9.5\n"),
    "pair.txt: without scores": _pairs("2\n0\n1 1\n1\n1 0\n"),
    "pair.txt: without the count": _pairs("0\n1 1 9.5\n1\n1 0 9.5\n"),
    "COLMAP in `sparse/0`, photos in `images`": _colmap(),
    "COLMAP in `colmap/sparse/0`": _colmap("colmap/sparse/0"),
    "COLMAP in `colmap_sparse/0`": _colmap("colmap_sparse/0"),
    "COLMAP in `distorted/sparse/0`, photos in `input`": _colmap("distorted/sparse/0", images="input"),
    "COLMAP, all in one folder": _colmap(".", images="."),
    "COLMAP: images.txt with one line per image": _scene(_one_line),
    "COLMAP: no points3D": _colmap(without="points3D.txt"),
    "COLMAP: a point of nan": _scene(_damaged),
    "COLMAP: SIMPLE_FISHEYE": _colmap(camera=Camera("SIMPLE_FISHEYE", (64, 48), (60, 32, 24))),
    "COLMAP: FOV": _colmap(camera=Camera("FOV", (64, 48), (60, 60, 32, 24, 0.5))),
    "COLMAP: THIN_PRISM_FISHEYE": _colmap(camera=_THIN_PRISM),
    "COLMAP: EQUIRECTANGULAR": _colmap(camera=Camera("EQUIRECTANGULAR", (64, 48), (64, 48))),
    "transforms.json": _transforms(),
    "transforms.json: `is_fisheye`": _transforms(is_fisheye=True, k1=0.1),
    "transforms.json: `k4`, coefficient of r^8": _transforms(k4=0.1),
    "transforms.json: `rolling_shutter`": _transforms(rolling_shutter=[0, 0, 0.1, 0]),
    "transforms.json: `coordinate_system`": _transforms(coordinate_system="opencv"),
    "transforms.json: matrices column by column": _scene(_columns),
    "transforms.json: an entry that is not known": _transforms(weather="sunny"),
    "transforms.json: `file_path` with `..`": _file_path("../T02/images/"),
    "transforms.json: `file_path` with a drive and backslashes": _file_path("C:\\\\\\\\me\\\\\\\\images\\\\\\\\"),
    "transforms.json: `file_path` from the root": _file_path("/home/me/images/"),
    **{f"`{name}`": _scene(lambda folder, name=name: write_scene(folder, name)) for name in _OTHER_PROGRAMS},
    "Metashape: skew (b2)": _scene(lambda folder: (folder / "cameras.xml").write_text(metashape_xml("<b2>0.5</b2>"))),
    "Metashape: a disabled camera": _edited("cameras.xml", 'id="2"', 'id="2" enabled="false"'),
    "Metashape: two components": _edited("cameras.xml", 'camera id="2"', 'camera id="2" component_id="1"'),
    "Meshroom: rigs": _edited("cameras.sfm", '"poses": ', '"rigs": [{"rigId": "1"}], "poses": '),
    "Meshroom: before StructureFromMotion": _edited("cameras.sfm", '"poses": ', '"no": '),
    "OpenMVG: spherical": _edited("sfm_data.json", "pinhole_radial_k3", "spherical"),
    **{f"`{name}`": _other(name) for name in _NOT_READ},
    "photos in subfolders, `.jfif`": _photos("a/1.jfif", "b/2.jpg"),
    "masks among photos": _photos("a.jpg", "b.jpg", "masks/a.png", "b_mask.png"),
    "a video beside photos": _photos("a.jpg", "b.jpg", "clip.mp4"),
    "HEIC named `.jpg`, without pillow-heif": _image(b"\0\0\0\x24ftypheic\0\0\0\0mif1heic" + bytes(20)),
    "WebP named `.jpg`": _image(b"RIFF\x24\0\0\0WEBPVP8 " + bytes(20)),
    "PLY: a list before the vertices": _ply_list(f"element face 1\n{_LIST}", "", "2 0 0\n1 2 3"),
    "PLY: a list among the vertices' properties": _ply_list("", _LIST, "2 8 9 1 2 3"),
    "PLY: capitals, colours as floats": _ply(f"element Vertex 1\n{_XYZ.title()}{_RGB}", "1 2 3 1 0.5 0"),
}  # fmt: skip


def _row(label: str, case: Case) -> str:
    said: list[str] = []
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "scene"
        folder.mkdir()
        try:
            result, refusal = case(folder, said.append), ""
        except DataError as error:
            result, refusal = "", str(error)
        cells = [result, refusal, "; ".join(said)]
        cells = [cell.replace(f"{folder}/", "").replace(str(folder), "scene") for cell in cells]
    return f"| {label} | " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def table() -> str:
    """The table, in Markdown."""
    rows = ["| file | read as | refused with | said, lost |", "| --- | --- | --- | --- |"]
    return "\n".join(rows + [_row(label, case) for label, case in CASES.items()])


def written_table() -> str:
    """The table as the document has it."""
    return DOCUMENT.read_text().split(MARKS[0])[1].split(MARKS[1])[0].strip()


def main() -> None:
    """Write the table anew."""
    sys.modules["pillow_heif"] = None  # the table is that of the requirements
    start, rest = DOCUMENT.read_text().split(MARKS[0])
    end = rest.split(MARKS[1])[1]
    DOCUMENT.write_text(f"{start}{MARKS[0]}\n\n{table()}\n\n{MARKS[1]}{end}")


if __name__ == "__main__":
    np.seterr(all="ignore")
    main()

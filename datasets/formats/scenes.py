"""Photos with poses in any format that is read: which one a file or folder has, and where its photos lie.

The formats are described in docs/formats.md.
"""

import fnmatch
from collections.abc import Callable
from pathlib import Path

from datasets.files import DataError, list_folder, read_json
from datasets.formats.arrays import read_neus, read_poses_bounds
from datasets.formats.bundler import read_bundler, read_nvm
from datasets.formats.colmap import find_model, read_colmap
from datasets.formats.metashape import read_metashape, read_strecha
from datasets.formats.openmvg import read_meshroom, read_openmvg
from datasets.formats.poses import read_middlebury, read_transforms
from datasets.photos.folders import PhotoFolders, folders_beside
from datasets.photos.posed import PosedPhotos
from datasets.photos.remarks import Remarks

_Reader = Callable[[Path, PhotoFolders, Remarks], PosedPhotos]

# By the file's name, the likeliest first: a folder may hold several. A .json is told by its content.
_READERS: dict[str, _Reader] = {
    "transforms.json": lambda path, photos, remarks: _read_json_scene(path, photos, remarks),
    "transforms_train.json": lambda path, photos, remarks: _read_json_scene(path, photos, remarks),
    "transforms_*.json": lambda path, photos, remarks: _read_json_scene(path, photos, remarks),
    "sfm_data.json": lambda path, photos, remarks: _read_json_scene(path, photos, remarks),
    "*.sfm": lambda path, photos, remarks: read_meshroom(path, remarks),
    "*.nvm": read_nvm,
    "*.out": read_bundler,
    "poses_bounds.npy": read_poses_bounds,
    "cameras_sphere.npz": read_neus,
    "cameras.npz": read_neus,
    "*_par.txt": read_middlebury,
    "*.camera": lambda path, photos, remarks: read_strecha(path.parent, remarks),
    "*.xml": lambda path, photos, remarks: read_metashape(path, remarks),
}
_TOGETHER = ".camera"  # a file for each photo
_ONLY_FILES: dict[str, _Reader] = {
    "*.json": lambda path, photos, remarks: _read_json_scene(path, photos, remarks),
    "*.npy": read_poses_bounds,
    "*.npz": read_neus,
}

# What to do with files of other programs, by the endings of their names.
_ADVICE = {
    ".psx": "export the cameras from Metashape: File > Export > Export Cameras, as Agisoft XML",
    ".psz": "export the cameras from Metashape: File > Export > Export Cameras, as Agisoft XML",
    ".rcproj": "export the registration from RealityScan as COLMAP, as text",
    ".rsproj": "export the registration from RealityScan as COLMAP, as text",
    ".xmp": "export the registration from RealityScan as COLMAP, as text",
    ".abc": "convert it in Meshroom: the node ConvertSfMFormat, to sfm",
    ".mvs": "export the scene that OpenMVS was given, from the program that made it, as COLMAP",
    ".db": "it holds features only; run COLMAP's mapper, and give the model that it writes",
    ".p4p": "export Pix4D's cameras as COLMAP, or give the undistorted photos to tools/photos_to_poses.py",
    ".blend": "write transforms.json from Blender, with the add-on BlenderNeRF, say",
    ".usdz": "export the photos, and give them to tools/photos_to_poses.py",
    ".ply": "it is a cloud without cameras; give the photos' poses",
    ".zip": "unpack it, and give the folder",
}


def read_scene(
    model: Path, images: Path | None = None, remarks: Remarks = Remarks()
) -> tuple[PosedPhotos, PhotoFolders]:
    """Photos with poses from a file or folder in any of the formats, and the folders where their files are looked for:
    `images` where it is given, else those beside the model.

    Raises DataError for what is not there, is not one of the formats, or cannot be read.
    """
    if not model.exists():
        raise DataError(f"{model}: no such file or folder")
    if images is not None and not images.is_dir():
        raise DataError(f"{images}: no such folder of photos")
    if model.is_file() and model.stem in ("images", "cameras", "points3D") and find_model(model.parent):
        model = model.parent
    found = find_model(model) if model.is_dir() else None
    if found is not None:
        _name_others(model, found[0], _scene_files(model), remarks)
        return read_colmap(model, remarks), _folders(images, found[0], model)
    path, read = _reader(model, remarks)
    folders = _folders(images, path.parent, path.parent)
    if images is None:  # most formats give the way to a photo from the file's own folder
        folders = PhotoFolders(tuple(dict.fromkeys((path.parent, *folders.folders))))
        if fnmatch.fnmatch(path.name, "*.np[yz]"):
            folders = PhotoFolders((*folders.folders[1:], path.parent))
    return read(path, folders, remarks), folders


def _folders(images: Path | None, place: Path, root: Path) -> PhotoFolders:
    return folders_beside(place, root) if images is None else PhotoFolders((images,))


def _reader(model: Path, remarks: Remarks) -> tuple[Path, _Reader]:
    """The file to read of a file or folder, and its reader."""
    if model.is_dir():
        files = _scene_files(model)
        if not files:
            advice = next((f"; {name}: {text}" for name in list_folder(model) if (text := advice_for(name))), "")
            raise DataError(
                f"{model}: holds no COLMAP model (cameras, images and points3D, .bin or .txt) and no scene of another "
                f"format (docs/formats.md){advice}"
            )
        _name_others(model, files[0], files[1:], remarks)
        model = files[0]
    for pattern, read in (_READERS | _ONLY_FILES).items():
        if fnmatch.fnmatch(model.name, pattern):
            return model, read
    advice = (
        advice_for(model.name) or "give a COLMAP model's folder, transforms.json, or another format of docs/formats.md"
    )
    raise DataError(f"{model}: is not a scene of a format that is read; {advice}")


def _scene_files(folder: Path) -> list[Path]:
    """The files of a folder that may hold a scene, the likeliest first; of those that belong together the first."""
    names = list_folder(folder)
    matches = [[name for name in names if fnmatch.fnmatch(name, pattern)] for pattern in _READERS]
    whole = [found[:1] if found and found[0].endswith(_TOGETHER) else found for found in matches]
    return [folder / name for name in dict.fromkeys(name for found in whole for name in found)]


def _name_others(model: Path, taken: Path, others: list[Path], remarks: Remarks) -> None:
    if others:
        names = ", ".join(path.name for path in others)
        remarks.say(f"{model}: {taken.relative_to(model)} is read; also there, not used: {names}")


def advice_for(name: str) -> str | None:
    """How to convert a file of another program, by the ending of its name; None where nothing is known."""
    return _ADVICE.get(Path(name).suffix.lower())


def _read_json_scene(path: Path, photos: PhotoFolders, remarks: Remarks) -> PosedPhotos:
    """A scene as JSON of one of the programs: told by what it holds."""
    content = read_json(path)
    keys = content.keys() if isinstance(content, dict) else ()
    if "extrinsics" in keys and "views" in keys:
        return read_openmvg(path, remarks)
    if "poses" in keys and "views" in keys:
        return read_meshroom(path, remarks)
    return read_transforms(path, photos, remarks)

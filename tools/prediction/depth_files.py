"""Which file of another program is the depth map of which view."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from datasets.files import DataError
from datasets.formats.depth_maps import DEPTH_SUFFIXES, read_dmap
from datasets.results import view_name

# Where programs put maps below a scan's folder.
DEPTH_FOLDERS = ("", "stereo/depth_maps", "depth_est", "depth_maps", "depths", "depth")
CONFIDENCE_FOLDERS = ("", "confidence")

# COLMAP's maps after its own cross-view check come before those without it.
_ENDINGS = (".geometric.bin", ".photometric.bin", *DEPTH_SUFFIXES)


def maps_folder(root: Path, scan: str, several: bool, known: Sequence[str]) -> Path:
    """The folder of a scan's maps: the first of the `known` ones below root/scan, or root where it is the only scan,
    that holds files of maps; raises DataError where none does."""
    roots = [root / scan] if several or (root / scan).is_dir() else [root]
    for folder in (place / name for place in roots for name in known):
        if folder.is_dir() and any(name.lower().endswith(DEPTH_SUFFIXES) for name in os.listdir(folder)):
            return folder
    raise DataError(f"{roots[0]}: holds no depth map ({', '.join(DEPTH_SUFFIXES)}), nor do its folders {known[1:]}")


def files_of_views(folder: Path, names: Mapping[int, Sequence[str]], suffix: str = "") -> dict[int, Path]:
    """The map of each view, as far as there is one, in a folder or the folders in it.

    names: of each view what its photo is called, maybe with folders. A map is called so, with or without the photo's
    suffix, or by the view's number; `suffix` is what follows, by default the end of any format. OpenMVS's maps tell
    their photo. Raises DataError where two views have one map.
    """
    listed = _listing(folder)
    by_photo = {} if suffix else _dmaps_by_photo(listed)
    endings = (suffix,) if suffix else _ENDINGS
    own = {view: _stems(view, known) for view, known in names.items()}
    shared = Counter(stem for stems in own.values() for stem in stems)
    found: dict[int, Path] = {}
    for view, stems in own.items():
        stems = [stem for stem in stems if shared[stem] == 1]
        places = [by_photo[stem] for stem in stems if stem in by_photo]
        named = (_key(stem + ending) for ending in endings for stem in stems)
        places += [listed[name] for name in named if name in listed]
        if places:
            found[view] = places[0]
    for path, count in Counter(found.values()).items():
        if count > 1:
            raise DataError(f"{path}: could be the map of {count} views; name the maps by the photos, or by the views")
    return found


def _stems(view: int, names: Sequence[str]) -> list[str]:
    """What the name of a view's map may begin with, the most telling first."""
    stems = []
    for name in names:
        path = Path(name)
        stems += [path.as_posix(), path.name, path.with_suffix("").as_posix(), path.stem]
    return list(dict.fromkeys([*stems, view_name(view), f"depth{view:04d}"]))


def _key(name: str) -> str:
    """A file's name with its format in small letters: a.PFM is a.pfm."""
    stem, dot, suffix = name.rpartition(".")
    return stem + dot + suffix.lower()


def _listing(folder: Path) -> dict[str, Path]:
    """The files of maps in a folder and the folders in it, by their paths below it (`_key`)."""
    found = {}
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            if name.lower().endswith(DEPTH_SUFFIXES):
                path = Path(place, name)
                found[_key(path.relative_to(folder).as_posix())] = path
    return found


def _dmaps_by_photo(listed: Mapping[str, Path]) -> dict[str, Path]:
    """OpenMVS's maps by the names of their photos, with and without suffix; a name that two have counts for neither."""
    places: dict[str, set[Path]] = {}
    for path in listed.values():
        if path.suffix.lower() == ".dmap":
            photo = Path(read_dmap(path).photo.replace("\\", "/"))
            for name in (photo.name, photo.stem):
                places.setdefault(name, set()).add(path)
    return {name: paths.pop() for name, paths in places.items() if len(paths) == 1 and name}

"""Photos as structure from motion takes them: upright, at most so large, with their masks, grouped by lens."""

import dataclasses
import itertools
import re
import shutil
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np

from datasets.files import DataError
from datasets.formats.images import PhotoInfo, read_image, read_photo, write_image
from datasets.masks import MASK_FOLDER, black_frame, looked_at, read_mask
from tools.photos.features import Group
from tools.photos.gathering import FEWEST, Photos
from tools.photos.importing import named
from tools.photos.scan_masks import write_mask
from tools.runtime.program import Progress

_QUALITY = 98  # of JPEG


@dataclasses.dataclass(frozen=True)
class Prepared:
    """What `prepare_photos` wrote: the photos grouped by lens, `left_out` by their own names with the reasons, and
    whether there are masks. `own_names`: of the photos by the names written."""

    groups: list[Group]
    own_names: dict[str, str]
    left_out: dict[str, str]
    masked: bool

    @property
    def names(self) -> list[str]:
        """The names written, in order."""
        return sorted(self.own_names)


def prepare_photos(photos: Photos, target: Path, max_side: int, strict: bool = True) -> Prepared:
    """Write the photos upright and at most so large to target/images, and their masks to target/masks, named as COLMAP
    wants.

    Photos that cannot be read are left out; `strict`: DataError names them all. The names written end as those of JPEG
    or PNG do. A black frame that all photos of a lens have is masked.
    """
    for name in ("images", MASK_FOLDER):
        shutil.rmtree(target / name, ignore_errors=True)
    groups: dict[tuple, list[str]] = defaultdict(list)
    own_names: dict[str, str] = {}
    left_out: dict[str, str] = {}
    with Progress(len(photos.names), "photos", unit="photo") as progress:
        for name in photos.names:
            progress.step()
            try:
                image, info = read_photo(photos.folder / name)
            except DataError as error:
                left_out[name] = str(error).removeprefix(f"{photos.folder / name}: ")
                continue
            image = _fitted(image, max_side)
            new_name = without_spaces(name, own_names.keys() | set(photos.names))
            own_names[new_name] = name
            write_image(target / "images" / new_name, image, quality=_QUALITY)
            if name in photos.masks:
                left_out |= _copy_mask(photos.masks[name], name, _mask_path(target, new_name), image.shape[1::-1])
            groups[_lens_key(image, info)].append(new_name)
    _tell(photos, left_out, strict)
    if len(own_names) < FEWEST:
        raise DataError(f"{photos.folder}: fewer than two of its {len(photos.names)} photos can be read")
    listed = [Group(members, size, focal) for (size, focal, _), members in groups.items()]
    for group in listed:
        _mask_frame(target, group.names)
    return Prepared(listed, own_names, left_out, (target / MASK_FOLDER).is_dir())


def _fitted(image: np.ndarray, max_side: int) -> np.ndarray:
    height, width = image.shape[:2]
    scale = min(1.0, max_side / max(width, height))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return image if size == (width, height) else cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _lens_key(image: np.ndarray, info: PhotoInfo) -> tuple[tuple[int, int], float | None, str]:
    """What photos of one lens have in common: size, focal length in pixels where it is known, camera."""
    size = image.shape[1], image.shape[0]
    return size, None if info.focal is None else round(info.focal * max(size), 2), info.camera


def without_spaces(name: str, taken: set[str]) -> str:
    """The name under which a photo is written: its own, without spaces, which COLMAP's lists of pairs cannot hold, and
    with .jpg where it does not end as JPEG and PNG do."""
    plain = re.sub(r"\s", "_", name)
    stem, ending = plain.rsplit(".", 1) if "." in plain else (plain, "")
    for proposed in (plain if ending.lower() in ("jpg", "jpeg", "png") else f"{stem}.jpg", f"{plain}.jpg"):
        if proposed == name or proposed not in taken:
            return proposed
    return next(other for k in itertools.count(1) if (other := f"{plain}.{k}.jpg") not in taken)


def _tell(photos: Photos, left_out: dict[str, str], strict: bool) -> None:
    """Say what cannot be read, all of it at once."""
    if left_out:
        listed = "; ".join(f"{name}: {why}" for name, why in left_out.items())
        problem = f"{photos.folder}: {len(left_out)} files cannot be used ({listed}); remove them or save them again"
        if strict:
            raise DataError(problem)
        print(f"{problem}; left out", flush=True)


# ---------------------------------------------------------------- masks


def _mask_path(target: Path, name: str) -> Path:
    return target / MASK_FOLDER / f"{name}.png"


def _copy_mask(mask: Path, photo: str, path: Path, size: tuple[int, int]) -> dict[str, str]:
    """Write a mask at its photo's size; returns why it cannot be used, by its name, where it cannot."""
    try:
        inside = read_mask(mask, size)
    except DataError as error:
        return {f"mask of {photo}": str(error)}
    write_mask(path, inside)
    return {}


def _mask_frame(target: Path, names: list[str]) -> None:
    """Mask the black frame that photos of one lens have, where they have one."""
    inside = black_frame([read_image(target / "images" / names[i]) for i in looked_at(len(names))])
    if inside is None:
        return
    print(f"a black frame is masked, {1 - inside.mean():.1%} of {len(names)} photos ({named(names)})", flush=True)
    for name in names:
        path = _mask_path(target, name)
        own = read_mask(path, inside.shape[::-1]) if path.exists() else True
        write_mask(path, inside & own)

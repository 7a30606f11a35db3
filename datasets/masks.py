"""Masks of photos: white where a photo shows what is to be reconstructed. Where they lie, and how they are read.

A mask lies in a folder `masks` or `mask`, in the photos' own or beside it, under the photo's name, with another ending
or with one more (COLMAP's `name.jpg.png`); or beside its photo as `<stem>_mask.png`.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from datasets.files import DataError, PathLike
from datasets.formats.images import read_image, read_image_size
from datasets.photos.folders import PhotoFolders

MASK_FOLDER = "masks"

_FOLDERS = (MASK_FOLDER, "mask")
_ENDINGS = (".png", ".jpg", ".jpeg", ".PNG", ".JPG")
_BESIDE = ("_mask.png", "_mask.jpg", ".mask.png")  # after a photo's stem
_WHITE = 128  # from this value on a pixel is inside
_SAME_SHAPE = 0.02  # by which the sides' ratios of a mask and its photo may differ

# A photo that was straightened by another program may have a frame of black, the same in all photos of a lens. JPEG
# leaves noise in it, and blurs its edge.
_BLACK, _BLURRED = 12, 3
FEWEST_FRAMED = 3  # photos of which a frame is known
_SMALLEST_FRAME, _LARGEST_FRAME = 0.001, 0.8  # share of the pixels
_LOOKED_AT = 8  # photos of a lens


# ---------------------------------------------------------------- names


def mask_names(name: str) -> Iterator[str]:
    """Where the mask of a photo may lie, as ways from the folder that the photo's name starts from."""
    folder, _, file = name.rpartition("/")
    stem = file.rpartition(".")[0] or file
    files = [*(f"{stem}{ending}" for ending in _ENDINGS), f"{file}.png", *(f"{stem}{ending}" for ending in _BESIDE)]
    inside = f"{folder}/" if folder else ""
    for masks in _FOLDERS:
        yield from (f"{masks}/{inside}{mask}" for mask in (*files, file))
        if folder:
            yield from (f"{inside}{masks}/{mask}" for mask in (*files, file))
    yield from (f"{inside}{stem}{ending}" for ending in _BESIDE)
    yield f"{inside}{file}.png"


def masks_among(names: Sequence[str]) -> dict[str, str]:
    """Of the names of files in a folder of photos those that are masks: the photo's name to its mask's."""
    there = set(names)
    found = {name: mask for name in names if (mask := next((m for m in mask_names(name) if m in there), None))}
    return {name: mask for name, mask in found.items() if name not in found.values()}


def find_mask(folders: PhotoFolders, name: str, photo: Path) -> Path | None:
    """The mask of a model's photo, which was found as a file: in the folders, or beside the photo's folder."""
    places = [*folders.folders, *(folder.parent for folder in folders.folders), photo.parent, photo.parent.parent]
    own = os.path.realpath(photo)
    for place in dict.fromkeys(places):
        for mask in (*mask_names(name), *mask_names(photo.name)):
            path = place / mask
            if path.is_file() and os.path.realpath(path) != own:
                return path
    return None


# ---------------------------------------------------------------- pixels


def read_mask(path: PathLike, size: tuple[int, int]) -> np.ndarray:
    """A mask as bool [H, W] at a photo's `size` (width, height): its white pixels.

    Raises DataError for another shape than the photo's (that of the file before EXIF data turned it, say), and for a
    mask that is black all over.
    """
    width, height = read_image_size(path)
    if abs(width * size[1] / (height * size[0]) - 1) > _SAME_SHAPE:
        turned = abs(width * size[0] / (height * size[1]) - 1) <= _SAME_SHAPE
        advice = "turn it as the photo is shown" if turned else "make it from this photo"
        raise DataError(f"{path}: is {width}x{height}, its photo {size[0]}x{size[1]}; {advice}")
    mask = read_image(path, grey16=True).max(axis=2)
    if mask.max() == 1:  # some programs count 0 and 1
        mask = mask * 255
    if (width, height) != size:
        mask = cv2.resize(mask, size, interpolation=cv2.INTER_AREA if width > size[0] else cv2.INTER_LINEAR)
    if not (mask >= _WHITE).any():
        raise DataError(f"{path}: is black all over; what is to be kept must be white")
    return mask >= _WHITE


def read_view_mask(path: PathLike, size: tuple[int, int]) -> np.ndarray:
    """The mask of a scan's image as bool [H, W] at the `size` (width, height) that the image is used at."""
    mask = read_image(path).max(axis=2)
    return cv2.resize(mask, size, interpolation=cv2.INTER_AREA) >= _WHITE


def black_frame(images: Sequence[np.ndarray]) -> np.ndarray | None:
    """What a black frame leaves of photos [H, W, 3] of one lens, bool [H, W]; None where they have none.

    The frame is what is black in all of them and reaches the border.
    """
    if len(images) < FEWEST_FRAMED:
        return None
    black = np.all([image.max(axis=2) <= _BLACK for image in images], axis=0).astype(np.uint8)
    _, labels = cv2.connectedComponents(black, connectivity=8)
    border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    framed = np.isin(labels, np.setdiff1d(border, 0)) & (black > 0)
    if not _SMALLEST_FRAME <= framed.mean() <= _LARGEST_FRAME:
        return None
    blurred = cv2.dilate(framed.astype(np.uint8), np.ones((2 * _BLURRED + 1,) * 2, np.uint8))
    return blurred == 0


def looked_at(count: int) -> list[int]:
    """Which of so many photos of a lens are looked at for a black frame."""
    return sorted({int(i) for i in np.linspace(0, count - 1, min(count, _LOOKED_AT)).round()})

"""The masks of a scan's views: those of the photos, and what black frames of their lenses leave."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from datasets.files import DataError, write_bytes
from datasets.formats.images import encode_image, read_image
from datasets.masks import FEWEST_FRAMED, black_frame, find_mask, looked_at, read_mask
from datasets.photos.folders import PhotoFolders
from datasets.photos.posed import Lens, PosedPhoto
from datasets.photos.remarks import Remarks
from datasets.photos.undistort import straighten


class ScanMasks:
    """Masks of photos by their places, straightened as the photos are.

    `files` are the photos' and `lenses` the distorted ones; photos of one lens have one object.
    """

    def __init__(
        self, photos: Sequence[PosedPhoto], files: Sequence[Path], lenses: Sequence[Lens], folders: PhotoFolders
    ) -> None:
        self.files = [_mask_file(photo, file, folders) for photo, file in zip(photos, files, strict=True)]
        self._lenses = lenses
        self._frames = _frames(files, lenses, self.files)

    def of(self, place: int, straight: Lens, size: tuple[int, int], remarks: Remarks) -> np.ndarray | None:
        """The mask of a photo, bool [H, W] at `size` of its straightened image; None where it has none."""
        lens, file = self._lenses[place], self.files[place]
        inside = self._frames.get(id(lens))
        if file is not None:
            try:
                own = read_mask(file, lens.size)
                inside = own if inside is None else own & inside
            except DataError as error:
                remarks.leave_out(f"{error}; the mask")
        if inside is None:
            return None
        shown = straighten(np.where(inside, np.uint8(255), np.uint8(0)), lens, straight)
        if shown.shape[1::-1] != size:
            shown = cv2.resize(shown, size, interpolation=cv2.INTER_AREA)
        return shown > 127


def _mask_file(photo: PosedPhoto, file: Path, folders: PhotoFolders) -> Path | None:
    named = folders.find(photo.mask) if photo.mask else None
    return named or find_mask(folders, photo.name, file)


def _frames(files: Sequence[Path], lenses: Sequence[Lens], masks: Sequence[Path | None]) -> dict[int, np.ndarray]:
    """What black frames leave of images [H, W], by the identity of their lenses; photos with masks are not asked."""
    of_lens = defaultdict(list)
    for file, lens, mask in zip(files, lenses, masks, strict=True):
        if mask is None:
            of_lens[id(lens)].append(file)
    found = {}
    for lens, photos in of_lens.items():
        if len(photos) >= FEWEST_FRAMED and (inside := _frame(photos)) is not None:
            found[lens] = inside
            print(f"a black frame is masked, {1 - inside.mean():.1%} of {len(photos)} photos", flush=True)
    return found


def _frame(photos: Sequence[Path]) -> np.ndarray | None:
    images = []
    for place in looked_at(len(photos)):
        try:
            images.append(read_image(photos[place], grey16=True))
        except DataError:
            continue  # the import says so
    return black_frame(images)


def write_mask(path: Path, inside: np.ndarray) -> None:
    """Write a mask, bool [H, W], as a PNG whose white pixels are inside."""
    encoded = encode_image(np.where(inside, np.uint8(255), np.uint8(0)), "png")
    if encoded is None:
        raise DataError(f"{path}: the mask cannot be encoded")
    write_bytes(path, encoded)

"""Where the photos of a model lie: found by name inside given folders, whatever machine the model comes from."""

import dataclasses
import os
from pathlib import Path

from datasets.files import list_folder

# How photos are named; Blender's scenes leave the ending out.
PHOTO_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".heic", ".heif")
_ENDINGS = ("", ".png", ".jpg", ".jpeg", ".JPG", ".PNG", ".JPEG")


@dataclasses.dataclass(frozen=True)
class PhotoFolders:
    """Folders to look for photos in, the likeliest first. Nothing outside of them is ever named."""

    folders: tuple[Path, ...]

    def find(self, name: str) -> Path | None:
        """The file of a photo of a name from `check_photo_name`; None where there is none.

        Where a folder on the way is not here, the rest of the path is looked for: images/a.jpg, then a.jpg.
        """
        parts = name.split("/")
        for start in range(len(parts)):
            for folder in self.folders:
                for ending in _ENDINGS:
                    path = os.path.join(folder, *parts[start:]) + ending
                    if os.path.isfile(path):  # False, no error, for names that no file system takes
                        return Path(path)
        return None

    def listing(self) -> list[Path]:
        """The photos of the first folder that has some, in the order of their names."""
        for folder in self.folders:
            names = list_folder(folder) if folder.is_dir() else []
            photos = [folder / name for name in names if name.lower().endswith(PHOTO_SUFFIXES)]
            if photos:
                return photos
        return []

    def __str__(self) -> str:
        return " or ".join(str(folder) for folder in self.folders[:3])


def folders_beside(place: Path, root: Path) -> PhotoFolders:
    """The folders where programs put the photos of a model in `place`, which lies in `root`, the folder given."""
    # Of the places above the model only two are looked at: nothing that merely happens to lie near.
    absolute = place.resolve()
    bases = [root, absolute, *list(absolute.parents)[:2]]
    names = ("images", "input", "image", "photos", "rgb")
    folders = [base / name for name in names for base in bases]
    found = [folder for folder in dict.fromkeys(folders) if folder.is_dir()]
    return PhotoFolders((*(found or [root / "images"]), root))

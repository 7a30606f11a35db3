"""What a folder of photos holds: photos, their masks, videos, and what is not used."""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

from datasets.files import DataError, list_folder
from datasets.formats.kinds import VIDEO_SUFFIXES, is_video
from datasets.masks import find_mask, masks_among
from datasets.photos.folders import PHOTO_SUFFIXES, PhotoFolders
from datasets.photos.posed import check_photo_name
from tools.photos.importing import named
from tools.photos.video import frames_of_video

FEWEST = 2  # photos of which there can be poses

_OTHER_SUFFIXES = (".tif", ".tiff", ".webp", ".avif", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".bmp", ".gif")


@dataclasses.dataclass(frozen=True)
class Photos:
    """The photos of a scene: their names, as ways from `folder`, and the files of those masks that there are."""

    folder: Path
    names: list[str]
    masks: dict[str, Path]

    def stamps(self) -> dict[str, list[int]]:
        """Sizes and times of change of all files, by which it shows that they have changed."""
        files = {name: self.folder / name for name in self.names}
        files |= {f"mask of {name}": mask for name, mask in self.masks.items()}
        stats = {name: path.stat() for name, path in files.items()}
        return {name: [stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()}


def gather(source: Path, frames: Path, most_frames: int, claim: Callable[[], None]) -> Photos:
    """The photos of a folder; of a video, or of a folder's videos where it holds no photos, at most so many frames.

    Frames are written to the folder `frames`, before which `claim` is called where it is not there. Raises DataError
    where there are fewer than two.
    """
    if source.is_file():
        if not is_video(source):
            raise DataError(f"{source}: is a file, not a folder of photos or a video; give its folder")
        return _frames([source], frames, most_frames, claim)
    names = files_below(source)
    videos = [source / name for name in names if name.lower().endswith(VIDEO_SUFFIXES)]
    if videos and not any(name.lower().endswith(PHOTO_SUFFIXES) for name in names):
        return _frames(videos, frames, most_frames, claim)
    photos = find_photos(source, names)
    folders, inside = PhotoFolders((source,)), masks_among(names)
    masks = {name: source / mask for name, mask in inside.items() if name in photos}
    for name in photos:
        if name not in masks and (mask := find_mask(folders, name, source / name)):
            masks[name] = mask
    if masks:
        print(f"masks: of {len(masks)} of {len(photos)} photos", flush=True)
    return Photos(source, photos, masks)


def _frames(videos: list[Path], target: Path, most: int, claim: Callable[[], None]) -> Photos:
    """The frames of videos, each video's in a folder of its own, which share the number of frames."""
    if not target.is_dir():
        claim()
    stems = [video.stem for video in videos]
    if len(set(stems)) < len(stems):
        raise DataError(f"{videos[0].parent}: holds two videos named {max(stems, key=stems.count)}; rename one of them")
    names = []
    for video in videos:
        names += [f"{video.stem}/{name}" for name in frames_of_video(video, target / video.stem, most // len(videos))]
    if len(names) < FEWEST:
        raise DataError(f"{videos[0]}: gives only one frame: nothing in it moves; move the camera around the scene")
    return Photos(target, names, {})


def find_photos(folder: Path, names: list[str] | None = None) -> list[str]:
    """The names of the photos in a folder and the folders in it; raises DataError for fewer than two.

    `names`: all files there (`files_below`), where they are known.
    """
    names = files_below(folder) if names is None else names
    masks = set(masks_among(names).values())
    photos = [name for name in names if name.lower().endswith(PHOTO_SUFFIXES) and name not in masks]
    others = [name for name in names if name.lower().endswith(_OTHER_SUFFIXES)]
    if len(photos) < FEWEST:
        count = "only one photo" if photos else "no photos"
        hint = f"; save {named(others)} as JPEG" if others else "; put at least three overlapping ones there"
        raise DataError(f"{folder}: holds {count} (.jpg, .jpeg, .jfif, .png or .heic) and no video alone{hint}")
    if others:
        print(f"not used, neither JPEG nor PNG: {named(others)}", flush=True)
    _name_videos(names, photos)
    for name in photos:
        if check_photo_name(name, folder) != name:
            raise DataError(f"{folder}: the photo's name {name[:60]!a} holds a backslash or a drive; rename the photo")
    return photos


def _name_videos(names: list[str], photos: list[str]) -> None:
    """Say which videos are not used; not those that phones add to each photo, of the same name ("live photos")."""
    stems = {os.path.splitext(photo)[0] for photo in photos}
    videos = [name for name in names if name.lower().endswith(VIDEO_SUFFIXES)]
    videos = [name for name in videos if os.path.splitext(name)[0] not in stems]
    if videos:
        print(f"not used, for there are photos: {named(videos)}; give a video alone to use its frames", flush=True)


def files_below(folder: Path) -> list[str]:
    """The files in a folder and in the folders in it, by their ways from it with slashes, without hidden ones.

    Links to folders are named and not entered: they may lead in a circle, or to a whole disk.
    """
    names = []
    for name in list_folder(folder):
        path = folder / name
        if name.startswith(".") or name == "__MACOSX":
            continue
        if path.is_dir() and not path.is_symlink():
            names += [f"{name}/{below}" for below in files_below(path)]
        elif path.is_dir():
            print(f"{path}: is a link to a folder, and not entered; give that folder, or copy it here", flush=True)
        else:
            names.append(name)
    return names

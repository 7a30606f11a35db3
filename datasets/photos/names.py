"""Which view of a scan is which photo."""

import re
from collections.abc import Sequence
from pathlib import Path

from datasets.files import DataError, read_json, write_json
from datasets.results import view_name

PHOTO_NAMES = "photos.json"


def write_photo_names(folder: Path, names: Sequence[str]) -> None:
    """Keep the file names of the photos that views 0, 1, ... of a scan were made from in its folder."""
    write_json(folder / PHOTO_NAMES, {view_name(view): name for view, name in enumerate(names)})


def read_photo_names(folder: Path) -> dict[int, str]:
    """The photo's file name of each view, as far as it is known; raises DataError for a damaged file."""
    path = folder / PHOTO_NAMES
    if not path.exists():
        return {}
    content = read_json(path)
    if not isinstance(content, dict):
        raise DataError(f"{path}: holds no names of views; import the photos again")
    return {int(view): str(name) for view, name in content.items() if re.fullmatch(r"[0-9]{8}", view)}

"""A data set whose layout is told by its files."""

from pathlib import Path

from datasets.files import DataError
from datasets.layouts import LAYOUTS
from datasets.layouts.base import Layout, forget_files
from datasets.layouts.blended import BlendedScenes
from datasets.layouts.general import SingleScan

# Of each layout the file that its data sets' folders have, from the most special one on.
_MARKS = {"dtu_yao": "Cameras/pair.txt", "general_eval": "*/pair.txt", "blended": "*/cams/pair.txt"}


def open_layout(folder: Path, name: str | None = None) -> tuple[Layout, list[str]] | None:
    """The layout of a data set's folder or of one scan's own, and the scans that the folder holds; None for others.

    `name`: a key of LAYOUTS; the folder is a data set's then. Raises DataError where there is no such folder, or no
    such layout.
    """
    forget_files()
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    if name is None and (folder / "pair.txt").is_file():
        layout = SingleScan(folder)
        return layout, layout.scans("all")
    if name is None and (folder / "cams" / "pair.txt").is_file():
        folder = folder.resolve()
        return BlendedScenes(folder.parent), [folder.name]
    if name is None:
        name = next((known for known, mark in _MARKS.items() if any(folder.glob(mark))), None)
        if name is None:
            return None
    if name not in LAYOUTS:
        raise DataError(f"layout {name}: must be one of {', '.join(LAYOUTS)}")
    layout = LAYOUTS[name](folder)
    return layout, layout.scans("all")

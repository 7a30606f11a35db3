"""The scans that stages predict, train on and fuse: rendered small and enlarged, as the time does not depend on what is
seen."""

import contextlib
import shutil
import tempfile
from pathlib import Path

import cv2
import numpy as np

from datasets.formats.images import read_image, write_image
from datasets.formats.pfm import read_pfm, write_pfm
from datasets.io import read_camera, write_camera
from datasets.synthetic.scans import write_test_layout
from tools.gpu.settings import CheckSettings, Size

# Images are rendered at a quarter of their sides, from this shorter side on.
_SHRUNK, _LEAST_SIDE = 4, 256


def named(size: Size) -> str:
    """Width x height."""
    return f"{size[0]}x{size[1]}"


def small_scan(settings: CheckSettings, size: Size) -> Path:
    """A root folder with one synthetic scan in the test layout, made once; cameras and depth go with the images. Stages
    side by side may ask for the same."""
    root = settings.outdir / "data" / named(size)
    if not root.exists():
        root.parent.mkdir(parents=True, exist_ok=True)
        shrunk = _SHRUNK if min(size) >= _LEAST_SIDE else 1
        making = Path(tempfile.mkdtemp(prefix=f"{root.name}_", dir=root.parent))
        write_test_layout(making, {"scan1": 1}, size[0] // shrunk, size[1] // shrunk, settings.scan_views)
        if shrunk > 1:
            _enlarge(making / "scan1", size, shrunk)
        with contextlib.suppress(OSError):  # another stage was first
            making.rename(root)
        shutil.rmtree(making, ignore_errors=True)
    return root


def _enlarge(scan: Path, size: Size, factor: int) -> None:
    """Replace a scan's files by larger ones."""
    for path in (scan / "images").iterdir():
        write_image(path, cv2.resize(read_image(path), size, interpolation=cv2.INTER_CUBIC), quality=95)
    for path in (scan / "gt").iterdir():
        write_pfm(path, np.ascontiguousarray(cv2.resize(read_pfm(path), size, interpolation=cv2.INTER_LINEAR)))
    for path in (scan / "cams").iterdir():
        write_camera(path, read_camera(path).scaled(factor, factor))

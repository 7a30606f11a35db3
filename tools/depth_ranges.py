"""Depth ranges of a model's photos, and how much of what they show lies in them.

    python tools/depth_ranges.py --model WORKSPACE
    python tools/depth_ranges.py --model WORKSPACE --every 3        (with every third photo alone)

For each photo: the range of its own points, and the one that tools/import_colmap.py writes, with the points of its
neighbours that fall into it. Beside each the share of the points that lie in it, of all that the photo sees in the
whole model. With --every the ranges know the points of fewer photos, the shares those of all.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import _checkout  # noqa: F401

from datasets.files import DataError
from tools.photos.importing import read_posed_photos
from tools.photos.ranges import format_ranges, range_rows
from tools.runtime.program import Formatter, positive_int, run_program


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The flags."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Formatter)
    parser.add_argument("--model", type=Path, required=True, help="folder or file of a model with points")
    parser.add_argument("--images", type=Path, help="folder of the photos (default: beside the model)")
    parser.add_argument("--every", type=positive_int, default=1, help="keep every so many-th photo, from the first on")
    return parser.parse_args(argv)


def main() -> None:
    """Parse the flags and print."""
    args = parse()
    scene, _ = read_posed_photos(args.model, args.images)
    if len(scene.tracks) == 0:
        raise DataError(f"{args.model}: does not say which photo sees which point")
    print(format_ranges(range_rows(scene, args.every)))


if __name__ == "__main__":
    run_program(main)

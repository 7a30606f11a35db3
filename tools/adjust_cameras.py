"""Cameras that a phone or a tracker has measured, adjusted until the images fit: scans again, with better cameras.

    python tools/adjust_cameras.py --testpath SCANS --outdir ADJUSTED
    python test.py --testpath ADJUSTED --outdir OUT

A tracked camera's place is known to millimetres, its direction to a tenth of a degree, which is a pixel or two: too
much for depth that is to be exact. Features that images have in common become points; then every camera is turned, and
moved by a few hundredths of the way to the next one at most, until the points are seen where they should be. So the
scale stays. A focal length that ten images share is adjusted with them, where each half of the points tells the same:
depth is wrong by as much as it is. ADJUSTED/<scan> is the scan with the new camera files, all else copied, and
adjusted.json, which says what was gained. Where nothing is gained the cameras stay. Needs pycolmap
(requirements-photos.txt).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import _checkout  # noqa: F401

from datasets.files import DataError
from datasets.layouts import LAYOUTS
from tools.photos.flags import add_search_flags
from tools.runtime.flags import add_dataset_flag
from tools.runtime.program import Formatter, run_program


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The flags; DataError for values that cannot work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Formatter)
    add_dataset_flag(parser, "general_eval")
    parser.add_argument("--testpath", type=Path, required=True, help="folder of scans")
    parser.add_argument("--testlist", default="all", help='file of scan names, or "all"')
    parser.add_argument("--outdir", type=Path, required=True, help="folder for the scans with adjusted cameras")
    add_search_flags(parser, seed=0, threads=None)
    return parser.parse_args(argv)


def main() -> None:
    """Parse the flags, adjust every scan's cameras."""
    args = parse()
    if not args.testpath.is_dir():
        raise DataError(f"{args.testpath}: no such folder; --testpath must hold the scans")

    from tools.photos.adjusting import adjust_scan

    layout = LAYOUTS[args.dataset](args.testpath)
    for scan in layout.scans(args.testlist):
        result = adjust_scan(layout, scan, args.outdir, args.seed, args.threads or -1)
        points = f"{args.outdir / scan}: {result.points} points were off by {result.before:.2f} pixels in the mean"
        if result.after == result.before:
            print(f"{points}, and nothing is gained by turning the cameras; they stay as they are")
        else:
            change = f"the median camera turned by {result.turned:.3f} degrees and moved by {result.moved:.4g}"
            lens = f", focal lengths changed by up to {result.focal:.1%}" if result.focal else ""
            print(f"{points}, now by {result.after:.2f}; {change}{lens}")


if __name__ == "__main__":
    run_program(main)

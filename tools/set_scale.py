"""Say how long a scan is: by one known distance, a printed marker, GPS in its photos, or its maker; the cloud follows.

    python tools/set_scale.py --outdir OUT/depth --pick=0.31,1.2,0.05 --pick=-1.94,1.17,0.06 --distance 2.45
    python tools/set_scale.py --outdir OUT/depth --testpath OUT/scans --marker 0.15
    python tools/set_scale.py --outdir OUT/depth --testpath OUT/scans --gps PHOTOS
    python tools/set_scale.py --outdir OUT/depth --metric ARKit

OUT/depth are results of tools/reconstruct.py, or of test.py with one scan. Picked points are x,y,z as the page, MeshLab
or CloudCompare show them in the cloud as it is now. A marker is one of ArUco's or AprilTag's, lying anywhere in the
photos; its size is the side of the black square in metres. GPS is refused where the photos were taken too near each
other for its errors. --metric is for scans whose cameras were measured in metres, as ARKit's are. Depth and cameras
stay; the cloud is taken through the new similarity, which units.json beside it holds (datasets/units.py), and a later
fusion keeps it.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import _checkout  # noqa: F401

from datasets.files import DataError
from datasets.layouts import LAYOUTS
from datasets.results import cloud_path, find_scans, units_path
from datasets.units import Units, read_units
from tools.runtime.program import Formatter, finite_list, positive_float, run_program

_METHODS = ("pick", "marker", "gps", "metric")


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The flags, which must go together; DataError for values that cannot work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Formatter)
    parser.add_argument("--outdir", type=Path, required=True, help="results of tools/reconstruct.py (its depth/)")
    parser.add_argument("--scan", help="name of the scan (default: the only one)")
    parser.add_argument("--testpath", type=Path, help="folder of the scan's folder (scans/), for --marker and --gps")
    parser.add_argument(
        "--pick", type=finite_list, action="append", help="a point x,y,z of the cloud; twice, with --distance"
    )
    parser.add_argument("--distance", type=positive_float, help="metres between the two picked points")
    parser.add_argument("--marker", type=positive_float, help="side of a printed marker's black square, metres")
    parser.add_argument("--gps", type=Path, help="folder of the photos with GPS in their EXIF data")
    parser.add_argument("--metric", help="the cameras are in metres already; who measured them")
    args = parser.parse_args(argv)
    given = [name for name in _METHODS if getattr(args, name) is not None]
    if len(given) != 1:
        raise DataError("give one of --pick, --marker, --gps and --metric: it tells how long the scan is")
    if (args.pick is None) != (args.distance is None):
        raise DataError("--pick and --distance belong together: two points, and the metres between them")
    if args.pick is not None and [len(point) for point in args.pick] != [3, 3]:
        raise DataError("--pick: two points are needed, each of three numbers x,y,z")
    if given[0] in ("marker", "gps") and args.testpath is None:
        raise DataError(f"--{given[0]}: needs --testpath, the folder of the scan's folder (scans/)")
    return args


def main() -> None:
    """Parse the flags, find the units, write."""
    args = parse()
    scans = [args.scan] if args.scan else find_scans(args.outdir, "all")
    if len(scans) > 1:
        raise DataError(f"{args.outdir}: holds several scans; say with --scan which one")

    from tools.photos.scale import set_units  # loads numba, which --help and mistaken flags need not wait for

    stood = set_units(args.outdir, scans[0], _units(args, scans[0]))
    off = "" if stood.residual is None else f", which fits to {stood.residual:.3g} m"
    print(f"{cloud_path(args.outdir, scans[0])}: in {stood.units} by {stood.source}{off}; one unit of the scan is")
    print(f"{stood.scale:.6g} m, see {units_path(cloud_path(args.outdir, scans[0]))}")


def _units(args: argparse.Namespace, scan: str) -> Units:
    """What the flags tell."""
    from datasets.photos.folders import PhotoFolders
    from datasets.photos.names import read_photo_names
    from tools.photos import scale

    if args.metric is not None:
        return scale.metric_units(args.metric)
    if args.pick is not None:
        before = read_units(units_path(cloud_path(args.outdir, scan)))
        return scale.units_by_distance(before, tuple(map(np.array, args.pick)), args.distance)
    layout = LAYOUTS["general_eval"](args.testpath)
    if args.marker is not None:
        return scale.units_by_marker(layout, scan, args.marker)
    cameras = {view: layout.camera(scan, view) for view, sources in layout.pairs(scan) if sources}
    names = read_photo_names(args.testpath / scan)
    return scale.units_by_gps(names, PhotoFolders((args.gps,)), cameras, args.gps)


if __name__ == "__main__":
    run_program(main)

"""A result as the start of Gaussian splatting: photos, cameras, points of the fused cloud, depth as priors.

    python tools/export_splats.py --outdir OUT/depth --testpath OUT/scans --folder SPLATS
    python train.py -s SPLATS/NAME -d depths            (graphdeco-inria/gaussian-splatting)
    ns-train splatfacto colmap --data SPLATS/NAME --colmap-path sparse/0     (Nerfstudio)

OUT/depth are results of tools/reconstruct.py, or an --outdir of test.py. Writes SPLATS/<scan> with images/, sparse/0/
(COLMAP's text), depths/ and sparse/0/depth_params.json (tools/photos/splats.py tells the formats). The points are
--points of the cloud, of even spacing, each with the photos whose depth maps show it. All is upright and in the units
of the cloud.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import _checkout  # noqa: F401

from datasets.files import DataError
from datasets.results import find_scans
from tools.runtime.program import Formatter, Progress, run_program, whole_number

_MOST_POINTS = 10_000_000


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The flags; DataError for values that cannot work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Formatter)
    parser.add_argument("--outdir", type=Path, required=True, help="results of tools/reconstruct.py or test.py")
    parser.add_argument("--testlist", default="all", help='file of scan names, or "all" that were predicted')
    parser.add_argument("--testpath", type=Path, help="pair files of the scans")
    parser.add_argument("--folder", type=Path, required=True, help="folder for the models, one per scan")
    parser.add_argument(
        "--points", type=whole_number(1, _MOST_POINTS), default=200_000, help="points of the cloud at most"
    )
    return parser.parse_args(argv)


def main() -> None:
    """Parse the flags, write every scan's start."""
    args = parse()
    if args.testpath is not None and not args.testpath.is_dir():
        raise DataError(f"{args.testpath}: no such folder; --testpath must hold the scans' pair files")

    from tools.evaluation.scan_results import ScanResult
    from tools.photos.splats import export_splats

    results = [ScanResult(args.outdir, scan, args.testpath) for scan in find_scans(args.outdir, args.testlist)]
    progress = Progress(sum(len(result.views) for result in results), "export")
    for result in results:
        count = export_splats(result, args.folder / result.name, args.points, progress)
        print(f"{args.folder / result.name}: {len(result.views)} photos, {count} points", flush=True)
    progress.close()


if __name__ == "__main__":
    run_program(main)

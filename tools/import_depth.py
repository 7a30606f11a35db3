"""Bring depth maps of other programs into the files of test.py: to compare, check, fuse, refine and learn from them.

    python tools/import_depth.py --testpath SCENES --depth DENSE/stereo/depth_maps --outdir OUT           (COLMAP)
    python tools/import_depth.py --testpath SCENES --depth MAPS --outdir OUT --values inverse --fit_points MODEL

Then OUT is what test.py would have written: tools/eval_depth.py scores it, test.py --skip_depth checks and fuses it,
--refine repairs it, tools/check_and_encode.py makes labels of it for train_kd.py.

Read are COLMAP's stereo/depth_maps/*.bin (first those that COLMAP has checked, .geometric.bin), OpenMVS's .dmap, .pfm,
.npy and .png of 16 bits: depth along the camera's axis, 0 or not finite where unknown. A map is called by its photo
(photos.json of an import, or the scan's image) or by the view's number, eight digits; --suffix says what follows, such
as _pred.npy. With several scans --depth holds a folder for each. Maps may be of another size than the images, of the
same shape. Results have the size that test.py would give them with the same --max_w and --max_h.

Confidence comes from --confidence (PNG of 16 bits: shares of 65535), from .dmap files, or from confidence/ beside
depth_est/; elsewhere it is 1. Values beyond 0 and 1 are cut. A view without a map gets depth 0, which nothing confirms.

--fit_points is for networks that see one image and know depth up to a scale and a shift: these are found for each view,
robustly, from known points: the scan's sparse_points.txt, a text file of x y z, a PLY cloud, or a model of COLMAP or
another program. Up to half of the points may be wrong.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import _checkout  # noqa: F401

from datasets.files import DataError
from tools.prediction.settings import ImportSettings
from tools.runtime.flags import add_dataset_flag, add_size_flags
from tools.runtime.program import Formatter, positive_float, run_program

_OF_SCAN = "the scan's own"


def parse(argv: Sequence[str] | None = None) -> tuple[argparse.Namespace, ImportSettings]:
    """The flags, and how they say to import; DataError for values that cannot work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Formatter)
    add_dataset_flag(parser, "general_eval")
    parser.add_argument("--testpath", required=True, help="folder of scans that the maps belong to")
    parser.add_argument("--testlist", default="all", help='file of scan names, or "all"')
    parser.add_argument("--depth", type=Path, required=True, help="folder of depth maps, or of a folder for each scan")
    parser.add_argument("--confidence", type=Path, help="folder of confidence maps, likewise")
    parser.add_argument("--outdir", type=Path, required=True, help="folder for the results")
    parser.add_argument("--suffix", default="", help="what follows a photo's name in the names of depth maps")
    parser.add_argument("--values", choices=("depth", "inverse"), default="depth", help="what the maps hold")
    parser.add_argument("--scale", type=positive_float, default=1.0, help="world units per unit of the maps")
    parser.add_argument(
        "--fit_points", nargs="?", const=_OF_SCAN, metavar="POINTS", help="find scale and shift from points"
    )
    parser.add_argument(
        "--light_idx", type=int, default=6, help="light whose images the maps belong to (DTU training layout)"
    )
    add_size_flags(parser, 1152, 864)
    args = parser.parse_args(argv)
    for name in ("depth", "confidence"):
        folder = getattr(args, name)
        if folder is not None and not folder.is_dir():
            raise DataError(f"--{name} {folder}: no such folder")
    fit = args.fit_points is not None
    if args.values == "inverse" and not fit:
        print("inverse depth without --fit_points: taken to be 1 / depth in world units")
    if fit and args.scale != 1:
        raise DataError("--scale and --fit_points: a scale that is found need not be given; leave one of them out")
    settings = ImportSettings(
        args.depth,
        args.confidence,
        args.suffix,
        args.values == "inverse",
        args.scale,
        fit,
        Path(args.fit_points) if fit and args.fit_points != _OF_SCAN else None,
        max_size=(args.max_w, args.max_h),
        light=args.light_idx,
    )
    return args, settings


def main() -> None:
    """Parse the flags and import."""
    args, settings = parse()

    from datasets.mvs import open_dataset
    from tools.prediction.imported import import_depth
    from tools.prediction.predictor import sample_settings

    dataset = open_dataset(args.dataset, args.testpath, args.testlist, sample_settings(settings))
    import_depth(dataset, args.outdir, settings)
    print(f"{args.outdir}: depth of {len(dataset)} views; see it: tools/report.py, fuse it: test.py --skip_depth")


if __name__ == "__main__":
    run_program(main)

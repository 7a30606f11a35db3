"""Depth by plain plane sweep with ZNCC: no network, no training; what a network has to beat.

    python tools/zncc_sweep.py --testpath SCENES --testlist LIST --outdir OUT

Every pixel tries --hypotheses depths, spaced evenly in inverse depth over the range that test.py searches with the same
flags. A depth's score is the mean of the --best highest of the sources' zero-mean normalised cross-correlations with
the reference, of grey windows of --window x --window pixels; the highest score wins, and a parabola through it and its
two neighbours refines the depth. The files are those of test.py: per scan under --outdir depth_est/, confidence/ (the
winning score, 0 where negative), cams/, images/. A pixel that no source sees gets depth 0. A rerun skips the views that
are finished.
"""

import argparse
from pathlib import Path

import numpy as np

import _checkout  # noqa: F401

from datasets.files import DataError
from datasets.layouts import LAYOUTS
from datasets.mvs import MVSDataset, Settings, open_dataset
from tools.prediction.predictor import begin_prediction, unfinished_batches, write_prediction
from tools.prediction.zncc import inverse_depths, sweep
from tools.runtime.flags import add_depth_flags, add_size_flags
from tools.runtime.program import Formatter, Progress, positive_int, run_program


def predict_view(dataset: MVSDataset, index: int, args: argparse.Namespace) -> None:
    """Sweep one of the dataset's reference views and write its files."""
    keys = list(dict.fromkeys(dataset.view_keys(index)))  # the dataset repeats a source where too few are listed
    views = [dataset.load(key) for key in keys]
    values = dataset.depth_values(index, views[0].camera)
    depth, score = sweep(views, inverse_depths(values[0], values[-1], args.hypotheses), args.window, args.best)
    image = (views[0].image * 255).astype(np.uint8)  # truncated, as test.py does
    write_prediction(Path(args.outdir), dataset, index, image, views[0].camera, depth, [np.maximum(score, 0)])


def parse_flags() -> argparse.Namespace:
    """Those of test.py that say what is predicted from what, and the method's own; raises DataError for bad ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Formatter)
    parser.add_argument("--dataset", choices=LAYOUTS, default="general_eval", help="layout of the data")
    parser.add_argument("--testpath", required=True, help="folder of scans")
    parser.add_argument("--testlist", default="all", help='file of scan names, or "all"')
    parser.add_argument("--outdir", default="outputs", help="folder for the results")
    parser.add_argument("--light_idx", type=int, default=6, help="light whose images are used (DTU training layout)")
    parser.add_argument("--num_view", type=int, default=5, help="views used: the reference and its sources")
    parser.add_argument("--hypotheses", type=positive_int, default=128, help="depths that are tried")
    parser.add_argument("--window", type=positive_int, default=7, help="side of the windows, pixels; odd")
    parser.add_argument("--best", type=positive_int, default=2, help="sources whose scores count, the best ones")
    add_depth_flags(parser, 1.06)
    add_size_flags(parser, 1152, 864)
    args = parser.parse_args()
    if args.window % 2 == 0 or args.window < 3:
        raise DataError(f"--window {args.window}: must be odd, and 3 or more")
    if args.hypotheses < 2:
        raise DataError(f"--hypotheses {args.hypotheses}: a sweep needs at least two depths")
    if args.interval_scale <= 0 or args.numdepth < 2:
        raise DataError("--interval_scale must be positive, and --numdepth 2 or more")
    return args


def main() -> None:
    """Parse the flags and sweep every view that is not finished."""
    args = parse_flags()
    settings = Settings(
        views=args.num_view,
        numdepth=args.numdepth,
        interval_scale=args.interval_scale,
        max_size=(args.max_w, args.max_h),
        light=args.light_idx,
    )
    dataset, outdir = open_dataset(args.dataset, args.testpath, args.testlist, settings), Path(args.outdir)
    names = ("num_view", "numdepth", "interval_scale", "max_w", "max_h", "light_idx", "hypotheses", "window", "best")
    record = {"method": "zncc_sweep"} | {name: getattr(args, name) for name in names}
    for scan in dict.fromkeys(entry.scan for entry in dataset.entries):
        begin_prediction(outdir / scan, record)
    unfinished = [index for (index,) in unfinished_batches(dataset, outdir, 1)]
    if len(unfinished) < len(dataset):
        print(f"{len(dataset) - len(unfinished)} views are finished already", flush=True)
    progress = Progress(len(unfinished), "plane sweep")
    for index in unfinished:
        predict_view(dataset, index, args)
        progress.step()
    progress.close()


if __name__ == "__main__":
    run_program(main)

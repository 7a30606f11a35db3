"""Depth by plain plane sweep with ZNCC: no network, no training; what a network has to beat.

    python tools/zncc_sweep.py --testpath SCENES --testlist LIST --outdir OUT

Every pixel tries --hypotheses depths, spaced evenly in inverse depth over the range that test.py searches with the same
flags. A depth's score is the mean of the --best highest of the sources' zero-mean normalised cross-correlations with
the reference, of grey windows of --window x --window pixels; the highest score wins, and a parabola through it and its
two neighbours refines the depth. The files are those of test.py: per scan under --outdir depth_est/, confidence/ (the
winning score, 0 where negative), cams/, images/. A pixel that no source sees gets depth 0. A rerun skips the views that
are finished: those made from the same settings, cameras and images.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import _checkout  # noqa: F401

from tools.prediction.flags import add_sweep_flags, sweep_settings
from tools.prediction.settings import SweepSettings
from tools.runtime.flags import add_dataset_flag
from tools.runtime.program import Formatter, run_program


def parse(argv: Sequence[str] | None = None) -> tuple[argparse.Namespace, SweepSettings]:
    """The flags, those of test.py that say what is predicted from what and the method's own, and their settings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Formatter)
    add_dataset_flag(parser, "general_eval")
    parser.add_argument("--testpath", required=True, help="folder of scans")
    parser.add_argument("--testlist", default="all", help='file of scan names, or "all"')
    parser.add_argument("--outdir", type=Path, default="outputs", help="folder for the results")
    add_sweep_flags(parser, SweepSettings())
    args = parser.parse_args(argv)
    return args, sweep_settings(args)


def main() -> None:
    """Parse the flags and sweep."""
    args, settings = parse()

    from datasets.mvs import open_dataset
    from tools.prediction.predictor import sample_settings
    from tools.prediction.sweep import sweep_scans

    dataset = open_dataset(args.dataset, args.testpath, args.testlist, sample_settings(settings))
    sweep_scans(dataset, args.outdir, settings)


if __name__ == "__main__":
    run_program(main)

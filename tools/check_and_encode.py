"""Pseudo-labels from predictions: cross-view check and probabilistic encoding (docs/method.md, section 4).

For every view the depths of the other views that agree with it become a mean (mu) and a standard deviation (sigma):

    python tools/check_and_encode.py --testpath predictions --pairpath dtu_training --outdir labels

Writes per scan checked_depth/ (mu, PFM), fused_sigma/ (sigma, PFM), previews of both (PNG) and
mask/*_{photo,geo,final}.png; mu and sigma are 0 where a pixel is not kept. A rerun skips the views that are finished:
those made from the same settings, depth, confidences and cameras. Uses all cores of a machine, and several machines
with torchrun (tools.runtime.distributed).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import _checkout  # noqa: F401

from tools.prediction.flags import add_label_flags, label_settings
from tools.prediction.settings import LabelSettings
from tools.runtime.program import Formatter, run_program


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The flags, with the official names and defaults."""
    parser = argparse.ArgumentParser(
        prog="python tools/check_and_encode.py", description=__doc__, formatter_class=Formatter
    )
    add = parser.add_argument
    add("--testpath", type=Path, required=True, help="folder of predictions: <scan>/{depth_est,confidence,cams}")
    add("--pairpath", type=Path, required=True, help="pair file, or folder with Cameras/pair.txt or <scan>/pair.txt")
    add("--testlist", default="all", help="file with one scan name per line, or 'all' for every predicted scan")
    add("--outdir", type=Path, required=True, help="folder for the labels, one subfolder per scan")
    add_label_flags(parser, LabelSettings())
    return parser.parse_args(argv)


def main() -> None:
    """Check and encode every scan of the list."""
    args = parse_args()
    settings = label_settings(args)

    from datasets.results import find_scans
    from tools.prediction.labelling import label_scans, report_labels
    from tools.runtime import distributed

    distributed.start("cpu", sweeps=False)
    scans = find_scans(args.testpath, args.testlist)
    report_labels(label_scans(args.testpath, args.pairpath, scans, args.outdir, settings), args.outdir)
    distributed.finish()


if __name__ == "__main__":
    run_program(main)

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
from tools.runtime.retired import LAUNCHER_FLAGS, add_retired_flags, note_replaced


def parse(argv: Sequence[str] | None = None) -> tuple[argparse.Namespace, LabelSettings]:
    """The flags, with the official names and defaults, and how they say to check; DataError for impossible values."""
    parser = argparse.ArgumentParser(
        prog="python tools/check_and_encode.py", description=__doc__, formatter_class=Formatter
    )
    add = parser.add_argument
    add("--testpath", type=Path, required=True, help="folder of predictions: <scan>/{depth_est,confidence,cams}")
    add("--pairpath", type=Path, required=True, help="pair file, or folder with Cameras/pair.txt or <scan>/pair.txt")
    add("--testlist", default="all", help="file with one scan name per line, or 'all' for every predicted scan")
    add("--outdir", type=Path, default="outputs", help="folder for the labels, one subfolder per scan")
    add_label_flags(parser, LabelSettings())
    add_retired_flags(parser, LAUNCHER_FLAGS)
    args = parser.parse_args(argv)
    note_replaced(args, LAUNCHER_FLAGS)
    return args, label_settings(args)


def main() -> None:
    """Check and encode every scan of the list."""
    args, settings = parse()

    from datasets.results import find_scans
    from tools.prediction.labelling import label_scans, report_labels
    from tools.runtime import distributed

    distributed.start("cpu", sweeps=False)
    scans = find_scans(args.testpath, args.testlist)
    report_labels(label_scans(args.testpath, args.pairpath, scans, args.outdir, settings), args.outdir)
    distributed.finish()


if __name__ == "__main__":
    run_program(main)

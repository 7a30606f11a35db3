"""Pseudo-labels from exact depth, for scenes that have it: rendered ones, or to see what perfect labels would give.

    python tools/label_exact.py --testpath SCENES --outdir LABELS

Writes checked_depth/ (the depth, 0 where it is unknown) and fused_sigma/ (--sigma depth intervals) per scan, as
tools/check_and_encode.py does, for train_kd.py --pseudopath. Images above --max_w x --max_h are scaled by both programs
alike, so give both the same sizes. The spacing, too: where hypotheses are evenly spaced in inverse depth, their
interval at a pixel is that around its depth.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import _checkout  # noqa: F401

from models.settings import SPACINGS
from tools.runtime.flags import add_dataset_flag, add_size_flags
from tools.runtime.limits import check_size
from tools.runtime.program import Formatter, positive_float, run_program


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The flags; DataError for values that cannot work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Formatter)
    add_dataset_flag(parser, "general_eval")
    parser.add_argument("--testpath", required=True, help="folder of scans with exact depth")
    parser.add_argument("--testlist", default="all", help='file of scan names, or "all"')
    parser.add_argument("--outdir", type=Path, required=True, help="folder for the labels, one subfolder per scan")
    parser.add_argument("--sigma", type=positive_float, default=0.4, help="standard deviation, in depth intervals")
    parser.add_argument(
        "--spacing", choices=SPACINGS, default="auto", help="of the hypotheses that the student will have"
    )
    add_size_flags(parser, 640, 512)
    args = parser.parse_args(argv)
    check_size(args.max_w, args.max_h)
    return args


def main() -> None:
    """Parse the flags and write the labels."""
    args = parse()

    from datasets.mvs import Settings, open_dataset
    from tools.prediction.labelling import label_exactly

    settings = Settings(views=2, max_size=(args.max_w, args.max_h), ground_truth=True)
    dataset = open_dataset(args.dataset, args.testpath, args.testlist, settings)
    finished = label_exactly(dataset, args.sigma, args.spacing, args.outdir)
    if finished:
        print(f"{finished} views were finished already in {args.outdir}")


if __name__ == "__main__":
    run_program(main)

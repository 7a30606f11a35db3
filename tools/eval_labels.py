"""Pseudo-labels against exact depth: the share of the pixels that have one, and the errors of these.

    python tools/eval_labels.py --testpath SCENES --labels sweep=LABELS_A network=LABELS_B both=LABELS_C

The scans have exact depth, as for tools/eval_depth.py; the labels are folders of tools/check_and_encode.py or
tools/merge_labels.py. "labelled" is the share of the pixels of known depth; errors are relative to the true depth; "in
2 sigma" are the labels that are wrong by at most twice the standard deviation that they tell.
"""

import argparse
from collections.abc import Sequence

import _checkout  # noqa: F401

from datasets.files import write_json
from datasets.layouts import LAYOUTS
from tools.evaluation.predictions import labelled, named_folder
from tools.runtime.flags import add_dataset_flag
from tools.runtime.program import Formatter, finite_list, run_program


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The flags; DataError for values that cannot work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Formatter)
    add_dataset_flag(parser, "general_eval")
    parser.add_argument("--testpath", required=True, help="folder of scans with exact depth")
    parser.add_argument("--testlist", default="all", help='file of scan names, or "all"')
    parser.add_argument("--labels", nargs="+", type=named_folder, required=True, help="label=folder ...")
    parser.add_argument(
        "--relative", type=finite_list, default="0.002,0.01,0.05", help="error bounds as shares of the depth"
    )
    parser.add_argument("--out", help="write the numbers to this JSON file")
    return parser.parse_args(argv)


def main() -> None:
    """Parse the flags, compare, print."""
    args = parse()
    folders = labelled(args.labels)

    from tools.evaluation.labels import format_labels, label_metrics

    layout = LAYOUTS[args.dataset](args.testpath)
    scans = layout.scans(args.testlist)
    rows = {label: label_metrics(layout, folder, scans, args.relative) for label, folder in folders.items()}
    print(format_labels(rows))
    if args.out:
        write_json(args.out, rows)


if __name__ == "__main__":
    run_program(main)

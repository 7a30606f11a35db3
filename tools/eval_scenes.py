"""Depth and clouds on scenes whose depth is known exactly in every view: the scores of the training benchmark.

    python tools/eval_scenes.py --testpath SCENES --predictions teacher=OUT_A student=OUT_B --out scores.json

The scans are in the test layout with gt/%08d.pfm, or in the one that --dataset names; the predictions are --outdir
folders of test.py. Depth is judged as tools/eval_depth.py does. The true cloud of a scan are the points of all its
views' exact depth, that is the surfaces that some view sees: accuracy is the mean distance from the fused cloud to it,
completeness the mean distance from it to the cloud, overall the mean of both, each the mean over the scans. Distances
of --max_dist on do not count, as in DTU's evaluation. A scan without a cloud counts as --max_dist. "ratio" rows compare
each prediction with the first one. Folders without a label are called by as much of their path as tells them apart.
"""

import argparse
from collections.abc import Sequence

import _checkout  # noqa: F401

from datasets.files import write_json
from datasets.layouts import LAYOUTS
from tools.evaluation.predictions import labelled, named_folder
from tools.runtime.flags import add_dataset_flag
from tools.runtime.program import Formatter, finite_list, positive_float, run_program


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The flags; DataError for values that cannot work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Formatter)
    add_dataset_flag(parser, "general_eval")
    parser.add_argument("--testpath", required=True, help="folder of scans with exact depth")
    parser.add_argument("--testlist", default="all", help='file of scan names, or "all"')
    parser.add_argument("--predictions", nargs="+", type=named_folder, required=True, help="label=folder ...")
    parser.add_argument("--thresholds", type=finite_list, default="2,4,8", help="bounds of the depth error, mm")
    parser.add_argument("--max_dist", type=positive_float, default=20.0, help="distances that count are below it, mm")
    parser.add_argument("--out", help="write the numbers to this JSON file")
    return parser.parse_args(argv)


def main() -> None:
    """Parse the flags, score, print."""
    args = parse()
    predictions = labelled(args.predictions)

    from tools.evaluation.depth import depth_metrics, format_table
    from tools.evaluation.scenes import cloud_scores, ratios

    layout = LAYOUTS[args.dataset](args.testpath)
    scans = layout.scans(args.testlist)
    rows = {}
    for label, folder in predictions.items():
        rows[label] = depth_metrics(layout, folder, scans, args.thresholds)
        rows[label] |= cloud_scores(layout, folder, scans, args.max_dist)
    print(f"{len(scans)} scenes; depth errors and distances of clouds in mm")
    print(format_table(rows))
    (first_label, first), *others = rows.items()
    for label, row in others:
        row["ratios"] = ratios(row, first, args.thresholds)
        text = ", ".join(f"{name.replace('_', ' ')} {value:.2f}" for name, value in row["ratios"].items())
        print(f"{label} / {first_label}: {text}")
    if args.out:
        write_json(args.out, rows)


if __name__ == "__main__":
    run_program(main)

"""A report of a result: a page for the run and one per scan, in a browser, without a network.

    python tools/report.py --outdir OUT --testpath DTU_TEST --unit mm
    python tools/report.py --outdir OUT --logdir outputs/teacher outputs/kd/round_1/student --png

OUT is an --outdir of test.py or tools/predict.py. Writes OUT/report/index.html and OUT/report/<scan>.html: images,
depth, confidence, which pixels other views confirm, the cloud to turn with the mouse, curves of the trainings, settings
and versions. With --testpath sources come from the pair files there, and where there is true depth (as for
tools/eval_depth.py) errors are shown. --png writes sheets of the same pictures and views of the clouds beside them.
"""

import argparse
from pathlib import Path

import _checkout  # noqa: F401

from tools.reports.settings import ReportSettings
from tools.runtime.program import (
    Formatter,
    finite_float,
    float_list,
    natural_int,
    positive_float,
    positive_int,
    run_program,
)


def build_parser() -> argparse.ArgumentParser:
    """The flags, with units."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Formatter)
    add = parser.add_argument
    add("--outdir", type=Path, required=True, help="results of test.py or tools/predict.py")
    add("--testlist", default=ReportSettings.testlist, help='file of scan names, or "all" that were predicted')
    add("--testpath", type=Path, help="the scans in the test layout: pair files and, where there is some, true depth")
    add("--logdir", type=Path, nargs="+", default=[], help="log folders of trainings")
    add(
        "--max_points",
        type=positive_int,
        default=ReportSettings.max_points,
        help="points of a cloud in its page, drawn at random",
    )
    add(
        "--max_views",
        type=positive_int,
        default=ReportSettings.max_views,
        help="views of a scan whose pictures are shown",
    )
    add(
        "--picture_size",
        type=positive_int,
        default=ReportSettings.picture_size,
        help="longest side of a picture, pixels",
    )
    add("--unit", default=ReportSettings.unit, help="unit of the camera files' lengths, for legends; DTU: mm")
    add("--thresholds", type=float_list, default="2,4,8", help="error bounds, unit of the depth")
    add("--error_limit", type=positive_float, help="end of the errors' colour scale; default: four median errors")
    add(
        "--check", choices=("normal", "dynamic"), default=ReportSettings.check, help="the cross-view check of the masks"
    )
    add(
        "--thres_view",
        type=natural_int,
        default=ReportSettings.thres_view,
        help="normal check: least number of agreeing views",
    )
    add("--conf", type=finite_float, default=ReportSettings.conf, help="least confidence of the masks, 0 to 1")
    add("--png", action="store_true", help="also write sheets of pictures and views of the clouds as PNG")
    return parser


def main() -> None:
    """Parse the flags and write the pages."""
    args = build_parser().parse_args()
    settings = ReportSettings(**{**vars(args), "logdir": tuple(args.logdir)})

    from tools.reports.report import write_report  # loads torch, which --help need not wait for

    print(f"report: {write_report(settings)}")


if __name__ == "__main__":
    run_program(main)

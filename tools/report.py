"""A report of a result: a page for the run and one per scan, in a browser, without a network.

    python tools/report.py --outdir OUT --testpath DTU_TEST --unit mm
    python tools/report.py --outdir OUT --logdir outputs/teacher outputs/kd/round_1/student --png
    python tools/report.py --logdir outputs/teacher                    (while it trains, before anything is predicted)

OUT is an --outdir of test.py or tools/predict.py. Writes OUT/report/index.html and OUT/report/<scan>.html: images,
depth, confidence, which pixels are in the cloud, the cloud to turn with the mouse, curves of the trainings, settings
and versions. Without --outdir, and as long as nothing is predicted there, the page shows the trainings alone; it lies
in the first --logdir then. With --testpath sources come from the pair files there, and where there is true depth (as
for tools/eval_depth.py) errors are shown. The index of a single scan leads to its page. --png writes sheets of the same
pictures and views of the clouds beside them.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import _checkout  # noqa: F401

from datasets.files import DataError
from tools.reports.settings import ReportSettings
from tools.runtime.flags import add_dataset_flag
from tools.runtime.program import (
    Formatter,
    finite_float,
    finite_list,
    natural_int,
    positive_float,
    positive_int,
    run_program,
    whole_number,
)

_SMALLEST_PICTURE, _LARGEST_PICTURE = 16, 16_384  # longest side, pixels


def parse(argv: Sequence[str] | None = None) -> ReportSettings:
    """The flags, with units, as settings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Formatter)
    add, default = parser.add_argument, ReportSettings
    add("--outdir", type=Path, help="results of test.py or tools/predict.py; default: the first --logdir")
    add("--testlist", default=default.testlist, help='file of scan names, or "all" that were predicted')
    add("--testpath", type=Path, help="the data: pair files and, where there is some, true depth and photos' names")
    add_dataset_flag(parser, default.dataset)
    add("--logdir", type=Path, nargs="+", default=[], help="log folders of trainings")
    add(
        "--max_points",
        type=positive_int,
        default=default.max_points,
        help="points of a cloud in its page, which is thinned evenly",
    )
    add(
        "--max_views",
        type=positive_int,
        default=default.max_views,
        help="views of a scan whose pictures are shown",
    )
    add(
        "--picture_size",
        type=whole_number(_SMALLEST_PICTURE, _LARGEST_PICTURE),
        default=default.picture_size,
        help="longest side of a picture, pixels",
    )
    add("--unit", default=default.unit, help="unit of the camera files' lengths, for legends; DTU: mm")
    add("--thresholds", type=finite_list, default="2,4,8", help="error bounds, unit of the depth")
    add("--error_limit", type=positive_float, help="end of the errors' colour scale; default: four median errors")
    add("--check", choices=("normal", "dynamic"), help="a check for the masks; default: what made the cloud")
    add("--thres_view", type=natural_int, help="normal check: least number of agreeing views, 3 unless told otherwise")
    add("--conf", type=finite_float, help="a check's least confidence, 0 to 1, 0.05 unless told otherwise")
    add("--png", action="store_true", help="also write sheets of pictures and views of the clouds as PNG")
    flags = vars(parser.parse_args(argv))
    if flags["outdir"] is None and not flags["logdir"]:
        raise DataError("--outdir or --logdir must say what the report is about")
    outdir = flags.pop("outdir") or flags["logdir"][0]
    return ReportSettings(outdir, **{**flags, "logdir": tuple(flags["logdir"])})


def main() -> None:
    """Parse the flags, write the pages."""
    settings = parse()

    from tools.reports.report import write_report  # loads numba, which --help need not wait for

    print(f"report: {write_report(settings)}")


if __name__ == "__main__":
    run_program(main)

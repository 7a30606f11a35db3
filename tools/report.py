"""A report of a result: a page for the run and one per scan, in a browser, without a network.

    python tools/report.py --outdir OUT --testpath DTU_TEST --unit mm
    python tools/report.py --outdir OUT --logdir outputs/teacher outputs/kd/round_1/student --png
    python tools/report.py --logdir outputs/teacher                    (while it trains, before anything is predicted)

OUT is an --outdir of test.py or tools/predict.py. Writes OUT/report/index.html and OUT/report/<scan>.html: images,
depth, confidence, which pixels other views confirm, the cloud to turn with the mouse, curves of the trainings, settings
and versions. Without --outdir, and as long as nothing is predicted there, the page shows the trainings alone; it lies
in the first --logdir then. With --testpath sources come from the pair files there, and where there is true depth (as
for tools/eval_depth.py) errors are shown. --png writes sheets of the same pictures and views of the clouds beside them.
"""

import argparse
from pathlib import Path

import _checkout  # noqa: F401

from datasets.files import DataError, write_bytes
from datasets.results import DEPTH_FOLDER, find_scans
from tools.runtime.flags import add_dataset_flag
from tools.runtime.program import (
    Formatter,
    Progress,
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
    add("--outdir", type=Path, help="results of test.py or tools/predict.py; default: the first --logdir")
    add("--testlist", default="all", help='file of scan names, or "all" that were predicted')
    add("--testpath", type=Path, help="the scans: pair files and, where there is some, true depth")
    add_dataset_flag(parser, "general_eval")
    add("--logdir", type=Path, nargs="+", default=[], help="log folders of trainings")
    add("--max_points", type=positive_int, default=200_000, help="points of a cloud in its page, drawn at random")
    add("--max_views", type=positive_int, default=12, help="views of a scan whose pictures are shown")
    add("--picture_size", type=positive_int, default=640, help="longest side of a picture, pixels")
    add("--unit", default="units", help="unit of the camera files' lengths, for legends; DTU: mm")
    add("--thresholds", type=float_list, default="2,4,8", help="error bounds, unit of the depth")
    add("--error_limit", type=positive_float, help="end of the errors' colour scale; default: four median errors")
    add("--check", choices=("normal", "dynamic"), default="normal", help="the cross-view check of the masks")
    add("--thres_view", type=natural_int, default=3, help="normal check: least number of agreeing views")
    add("--conf", type=finite_float, default=0.05, help="least confidence of the masks, 0 to 1")
    add("--png", action="store_true", help="also write sheets of pictures and views of the clouds as PNG")
    return parser


def predicted_scans(args: argparse.Namespace) -> list[str]:
    """The scans that the report is about: none where it is about trainings that nothing was predicted with yet."""
    if args.logdir and args.testlist == "all" and not any(args.outdir.glob(f"*/{DEPTH_FOLDER}")):
        print(f"{args.outdir}: nothing is predicted there yet, so the report shows the trainings alone")
        return []
    return find_scans(args.outdir, args.testlist)


def main() -> None:
    """Parse the flags, measure every scan, write the pages."""
    args = build_parser().parse_args()
    if args.outdir is None and not args.logdir:
        raise DataError("--outdir or --logdir must say what the report is about")
    args.outdir = args.outdir or args.logdir[0]
    if args.testpath is not None and not args.testpath.is_dir():
        raise DataError(f"{args.testpath}: no such folder; --testpath must say where the scans are")

    from fusion.consistency import dynamic_check, normal_check
    from tools.evaluation.scan_results import ScanResult
    from tools.reports.index_page import index_page
    from tools.reports.measures import error_limit, measure, pooled
    from tools.reports.report import describe_run, read_scores, read_training, write_scan

    check = normal_check(thres_view=args.thres_view) if args.check == "normal" else dynamic_check()
    trainings = [read_training(folder) for folder in args.logdir]
    results = [ScanResult(args.outdir, scan, args.testpath, args.dataset) for scan in predicted_scans(args)]
    scores = read_scores(args.outdir)
    progress = Progress(2 * len(results), "report", "scan")
    measures = []
    for result in results:
        measures.append(measure(result, check, args.conf))
        progress.step()
    run = describe_run(args, results)
    largest_error = args.error_limit or error_limit(pooled(measures))
    folder, names = args.outdir / "report", [result.name for result in results]
    cards = {}
    for i, (result, measured) in enumerate(zip(results, measures, strict=True)):
        neighbours = (names[i - 1] if i else None, names[i + 1] if i + 1 < len(names) else None)
        cards[result.name] = write_scan(args, run, result, measured, check, largest_error, neighbours)
        progress.step()
    progress.close()
    write_bytes(folder / "index.html", index_page(run, measures, cards, trainings, scores))
    print(f"report: {folder / 'index.html'}")


if __name__ == "__main__":
    run_program(main)

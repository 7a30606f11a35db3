"""Depth errors against known depth, for one or several predictions of the same scans.

    python tools/eval_depth.py --testpath SCENES --predictions teacher=OUT_A student=OUT_B --picture depth.png
    python tools/eval_depth.py --testpath SCENES --predictions OUT --relative 0.01,0.05 --curve

The scans are in the test layout with gt/%08d.pfm or depth/%08d.png (16 bits, whole units, 0 where unknown); the
predictions are --outdir folders of test.py, tools/predict.py or tools/zncc_sweep.py. Other layouts, with the depth that
belongs to them, are opened as --dataset says. Pixels count where the true depth
is positive; where it is of another size than the prediction, its nearest pixels are taken. Errors are in the unit of
the camera files (mm on DTU). A pixel without a predicted depth (0, negative, NaN, infinite) counts as depth 0, so its
error is the whole true depth; the share of such pixels is "missing".

A scan without these maps may have sparse_points.txt, points of its surface (x y z a line, world units). They are
projected into every view at the size of its prediction; of those in a cell of --cell x --cell pixels the one nearest to
the camera counts, against the predicted depth of the pixel that is nearest to it. Triangulated points may be wrong:
--isolated 0.2 leaves out the fifth of them that is farthest from its neighbours.

--page writes a page with a table for each scan, and a curve of each prediction's errors over its most confident pixels.

--curve keeps the pixels of at least a confidence (NaN counts as 0) that have a predicted depth: the share of the true
depths that is kept ("completeness"), and the errors of these.
"""

import argparse
from collections.abc import Sequence

import _checkout  # noqa: F401

from datasets.files import DataError, write_bytes, write_json
from datasets.formats.images import write_image
from datasets.layouts import LAYOUTS
from datasets.layouts.general import SurfacePoints
from tools.evaluation.depth import depth_metrics, format_curve, format_table, read_pixels
from tools.evaluation.predictions import labelled, named_folder
from tools.reports.depth_page import depth_page
from tools.reports.pictures import depth_sheet
from tools.runtime.flags import add_dataset_flag
from tools.runtime.program import Formatter, finite_list, fraction, positive_int, run_program

CURVE = "0,0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9"


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The flags; DataError for values that cannot work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Formatter)
    add_dataset_flag(parser, "general_eval")
    parser.add_argument("--testpath", required=True, help="folder of scans whose depth is known")
    parser.add_argument("--testlist", default="all", help='file of scan names, or "all"')
    parser.add_argument("--predictions", nargs="+", type=named_folder, required=True, help="label=folder ...")
    parser.add_argument(
        "--thresholds", type=finite_list, default="2,4,8", help="error bounds, unit of the depth, or ''"
    )
    parser.add_argument("--relative", type=finite_list, default="", help="error bounds as shares of the true depth")
    parser.add_argument(
        "--curve", type=finite_list, nargs="?", const=CURVE, default="", help="confidence thresholds of the curve"
    )
    points = SurfacePoints()
    parser.add_argument("--cell", type=positive_int, default=points.cell, help="side of a cell of points, pixels")
    parser.add_argument("--isolated", type=fraction, default=points.isolated, help="share of points that is left out")
    parser.add_argument("--by_scan", action="store_true", help="a row for every scan and prediction")
    parser.add_argument("--out", help="write the numbers to this JSON file")
    parser.add_argument("--page", help="write a page that compares the predictions, scan by scan, to this HTML file")
    parser.add_argument("--picture", help="write a sheet of depth and error pictures to this PNG file")
    return parser.parse_args(argv)


def main() -> None:
    """Parse the flags, compare, print."""
    args = parse()
    predictions = labelled(args.predictions)
    layout = LAYOUTS[args.dataset](args.testpath)
    scans = layout.scans(args.testlist)
    settings = (args.thresholds, args.relative, args.curve, SurfacePoints(args.cell, args.isolated))
    groups = {scan: [scan] for scan in scans} if args.by_scan else {"": scans}
    rows = {}
    for name, group in groups.items():
        for label, folder in predictions.items():
            row = f"{name} {label}" if name else label
            if row in rows:  # names may hold spaces
                raise DataError(f"--by_scan: two rows would be called {row}; give other labels as label=folder")
            rows[row] = depth_metrics(layout, folder, group, *settings)
    print(format_table(rows))
    if args.curve:
        for label, metrics in rows.items():
            print(f"\n{label}: pixels of at least a confidence\n{format_curve(metrics['curve'])}")
    if args.out:
        write_json(args.out, rows)
    if args.page:
        kept = SurfacePoints(args.cell, args.isolated)
        pixels = {
            scan: {label: read_pixels(layout, folder, [scan], True, kept) for label, folder in predictions.items()}
            for scan in scans
        }
        write_bytes(args.page, depth_page("Depth compared", pixels, args.relative))
        print(f"page: {args.page}")
    if args.picture:
        write_image(args.picture, depth_sheet(layout, predictions, scans))
        print(f"pictures: {args.picture}")


if __name__ == "__main__":
    run_program(main)

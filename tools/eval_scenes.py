"""Depth and clouds on scenes whose depth is known exactly in every view: the scores of the training benchmark.

    python tools/eval_scenes.py --testpath SCENES --predictions teacher=OUT_A student=OUT_B --out scores.json

The scans are in the test layout with gt/%08d.pfm; the predictions are --outdir folders of test.py. Depth is judged as
tools/eval_depth.py does. The true cloud of a scan are the points of all its views' exact depth, that is the surfaces
that some view sees: accuracy is the mean distance from the fused cloud to it, completeness the mean distance from it to
the cloud, overall the mean of both, each the mean over the scans. Distances of --max_dist on do not count, as in DTU's
evaluation. A scan without a cloud counts as --max_dist. "ratio" rows compare each prediction with the first one.
"""

import argparse
import sys
from pathlib import Path

import numba
import numpy as np

if not __package__:  # run as a file: find the packages beside this folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from datasets.files import DataError, write_json
from datasets.general import GeneralScans, cloud_name
from datasets.io import read_pfm
from datasets.synthetic_render import pixel_rays
from tools.cloud_metrics import compare_clouds, read_points
from tools.eval_depth import depth_metrics, format_table, named_folder
from tools.program import Formatter, float_list, positive_float, run_program


def visible_surface(layout: GeneralScans, scan: str) -> np.ndarray:
    """The world points [N, 3] that a scan's views see, from their exact depth; raises DataError where it is missing."""
    parts = []
    for view, _ in layout.pairs(scan):
        path = layout.root / scan / "gt" / f"{view:08d}.pfm"
        if not path.exists():
            raise DataError(f"{path}: this view's exact depth is missing; make scenes with tools/make_synthetic.py")
        depth = read_pfm(path).astype(np.float64)
        rows, columns = np.nonzero(np.isfinite(depth) & (depth > 0))
        pixels = np.stack([columns, rows, np.ones_like(rows)]) * depth[rows, columns]
        rays = pixel_rays(layout.camera(scan, view))
        parts.append((rays[:, :3] @ pixels + rays[:, 3:]).T)
    return np.concatenate(parts)


def cloud_scores(layout: GeneralScans, outdir: Path, scans: list[str], max_dist: float) -> dict[str, float]:
    """acc, comp and overall (mm, means over the scans) of the clouds in a result folder."""
    rows = []
    for scan in scans:
        path = outdir / "gipuma_pcd" / cloud_name(scan)
        try:
            cloud, _ = read_points(path)
        except DataError:
            if path.exists():  # there, but without a point
                rows.append([max_dist] * 3)
                continue
            raise
        result = compare_clouds(
            cloud, visible_surface(layout, scan), max_dist=max_dist, threads=numba.get_num_threads()
        )
        rows.append([result[name] if result[name] == result[name] else max_dist for name in ("acc", "comp", "overall")])
    return dict(zip(("acc", "comp", "overall"), np.mean(rows, axis=0).tolist(), strict=True))


def ratios(row: dict[str, float], first: dict[str, float], thresholds: tuple[float, ...]) -> dict[str, float]:
    """A prediction's scores over the first one's, where these are not 0; for shares within a threshold those of the
    pixels beyond it."""
    names = ("mean", "median", "acc", "comp", "overall")
    pairs = {name: (row[name], first[name]) for name in names}
    pairs |= {f"beyond_{t:g}": (1 - row[f"within_{t:g}"], 1 - first[f"within_{t:g}"]) for t in thresholds}
    return {name: value / base for name, (value, base) in pairs.items() if base > 0}


def main() -> None:
    """Parse the flags, score, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Formatter)
    parser.add_argument("--testpath", required=True, help="folder of scans with gt/")
    parser.add_argument("--testlist", default="all", help='file of scan names, or "all"')
    parser.add_argument("--predictions", nargs="+", type=named_folder, required=True, help="label=folder ...")
    parser.add_argument("--thresholds", type=float_list, default="2,4,8", help="bounds of the depth error, mm")
    parser.add_argument("--max_dist", type=positive_float, default=20.0, help="distances that count are below it, mm")
    parser.add_argument("--out", help="write the numbers to this JSON file")
    args = parser.parse_args()
    layout = GeneralScans(args.testpath)
    scans = layout.scans(args.testlist)
    rows = {}
    for label, folder in args.predictions:
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

"""How well the score without ground truth (tools.selection) ranks a training's checkpoints by their true errors.

    python tools/rank_checkpoints.py --logdir LOG --testpath SCENES --testlist all --out ranking.json

The scans, which need ground truth, are predicted with every model_*.ckpt of the log folders. Printed are the score and
its parts, the errors (unit of the camera files, mm on DTU; over the pixels of known depth), and Spearman's rank
correlation of each part with each error, of all checkpoints: -1 is a perfect ranking by the score.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy.stats
import torch

if not __package__:  # run as a file: find the packages beside this folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from datasets.files import DataError, write_json
from tools import distributed
from tools.eval_depth import Pixels, error_metrics
from tools.flags import add_dataset_flag
from tools.predict import add_prediction_flags, load_for_prediction, prediction_settings
from tools.program import Formatter, Progress, keep_freed_memory, positive_float, positive_int, run_program
from tools.selection import Selection, open_selection, score_of

SCORES = ("score", "survived", "residual")


def checkpoints(folders: Sequence[str]) -> list[Path]:
    """Every epoch's checkpoint in the folders; raises DataError where there is none."""
    paths = []
    for folder in folders:
        found = sorted(Path(folder).glob("model_[0-9]*.ckpt"))
        if not found:
            raise DataError(f"--logdir {folder}: holds no model_*.ckpt; name the --logdir of a training")
        paths += found
    return paths


def measure(selection: Selection, args: argparse.Namespace, threshold: float) -> dict[str, float]:
    """The score of the checkpoint --loadckpt with its parts, and its true errors: mean, median, share off by more."""
    model = load_for_prediction(args, selection.device)
    sums, parts = torch.zeros(4, dtype=torch.float64), []
    for scan in selection.scans:
        views = selection.predict(model, scan)
        sums += sum(selection.scan_sums(scan, views))
        for number, view in views.items():
            truth = selection.layout.ground_truth(scan, number, view.depth.shape[::-1])
            if truth is not None:
                parts.append((truth[truth > 0], view.depth[truth > 0]))
    if sum(len(truth) for truth, _ in parts) == 0:
        raise DataError(f"{selection.layout.root}: no ground truth to compare with")
    errors = error_metrics(Pixels(*map(np.concatenate, zip(*parts, strict=True))), (threshold,))
    off = 1 - errors.pop(f"within_{threshold:g}")
    return {**score_of(sums)._asdict(), **errors, f"off_by_{threshold:g}": off}


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Spearman's, ties sharing their mean rank; None for fewer than three values, or where all are equal."""
    ranks = [scipy.stats.rankdata(values) for values in (a, b)]
    if len(a) < 3 or min(map(np.ptp, ranks)) == 0:
        return None
    return float(np.corrcoef(ranks)[0, 1])


def correlations(rows: Sequence[dict[str, float]], errors: Sequence[str]) -> dict[str, dict[str, float | None]]:
    """For each of SCORES its rank correlation with each error; a good residual is low, so it correlates above 0."""
    return {
        score: {error: rank_correlation(*([row[name] for row in rows] for name in (score, error))) for error in errors}
        for score in SCORES
    }


def table(rows: dict[str, dict[str, float]]) -> str:
    """Named rows of equal columns, aligned; numbers with four significant digits, "-" for None."""
    columns = list(next(iter(rows.values())))
    cells = [["", *columns]]
    for name, row in rows.items():
        cells.append([name, *("-" if row[column] is None else f"{row[column]:.4g}" for column in columns)])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in cells
    )


def main() -> None:
    """Parse the flags, predict with every checkpoint, print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Formatter)
    add_dataset_flag(parser, "general_eval")
    parser.add_argument("--logdir", nargs="+", required=True, help="folders with checkpoints, all compared together")
    parser.add_argument("--testpath", required=True, help="folder of the scans, with ground truth")
    parser.add_argument("--select_thres_view", type=positive_int, default=3, help="sources that must confirm a pixel")
    parser.add_argument("--threshold", type=positive_float, default=2.0, help="error above which a pixel is off")
    parser.add_argument("--out", help="write the numbers to this JSON file")
    add_prediction_flags(parser, "4,1,0.5", 640, 512)
    args = parser.parse_args()
    settings = prediction_settings(args, light=None)
    device = distributed.start(args.device)
    paths = checkpoints(args.logdir)
    selection = open_selection(
        args.dataset, args.testpath, args.testlist, settings, args.select_thres_view, args.amp, device
    )
    keep_freed_memory()
    rows, progress = {}, Progress(len(paths), "checkpoints", unit="checkpoint")
    for path in paths:
        args.loadckpt = path
        rows[str(path)] = measure(selection, args, args.threshold)
        progress.step(f"{path}: score {rows[str(path)]['score']:.4f}")
    progress.close()
    errors = [name for name in rows[str(paths[0])] if name not in (*SCORES, "flat")]
    ranks = correlations(list(rows.values()), errors)
    print(table(rows))
    print(f"\nrank correlation over {len(rows)} checkpoints\n{table(ranks)}")
    if args.out:
        write_json(args.out, {"checkpoints": rows, "rank_correlation": ranks})


if __name__ == "__main__":
    run_program(main)

"""How well the score without ground truth ranks checkpoints by their true errors."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy.stats
import torch

from datasets.files import DataError
from tools.evaluation.depth import Pixels, error_metrics
from tools.prediction.predictor import load_for_prediction
from tools.prediction.settings import PredictionSettings
from tools.training.selection import Selection, score_of

SCORES = ("score", "survived", "residual")


def checkpoints(folders: Sequence[str]) -> list[Path]:
    """Every epoch's checkpoint in the folders, each once; raises DataError where there is none."""
    paths: list[Path] = []
    for folder in folders:
        found = sorted(Path(folder).glob("model_[0-9]*.ckpt"))
        if not found:
            raise DataError(f"--logdir {folder}: holds no model_*.ckpt; name the --logdir of a training")
        paths += found
    return list({path.resolve(): path for path in reversed(paths)}.values())[::-1]


def score_checkpoint(
    selection: Selection, checkpoint: Path, settings: PredictionSettings, threshold: float
) -> dict[str, float]:
    """A checkpoint's score with its parts, and, where depth is known, its errors: mean, median, share off by more."""
    model = load_for_prediction(checkpoint, settings, selection.device)
    sums, parts = torch.zeros(4, dtype=torch.float64), []
    for scan in selection.scans:
        views = selection.predict(model, scan)
        sums += sum(selection.scan_sums(scan, views))
        for number, view in views.items():
            truth = selection.layout.ground_truth(scan, number, view.depth.shape[::-1])
            if truth is not None:
                parts.append((truth[truth > 0], view.depth[truth > 0]))
    score = score_of(sums)._asdict()
    if sum(len(truth) for truth, _ in parts) == 0:
        return score
    errors = error_metrics(Pixels(*map(np.concatenate, zip(*parts, strict=True))), (threshold,))
    off = 1 - errors.pop(f"within_{threshold:g}")
    return {**score, **errors, f"off_by_{threshold:g}": off}


def best_by_score(rows: dict[str, dict[str, float]]) -> str:
    """The name of the row with the highest score; of equal ones the first."""
    return max(rows, key=lambda name: rows[name]["score"])


def describe_best(rows: dict[str, dict[str, float]]) -> str:
    """Which row is best by its score, and by how much."""
    best = best_by_score(rows)
    score = rows[best]["score"]
    leads = [f"{score - row['score']:.4f} above {name}" for name, row in rows.items() if name != best]
    return ", ".join([f"best by its score: {best}, {score:.4f}", *leads])


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


def format_rows(rows: dict[str, dict[str, float]]) -> str:
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

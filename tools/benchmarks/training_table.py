"""The training benchmark's table: a row for every variant, means over its seeds."""

import re
import statistics
from pathlib import Path
from typing import Any

from datasets.files import DataError, read_json

RATIOS = ("overall", "median", "beyond_2", "mean")


ERRORS = ("overall", "median", "mean")


def collect(outdir: Path) -> dict[str, dict[str, Any]]:
    """The scores of every variant, by seed: {variant: {seed: {"teacher": ..., "student": ...}}}."""
    variants: dict[str, dict[str, Any]] = {}
    for path in sorted(outdir.glob("seed_*/*/scores.json")):
        match = re.fullmatch(r"seed_(\d{1,9})", path.parent.parent.name)
        if match:
            variants.setdefault(path.parent.name, {})[match[1]] = read_json(path)
    if not variants:
        raise DataError(f"{outdir}: holds no scores (seed_*/<variant>/scores.json); run scripts/run_benchmark.sh first")
    return variants


def table_row(seeds: dict[str, Any]) -> dict[str, Any]:
    """A variant's means over the seeds: errors of teacher and student, and ratios with their extremes."""
    row: dict[str, Any] = {"seeds": len(seeds)}
    for network in ("teacher", "student"):
        row[network] = {
            name: statistics.fmean(scores[network][name] for scores in seeds.values())
            for name in next(iter(seeds.values()))[network]
            if name in ERRORS or name.startswith("within_")
        }
    ratios = {name: [scores["student"]["ratios"][name] for scores in seeds.values()] for name in RATIOS}
    row["ratios"] = {name: [statistics.fmean(values), min(values), max(values)] for name, values in ratios.items()}
    return row


def training_times(outdir: Path) -> list[dict[str, Any]]:
    """Steps and seconds per step of every training under the folder, with its place."""
    paths = sorted(outdir.glob("seed_*/**/training.json"))
    return [{"training": str(path.parent.relative_to(outdir)), **read_json(path)} for path in paths]


def ranking_text(ranking: dict[str, Any]) -> str:
    """How well checkpoints are ranked without ground truth, from what tools/rank_checkpoints.py wrote."""
    found = ranking["rank_correlation"]["score"]
    values = ", ".join(f"{name.replace('_', ' ')} {value:.2f}" for name, value in found.items() if value is not None)
    subject = f"score without ground truth against the errors of {len(ranking['checkpoints'])} checkpoints"
    return f"rank correlation of the {subject}: {values or 'none'}"


def table_cells(rows: dict[str, dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """The table's head and its rows as text; errors in mm."""
    head = ["variant", "seeds", *ERRORS]
    head += [f"{name.replace('_', ' ')} ratio" for name in RATIOS]
    body = []
    for variant, row in rows.items():
        teacher, student = row["teacher"], row["student"]
        cells = [f"{teacher[name]:.2f} → {student[name]:.2f}" for name in ERRORS]
        for mean, low, high in row["ratios"].values():
            cells.append(f"{mean:.2f}" + (f" ({low:.2f}–{high:.2f})" if row["seeds"] > 1 else ""))
        body.append([variant, str(row["seeds"]), *cells])
    return head, body


def markdown(head: list[str], rows: list[list[str]], summary: str) -> str:
    """The table as Markdown."""
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:], "", summary]) + "\n"

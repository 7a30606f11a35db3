"""The training benchmark's table: a row for every variant, means over its seeds.

    python tools/benchmark_table.py --outdir outputs/benchmark

Reads <outdir>/seed_*/<variant>/scores.json, which scripts/run_benchmark.sh leaves there, and what the trainings told of
their length; writes table.md and table.json. Ratios are the student's errors over those of its own teacher, first per
seed, then averaged; the smallest and the largest stand behind. "beyond 2" is the share of pixels off by over 2 mm.
"""

import argparse
import re
import statistics
import sys
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: find the packages beside this folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from datasets.files import DataError, read_json, write_bytes, write_json
from tools.benchmark import machine
from tools.program import Formatter, run_program

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
            name: statistics.fmean(scores[network][name] for scores in seeds.values()) for name in (*ERRORS, "within_2")
        }
    ratios = {name: [scores["student"]["ratios"][name] for scores in seeds.values()] for name in RATIOS}
    row["ratios"] = {name: [statistics.fmean(values), min(values), max(values)] for name, values in ratios.items()}
    return row


def training_times(outdir: Path) -> list[dict[str, Any]]:
    """Steps and seconds per step of every training under the folder, with its place."""
    paths = sorted(outdir.glob("seed_*/**/training.json"))
    return [{"training": str(path.parent.relative_to(outdir)), **read_json(path)} for path in paths]


def markdown(rows: dict[str, dict[str, Any]], machine_text: str, times: list[dict[str, Any]]) -> str:
    """The table as Markdown; errors in mm."""
    head = ["variant", "seeds", "overall", "median", "mean", "within 2 mm"]
    head += [f"{name.replace('_', ' ')} ratio" for name in RATIOS]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for variant, row in sorted(rows.items(), key=lambda item: item[0] != "best"):
        teacher, student = row["teacher"], row["student"]
        cells = [f"{teacher[name]:.2f} → {student[name]:.2f}" for name in ERRORS]
        cells.append(f"{teacher['within_2']:.1%} → {student['within_2']:.1%}")
        for mean, low, high in row["ratios"].values():
            cells.append(f"{mean:.2f}" + (f" ({low:.2f} to {high:.2f})" if row["seeds"] > 1 else ""))
        lines.append("| " + " | ".join([variant, str(row["seeds"]), *cells]) + " |")
    hours = sum(time["steps"] * time["seconds_per_step"] for time in times) / 3600
    lines += ["", f"{len(times)} trainings, {hours:.1f} hours in steps, on {machine_text}."]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Collect, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Formatter)
    parser.add_argument("--outdir", type=Path, required=True, help="the benchmark's folder")
    args = parser.parse_args()
    rows = {variant: table_row(seeds) for variant, seeds in collect(args.outdir).items()}
    times, hardware = training_times(args.outdir), machine()
    text = markdown(rows, ", ".join(f"{name} {value}" for name, value in hardware.items()), times)
    print(text)
    write_json(args.outdir / "table.json", {"variants": rows, "trainings": times, "machine": hardware})
    write_bytes(args.outdir / "table.md", text.encode())


if __name__ == "__main__":
    run_program(main)

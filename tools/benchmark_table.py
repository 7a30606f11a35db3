"""The training benchmark's table: a row for every variant, means over its seeds.

    python tools/benchmark_table.py --outdir outputs/benchmark

Reads <outdir>/seed_*/<variant>/scores.json, which scripts/run_benchmark.sh leaves there, and what the trainings told of
their length and losses; writes table.md, table.json, and benchmark.html with curves. Ratios are the student's errors
over those of its own teacher, first per seed, then averaged; the smallest and the largest stand behind. "beyond 2" is
the share of pixels off by over 2 mm.
"""

import argparse
from pathlib import Path

import _checkout  # noqa: F401

from datasets.files import read_json, write_bytes, write_json
from datasets.formats.metrics import read_scalars
from tools.benchmarks.training_table import collect, markdown, ranking_text, table_cells, table_row, training_times
from tools.runtime.program import Formatter, run_program


def main() -> None:
    """Collect, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Formatter)
    parser.add_argument("--outdir", type=Path, required=True, help="the benchmark's folder")
    args = parser.parse_args()

    from tools.benchmarks.measure import machine
    from tools.reports.benchmark_page import benchmark_page

    rows = {variant: table_row(seeds) for variant, seeds in collect(args.outdir).items()}
    rows = dict(sorted(rows.items(), key=lambda item: (not item[0].startswith("rounds_"), item[0])))
    times, hardware = training_times(args.outdir), machine()
    hours = sum(time["steps"] * time["seconds_per_step"] for time in times) / 3600
    summary = f"{len(times)} trainings, {hours:.1f} hours in steps"
    if (args.outdir / "ranking.json").exists():
        summary += f"; {ranking_text(read_json(args.outdir / 'ranking.json'))}"
    head, body = table_cells(rows)
    on_machine = ", ".join(f"{name} {value}" for name, value in hardware.items())
    text = markdown(head, body, f"{summary}, on {on_machine}.")
    print(text)
    losses = {time["training"]: read_scalars(args.outdir / time["training"]) for time in times}
    write_json(args.outdir / "table.json", {"variants": rows, "trainings": times, "machine": hardware})
    write_bytes(args.outdir / "table.md", text.encode())
    write_bytes(args.outdir / "benchmark.html", benchmark_page(head, body, rows, losses, hardware, summary))


if __name__ == "__main__":
    run_program(main)

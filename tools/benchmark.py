"""Speed and memory, side by side with the plain definition: prediction and its files, training, labels, and so on.

    python tools/benchmark.py                                    every section at 640x512
    python tools/benchmark.py --sections prediction --sizes 640x512,1152x864,1600x1184 --json benchmark.json
    python tools/benchmark.py --sections curves --training_sizes 96x64 --rounds 1    500 steps in each precision

Every alternative runs in a process of its own, the alternatives in turn; run nothing beside it. "plain" is the official
program's way: float32, default layouts, each reference view by itself, the cost volume from torch's own operations.
"""

import argparse
import dataclasses
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import _checkout  # noqa: F401

from datasets.files import write_json
from tools.benchmarks.settings import BenchmarkSettings
from tools.runtime.limits import MOST_VIEWS, check_between
from tools.runtime.program import Formatter, positive_float, run_program, whole_number

if TYPE_CHECKING:
    from tools.benchmarks.measure import Comparison, Row

SECTIONS = ("sweep", "prediction", "files", "training", "labels", "refinement", "fusion", "scoring", "roofline")
LONG_SECTIONS = ("curves",)  # by name only

_LARGEST_SIDE = 16_384  # of an image, pixels
_MOST_STEPS, _MOST_ROUNDS = 10_000_000, 10_000
_LEAST_POINTS, _MOST_POINTS = 1e-3, 1e4  # of a cloud, million


def image_sizes(text: str) -> tuple[tuple[int, int], ...]:
    """A flag such as `640x512,1152x864`."""
    try:
        sizes = [tuple(int(side) for side in word.split("x")) for word in text.split(",")]
    except ValueError:
        sizes = []
    if not sizes or any(
        len(size) != 2 or not 32 <= min(size) <= max(size) <= _LARGEST_SIDE or size[0] % 32 or size[1] % 32
        for size in sizes
    ):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of sizes in multiples of 32 such as 640x512")
    return tuple(sizes)


def section_list(text: str) -> tuple[str, ...]:
    """A flag such as `prediction,fusion`."""
    names = [name for name in text.split(",") if name]
    unknown = set(names) - {*SECTIONS, *LONG_SECTIONS}
    if unknown or not names:
        raise argparse.ArgumentTypeError(f"{text!r}: choose from {', '.join((*SECTIONS, *LONG_SECTIONS))}")
    return tuple(names)


def comparisons(settings: BenchmarkSettings, folder: Path) -> "Iterator[Comparison]":
    """The chosen sections, their synthetic scans made in `folder` when they are first needed."""
    from tools.benchmarks import clouds, files, networks

    checkpoint = folder / "student.ckpt"
    networks.write_random_checkpoint(checkpoint)
    for section in settings.sections:
        if section == "scoring":
            yield clouds.scoring_comparison(settings.cloud_points)
        for size in settings.sizes:
            if section == "sweep":
                yield from networks.sweep_comparisons(size, settings.num_view)
            elif section == "prediction":
                scans = make_scan(folder, size, settings.scan_views)
                yield networks.prediction_comparison(scans, checkpoint, size, settings.num_view)
            elif section == "files":
                yield files.files_comparison(make_scan(folder, size, settings.scan_views), size)
            elif section == "labels":
                yield clouds.label_comparison(make_scan(folder, size, settings.scan_views))
            elif section == "refinement":
                yield clouds.refinement_comparison(make_scan(folder, size, settings.scan_views))
            elif section == "fusion":
                yield clouds.fusion_comparison(make_scan(folder, size, settings.fused_views))
        for size in settings.training_sizes if section in ("training", "curves") else ():
            for kind in ("teacher", "student"):
                scans = make_scan(folder, size, 6)
                if section == "training":
                    yield networks.training_comparison(scans, size, kind)
                else:
                    yield networks.curves_comparison(scans, size, kind, settings.curve_steps)


def make_scan(folder: Path, size: tuple[int, int], views: int) -> Path:
    """A root folder with one synthetic scan of `views` views, rendered once."""
    from datasets.synthetic.scans import write_test_layout

    root = folder / f"{size[0]}x{size[1]}_{views}"
    if not root.exists():
        write_test_layout(root, {"scan1": 1}, *size, views)
    return root


def print_rows(rows: "list[Row]") -> None:
    """A comparison as lines of the table."""
    for row in rows:
        faster = f"{row.times_faster:6.2f}x" if len(rows) > 1 else " " * 7
        figures = ", ".join(f"{name} {value}" for name, value in row.figures.items())
        print(
            f"  {row.label:<10} {row.seconds:9.4f} s per {row.unit} ({row.least:.4f} to {row.most:.4f}) {faster} "
            f"{row.peak_gb:6.2f} GB  {figures}".rstrip(),
            flush=True,
        )


def print_roofline(rows: "list[Row]", sizes: tuple[tuple[int, int], ...], views: int) -> dict:
    """What prediction needs at least, what the machine can do, and the share of it that was reached."""
    from tools.benchmarks import roofline
    from tools.benchmarks.measure import Case, in_process

    (_, peaks), _ = in_process(Case("peaks", roofline.machine_peaks))
    print(f"roofline: this machine's {', '.join(f'{name} {value}' for name, value in peaks.items())}")
    result = {"peaks": peaks, "work": {}}
    for size in sizes:
        work = roofline.prediction_work(size, views)
        setting = f"{size[0]}x{size[1]}, {views} views"
        result["work"][setting] = work
        print(f"  {setting}: at least {work['gflop']:.1f} GFLOP and {work['gb']:.2f} GB (float32) per depth map")
        for row in rows:
            if (row.section, row.setting) == ("prediction", setting):
                peak = peaks["bf16_gflops" if row.label == "bf16" else "float32_gflops"]
                share = work["gflop"] / row.seconds / peak
                traffic = work["gb"] * (0.5 if row.label == "bf16" else 1) / row.seconds / peaks["copy_gb_per_s"]
                print(f"    {row.label:<10} {share:.1%} of the peak arithmetic, {traffic:.1%} of the peak traffic")
    return result


def parse(argv: Sequence[str] | None = None) -> tuple[argparse.Namespace, BenchmarkSettings]:
    """The flags; DataError for values that cannot work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Formatter)
    parser.add_argument("--sections", type=section_list, default=",".join(SECTIONS), help="what to measure")
    parser.add_argument("--sizes", type=image_sizes, default="640x512", help="image sizes, width x height")
    parser.add_argument("--training_sizes", type=image_sizes, default="160x128", help="image sizes of training steps")
    parser.add_argument(
        "--curve_steps", type=whole_number(1, _MOST_STEPS), default=500, help="steps of the loss curves"
    )
    parser.add_argument("--num_view", type=whole_number(2, MOST_VIEWS), default=5, help="views of a depth map")
    parser.add_argument(
        "--scan_views", type=whole_number(2, MOST_VIEWS), default=12, help="views of the scan that is predicted"
    )
    parser.add_argument(
        "--fused_views", type=whole_number(2, MOST_VIEWS), default=49, help="views of the scan that is fused"
    )
    parser.add_argument("--cloud_points", type=positive_float, default=10.0, help="million points of the scored cloud")
    parser.add_argument(
        "--rounds", type=whole_number(1, _MOST_ROUNDS), default=3, help="times that every alternative is run"
    )
    parser.add_argument("--json", help="write everything to this file too")
    args = parser.parse_args(argv)
    check_between("cloud_points", args.cloud_points, _LEAST_POINTS, _MOST_POINTS)
    names = (field.name for field in dataclasses.fields(BenchmarkSettings))
    return args, BenchmarkSettings(**{name: getattr(args, name) for name in names})


def main() -> None:
    """Parse the flags, measure, print."""
    args, settings = parse()

    from tools.benchmarks.measure import compare, machine

    found = machine()
    print(", ".join(f"{name} {value}" for name, value in found.items()))
    rows: list[Row] = []
    result: dict = {"machine": found}
    with tempfile.TemporaryDirectory() as folder:
        for comparison in comparisons(settings, Path(folder)):
            print(f"{comparison.section}: {comparison.setting}", flush=True)
            measured = compare(comparison, args.rounds)
            print_rows(measured)
            rows += measured
    if "roofline" in args.sections:
        result["roofline"] = print_roofline(rows, args.sizes, args.num_view)
    if args.json:
        write_json(args.json, {**result, "rows": [dataclasses.asdict(row) for row in rows]})


if __name__ == "__main__":
    run_program(main)

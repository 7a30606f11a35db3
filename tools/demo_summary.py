"""The demo's table: depth errors of teacher and student, points, training time.

python tools/demo_summary.py --outdir outputs/demo
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import _checkout  # noqa: F401

from datasets.files import read_json, write_json
from datasets.formats.images import read_image, write_image
from datasets.formats.ply import read_ply
from datasets.io import read_camera
from datasets.layouts.general import GeneralScans
from datasets.results import CLOUD_FOLDER, ViewFiles
from tools.evaluation.depth import depth_metrics, format_table
from tools.reports.pictures import depth_sheet, render_cloud
from tools.runtime.program import Formatter, run_program

THRESHOLDS = (2.0, 4.0, 8.0)


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The flags; DataError for values that cannot work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Formatter)
    parser.add_argument("--outdir", type=Path, required=True, help="the demo's folder")
    parser.add_argument("--teacher_log", type=Path, required=True, help="the teacher's log folder")
    parser.add_argument("--student_log", type=Path, required=True, help="the student's log folder")
    return parser.parse_args(argv)


def main() -> None:
    """Parse the flags, compare, print, draw."""
    args = parse()
    layout = GeneralScans(args.outdir / "data" / "test")
    scans = layout.scans("all")
    results = {label: args.outdir / f"test_{label}" for label in ("teacher", "student")}
    logs = {"teacher": args.teacher_log, "student": args.student_log}

    rows = {label: depth_metrics(layout, folder, scans, THRESHOLDS) for label, folder in results.items()}
    clouds = {label: sorted((folder / CLOUD_FOLDER).glob("*.ply")) for label, folder in results.items()}
    print(f"\nDepth error against exact depth, mm, {len(scans)} held-out scenes:")
    print(format_table(rows))
    for label in results:
        training, flags = read_json(logs[label] / "training.json"), read_json(logs[label] / "flags.json")
        rows[label] |= training | {"points": sum(len(read_ply(cloud)[0]) for cloud in clouds[label])}
        print(
            f"{label}: {training['steps']} steps of {training['seconds_per_step']:.2f} s,"
            f" {rows[label]['points']} points in {len(clouds[label])} clouds ({results[label]}/{CLOUD_FOLDER})"
        )
        if cut := cut_short(training, flags):
            print(f"{label}: {cut}")
    write_json(args.outdir / "summary.json", rows)
    write_image(args.outdir / "depth.png", depth_sheet(layout, results, scans))
    write_image(args.outdir / "cloud.png", _cloud_picture(results["student"], clouds["student"][0], scans[0]))
    print(f"pictures: {args.outdir}/depth.png, {args.outdir}/cloud.png; numbers: {args.outdir}/summary.json")


def cut_short(training: dict[str, Any], flags: dict[str, str]) -> str:
    """What to say of a training that its time ended before its last step; nothing of another one."""
    wanted = int(flags["max_steps"])
    missing = wanted - training["steps"]
    if missing <= 0:
        return ""
    minutes = math.ceil(missing * training["seconds_per_step"] / 60)
    return (
        f"the time limit ended its training after {training['steps']} of {wanted} steps, fewer than it needs;"
        f"\n    the others take {minutes} min more on this machine: set a larger TIME_LIMIT, and another DEMO_DIR"
    )


def _cloud_picture(folder: Path, cloud: Path, scan: str):
    """The scan's cloud seen through its first camera, at three times the image's size."""
    scale = 3
    camera = read_camera(ViewFiles(folder / scan, 0).camera).scaled(scale, scale)
    height, width = read_image(ViewFiles(folder / scan, 0).image).shape[:2]
    return render_cloud(*read_ply(cloud), camera, (scale * width, scale * height), splat=scale + 1)


if __name__ == "__main__":
    run_program(main)

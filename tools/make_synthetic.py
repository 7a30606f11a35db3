"""Make procedural scenes with exact depth, for tests and for training without a data set.

    python tools/make_synthetic.py --outdir DIR --layout train --scenes 64
    python tools/make_synthetic.py --outdir DIR --layout test --scenes 4 --first_seed 1000
    python tools/make_synthetic.py --outdir DIR --layout test --style room --views 7 --width 384 --height 288

Scene k is called scan<first_seed + k> and is made from that seed, so the same name always is the same scene.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import _checkout  # noqa: F401

from datasets.synthetic.kinds import PLACE_STYLES, RIGS_OF_PLACES
from datasets.synthetic.rig import RIGS
from tools.runtime.limits import MOST_VIEWS
from tools.runtime.program import Formatter, Progress, int_list, run_program, whole_number

_MOST_SCENES, _LARGEST_SIDE = 100_000, 16_384


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The flags, which must go together."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Formatter)
    parser.add_argument("--outdir", required=True, help="folder to write the scenes into")
    parser.add_argument("--layout", choices=("train", "test"), default="train", help="DTU training or test layout")
    parser.add_argument("--scenes", type=whole_number(1, _MOST_SCENES), default=8, help="number of scenes")
    parser.add_argument("--first_seed", type=int, default=1, help="seed and scan number of the first scene, from 0 on")
    parser.add_argument("--rig_seed", type=int, default=0, help="seed of the cameras all training scenes share")
    parser.add_argument("--views", type=whole_number(1, MOST_VIEWS), default=6, help="views per scene")
    parser.add_argument("--width", type=whole_number(1, _LARGEST_SIDE), default=160, help="image width in pixels")
    parser.add_argument("--height", type=whole_number(1, _LARGEST_SIDE), default=128, help="image height in pixels")
    parser.add_argument("--lights", type=int_list, default="3,6", help="lights 0..6; test layout: only the first one")
    parser.add_argument(
        "--style",
        choices=("plain", "rich", *PLACE_STYLES),
        default="plain",
        help="rich: pictures on surfaces, highlights, thin parts, poor texture, a camera with noise and exposure; "
        "room, outdoor, mixed (by the seed): places that a camera is carried through (test layout)",
    )
    parser.add_argument(
        "--rig",
        choices=(*RIGS, *RIGS_OF_PLACES, "any"),
        help=f"cameras: {', '.join(RIGS)} (ring if not given; the training layout's always are), in places "
        f"{', '.join(RIGS_OF_PLACES)} (any if not given)",
    )
    parser.add_argument("--photographs", help="folder of photographs to paper rich scenes with, besides drawn pictures")
    parser.add_argument("--list", help="scan list to write (<outdir>/scans.txt if not given)")
    flags = parser.parse_args(argv)

    from datasets.synthetic.scans import LIGHTS

    if not flags.lights or not set(flags.lights) <= set(range(LIGHTS)):
        parser.error(f"--lights takes numbers in 0..{LIGHTS - 1}")
    if min(flags.first_seed, flags.rig_seed) < 0:
        parser.error("--first_seed and --rig_seed start at 0")
    in_place = flags.style in PLACE_STYLES
    flags.rig = flags.rig or ("any" if in_place else "ring")
    if flags.rig not in ((*RIGS_OF_PLACES, "any") if in_place else (*RIGS, "any")):
        parser.error(f"--rig {flags.rig} does not go with --style {flags.style}")
    if flags.layout == "train" and in_place:
        parser.error(f"--style {flags.style}: every scene has cameras of its own; use --layout test")
    if flags.layout == "train" and flags.rig != "ring":
        parser.error("--rig: the training layout's cameras are a ring, shared by all scenes; use --layout test")
    if flags.photographs and flags.style == "plain":
        parser.error("--photographs does not go with --style plain")
    if flags.layout == "train" and (flags.width % 4 or flags.height % 4):
        parser.error("--width and --height must be multiples of 4: training cameras are stored at a quarter of them")
    return flags


def main() -> None:
    flags = parse()

    from datasets.synthetic.pictures import load_pictures
    from datasets.synthetic.scans import Look, write_scan_list, write_test_layout, write_training_layout

    scans = {f"scan{seed}": seed for seed in range(flags.first_seed, flags.first_seed + flags.scenes)}
    size = (flags.width, flags.height, flags.views)
    photographs = tuple(load_pictures(flags.photographs)) if flags.photographs else ()
    place = flags.style if flags.style in PLACE_STYLES else ""
    look = Look(flags.style == "rich", flags.rig, photographs, place)
    with Progress(len(scans), "synthetic", unit="scene") as progress:
        if flags.layout == "train":
            done = (lambda _: progress.step(), look)
            write_training_layout(flags.outdir, scans, *size, flags.lights, flags.rig_seed, *done)
        else:
            write_test_layout(flags.outdir, scans, *size, flags.lights[0], lambda _: progress.step(), look)
    write_scan_list(flags.list or Path(flags.outdir) / "scans.txt", scans)


if __name__ == "__main__":
    run_program(main)

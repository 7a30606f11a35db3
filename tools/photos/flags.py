"""Command-line flags of finding poses, and the settings that they say. Light: no torch, no pycolmap."""

import argparse

from tools.photos.settings import MATCHINGS, MOST_FRAMES, PoseSettings
from tools.photos.sfm import EXHAUSTIVE_UP_TO
from tools.runtime.limits import LARGEST_SIDE, MOST_WORKERS, SMALLEST_SIDE
from tools.runtime.program import whole_number

_LARGEST_SEED = 2**31 - 1  # that pycolmap takes


def add_pose_flags(parser: argparse.ArgumentParser, defaults: PoseSettings) -> None:
    """How poses are found."""
    group = parser.add_argument_group("poses")
    side = whole_number(SMALLEST_SIDE, LARGEST_SIDE)
    help_of_side = "longest side of the photos used, pixels"
    group.add_argument("--max_side", type=side, default=defaults.max_side, help=help_of_side)
    group.add_argument(
        "--matching",
        choices=MATCHINGS,
        default=defaults.matching,
        help=f"auto: exhaustive, every pair, up to {EXHAUSTIVE_UP_TO} photos; of more alike: those that look "
        "alike and the neighbours in the order of names, which sequential takes alone",
    )
    frames = whole_number(2, MOST_FRAMES)
    group.add_argument("--most_frames", type=frames, default=defaults.most_frames, help="frames used of a video")
    group.add_argument("--strict", action="store_true", help="refuse photos that cannot be read, and leave none out")
    seed, threads = whole_number(0, _LARGEST_SEED), whole_number(1, MOST_WORKERS)
    group.add_argument("--seed", type=seed, default=defaults.seed, help="seed of random choices")
    group.add_argument("--threads", type=threads, default=defaults.threads, help="threads (default: one per core)")


def pose_settings(args: argparse.Namespace) -> PoseSettings:
    """What the flags say."""
    return PoseSettings(args.max_side, args.matching, args.seed, args.threads, args.strict, args.most_frames)

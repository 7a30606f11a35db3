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
    group.add_argument(
        "--adjust_poses",
        action="store_true",
        help="turn cameras that a capture app has measured until the photos fit together; their scale stays",
    )
    add_search_flags(group, defaults.seed, defaults.threads)


def add_search_flags(parser: argparse._ActionsContainer, seed: int, threads: int | None) -> None:
    """How pycolmap works."""
    seeds, numbers = whole_number(0, _LARGEST_SEED), whole_number(1, MOST_WORKERS)
    parser.add_argument("--seed", type=seeds, default=seed, help="seed of random choices")
    parser.add_argument("--threads", type=numbers, default=threads, help="threads (default: one per core)")


def pose_settings(args: argparse.Namespace) -> PoseSettings:
    """What the flags say."""
    return PoseSettings(
        args.max_side, args.matching, args.seed, args.threads, args.strict, args.most_frames, args.adjust_poses
    )

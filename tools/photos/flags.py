"""Command-line flags of finding poses, and the settings that they say. Light: no torch, no pycolmap."""

import argparse

from tools.photos.settings import MATCHINGS, PoseSettings
from tools.photos.sfm import EXHAUSTIVE_UP_TO
from tools.runtime.program import natural_int, positive_int


def add_pose_flags(parser: argparse.ArgumentParser, defaults: PoseSettings) -> None:
    """How poses are found."""
    group = parser.add_argument_group("poses")
    group.add_argument(
        "--max_side", type=positive_int, default=defaults.max_side, help="longest side of the photos used, pixels"
    )
    group.add_argument(
        "--matching",
        choices=MATCHINGS,
        default=defaults.matching,
        help=f"auto: every pair of up to {EXHAUSTIVE_UP_TO} photos, of more the neighbours in the order of names",
    )
    group.add_argument("--seed", type=natural_int, default=defaults.seed, help="seed of random choices")
    group.add_argument("--threads", type=positive_int, default=defaults.threads, help="threads (default: one per core)")


def pose_settings(args: argparse.Namespace) -> PoseSettings:
    """What the flags say."""
    return PoseSettings(args.max_side, args.matching, args.seed, args.threads)

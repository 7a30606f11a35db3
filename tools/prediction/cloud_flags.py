"""Command-line flags of what becomes of a cloud's points, and the options that they say. Light: no torch, no numba."""

import argparse
import dataclasses

from datasets.formats.laz import import_laspy
from fusion.options import FORMATS, THINNINGS, Cleaning, CloudOptions
from tools.runtime.program import finite_float, float_list, natural_int

_RULES = {
    "rim": "share of the longer side that depth may reach beyond an edge into what has none, as a roof's into the sky",
    "grazing": "least angle between the line of sight and the surface, degrees; points without a surface around go too",
    "through": "a point goes that more than this share of the views that agree on it look through",
    "views": "least number of views that agree, the point's own among them",
    "region": "a point goes that is so many times the median distance away from the nearest camera",
    "isolation": "a point goes whose distance to others is so many times that of the points around",
    "island": "share of the cloud that a group needs where nothing else is near",
}


def _formats(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def chosen_formats(args: argparse.Namespace) -> tuple[str, ...]:
    """The formats that the flags name; DataError where what one of them needs is missing, before hours of work."""
    if "laz" in args.formats:
        import_laspy()
    return args.formats


def add_cloud_flags(parser: argparse.ArgumentParser, defaults: CloudOptions) -> None:
    """What becomes of a cloud's points, and which files are written."""
    group = parser.add_argument_group("clouds (world units, those of the camera files)")
    group.add_argument(
        "--normals",
        action=argparse.BooleanOptionalAction,
        default=defaults.normals,
        help="write normals, estimated from the depth maps",
    )
    group.add_argument(
        "--agreement",
        action=argparse.BooleanOptionalAction,
        default=defaults.agreement,
        help="write how many views agree on each point, and its confidence",
    )
    group.add_argument(
        "--bbox",
        type=float_list,
        default=defaults.bbox,
        help="keep the points in x0,y0,z0,x1,y1,z1; write --bbox=-1,... before a minus",
    )
    add_thinning_flags(group, defaults)
    add_cleaning_flags(parser, defaults.cleaning)


def add_thinning_flags(group: argparse._ActionsContainer, defaults: CloudOptions) -> None:
    """How many points are written, and as which files."""
    group.add_argument(
        "--voxel", type=float, default=defaults.voxel, help="keep the mean point of every cube of this side"
    )
    group.add_argument(
        "--max_points",
        type=int,
        default=defaults.max_points,
        help="keep so many points at most; where they are cleaned or spread evenly, NAME_all.ply has all of them",
    )
    group.add_argument(
        "--thinning",
        choices=THINNINGS,
        default=defaults.thinning,
        help="for --max_points: draw points at random, or take mean points of even spacing",
    )
    group.add_argument(
        "--cloud_seed", type=natural_int, default=defaults.seed, help="seed of the draw for --max_points"
    )
    group.add_argument(
        "--formats",
        type=_formats,
        default=",".join(defaults.formats),
        help=f"files of the cloud, some of {','.join(FORMATS)}; laz needs requirements-laz.txt",
    )


def add_cleaning_flags(
    parser: argparse.ArgumentParser, defaults: Cleaning | None, rules: tuple[str, ...] = tuple(_RULES)
) -> None:
    """Which points go."""
    group = parser.add_argument_group("cleaning of clouds (0 switches a rule off)")
    group.add_argument(
        "--clean", action=argparse.BooleanOptionalAction, default=defaults is not None, help="remove doubtful points"
    )
    values = dataclasses.asdict(defaults or Cleaning())
    for name in rules:
        kind = natural_int if name == "views" else finite_float
        group.add_argument(f"--clean_{name}", type=kind, default=values[name], help=_RULES[name])


def cleaning_of(args: argparse.Namespace) -> Cleaning | None:
    """What the flags say of cleaning, rules without a flag being off; raises DataError for values that cannot be."""
    values = {field.name: getattr(args, f"clean_{field.name}", 0) for field in dataclasses.fields(Cleaning)}
    cleaning = Cleaning(**values)
    return cleaning if args.clean else None


def cloud_options(args: argparse.Namespace) -> CloudOptions:
    """What the flags say; raises DataError for values that cannot be."""
    return CloudOptions(
        normals=args.normals,
        bbox=args.bbox,
        voxel=args.voxel,
        max_points=args.max_points,
        seed=args.cloud_seed,
        agreement=args.agreement,
        thinning=args.thinning,
        cleaning=cleaning_of(args),
        formats=chosen_formats(args),
    )

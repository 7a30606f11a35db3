"""A mesh with colours or a texture of a scan's depth maps, to show, measure, print or load elsewhere.

    python tools/make_mesh.py --outdir OUT
    python tools/make_mesh.py --outdir OUT --texture --formats ply,glb,obj
    python tools/make_mesh.py --outdir OUT --close_holes --formats ply,stl

OUT is an --outdir of test.py, or OUT/depth of tools/reconstruct.py. The files lie beside the cloud: <cloud>_mesh.ply,
.glb, .obj (with .mtl and .jpg) or .stl. The mesh is made of the pixels that the cloud was made of (fusion.json beside
the depth maps says how). A rerun with nothing changed makes nothing anew. Needs Open3D (requirements-mesh.txt).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import _checkout  # noqa: F401

from datasets.results import find_scans
from fusion.mesh.settings import FORMATS, METHODS, MeshSettings
from tools.runtime.program import Formatter, finite_float, natural_int, positive_float, run_program


def parse(argv: Sequence[str] | None = None) -> tuple[argparse.Namespace, MeshSettings]:
    """The flags, and how they say to make a mesh; DataError for values that cannot work."""
    defaults = MeshSettings()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Formatter)
    add = parser.add_argument
    add("--outdir", type=Path, required=True, help="results of test.py")
    add("--testlist", default="all", help='file of scan names, or "all" that were predicted')
    add("--testpath", type=Path, help="pair files of the scans; clouds of --filter_method normal and dynamic need them")
    add(
        "--method", choices=METHODS, default=defaults.method, help="tsdf: from the depth maps; poisson: from the points"
    )
    add("--voxel", type=positive_float, help="edge of the voxels, world units (default: what a pixel covers)")
    add("--truncation", type=finite_float, default=defaults.truncation, help="reach of a depth's distances, in voxels")
    add("--faces", type=natural_int, default=defaults.faces, help="most faces that the mesh may have, 0: all")
    add("--no_fill", action="store_true", help="only the cloud's pixels; else a looser check's, too, where these lack")
    add("--islands", type=finite_float, default=defaults.islands, help="pieces of a smaller share of the faces go")
    add("--close_holes", action="store_true", help="a closed solid, to print: also what nobody saw is closed")
    add(
        "--rim",
        type=finite_float,
        default=defaults.rim,
        help="how far depth may reach beyond an edge into what has none, as a roof's into the sky: a share of the\n"
        "longer side",
    )
    add(
        "--keep_bridges",
        action="store_true",
        help="depth between a thing and what lies behind it stays, of which webs are made",
    )
    add(
        "--smooth",
        type=finite_float,
        default=defaults.smooth,
        help="so many pixels of disparity may be noise, which neighbours average; 0: nothing is smoothed",
    )
    add("--texture", action="store_true", help="photos on the faces, in GLB and OBJ, instead of colours at the corners")
    add("--texture_size", type=natural_int, default=defaults.texture_size, help="largest side of the texture, pixels")
    add("--memory", type=positive_float, default=defaults.memory, help="gigabytes for the voxels at a time")
    add("--formats", default=",".join(defaults.formats), help=f"files to write, of {','.join(FORMATS)}")
    args = parser.parse_args(argv)
    formats = tuple(dict.fromkeys(word.strip() for word in args.formats.split(",") if word.strip()))
    names = (
        "method",
        "voxel",
        "truncation",
        "faces",
        "rim",
        "smooth",
        "islands",
        "close_holes",
        "texture",
        "texture_size",
        "memory",
    )
    chosen = {name: getattr(args, name) for name in names}
    return args, MeshSettings(**chosen, fill=not args.no_fill, bridges=not args.keep_bridges, formats=formats)


def main() -> None:
    """Parse the flags, make every scan's mesh."""
    args, settings = parse()
    scans = find_scans(args.outdir, args.testlist)

    from tools.meshing.scan_mesh import mesh_scan  # loads torch, which --help and mistaken flags need not wait for
    from tools.meshing.steps import ShownSteps

    for scan in scans:
        with ShownSteps() as steps:
            made = mesh_scan(args.outdir, scan, args.testpath, settings, steps)
        closed = "closed, " if made.closed else ""
        print(f"{scan}: {made.faces} faces, {closed}voxels of {made.voxel:.4g}: {', '.join(made.files)}", flush=True)


if __name__ == "__main__":
    run_program(main)

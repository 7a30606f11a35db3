"""Meshes beside the clouds that were made of the same depth, on scenes whose surfaces are known exactly.

    python tools/make_synthetic.py --outdir SCENES --layout test --scenes 4 --first_seed 1000 --style rich --rig arc \\
        --views 10 --width 512 --height 384
    python test.py --testpath SCENES --testlist all --loadckpt ckpt/kdmvs.ckpt --outdir OUT --disp_threshold 0.25
    python tools/make_mesh.py --outdir OUT
    python tools/eval_mesh.py --testpath SCENES --outdir OUT

Accuracy is the mean distance from the points of the cloud, or from points spread over the mesh, to the surfaces that
some view sees; completeness the mean distance from these; both of distances below the threshold, --widths times what a
pixel covers at the median depth. Points are thinned to half of that first, as the Tanks and Temples benchmark does.
Precision and recall are the shares below it, F their harmonic mean.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import _checkout  # noqa: F401

from datasets.files import write_json
from datasets.layouts import LAYOUTS
from tools.runtime.flags import add_dataset_flag
from tools.runtime.program import Formatter, positive_float, run_program


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The flags; DataError for values that cannot work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Formatter)
    add_dataset_flag(parser, "general_eval")
    parser.add_argument("--testpath", required=True, help="folder of scans with exact depth")
    parser.add_argument("--testlist", default="all", help='file of scan names, or "all"')
    parser.add_argument("--outdir", type=Path, required=True, help="results of test.py and tools/make_mesh.py")
    parser.add_argument("--widths", type=positive_float, default=2.0, help="threshold, in widths of a pixel")
    parser.add_argument("--out", help="write the numbers to this JSON file")
    return parser.parse_args(argv)


def main() -> None:
    """Parse the flags, score, print."""
    args = parse()

    from tools.evaluation.mesh_scores import format_rows, mesh_scores

    layout = LAYOUTS[args.dataset](args.testpath)
    scores = {scan: mesh_scores(layout, args.outdir, scan, args.widths) for scan in layout.scans(args.testlist)}
    print(format_rows(scores))
    if args.out:
        write_json(args.out, scores)


if __name__ == "__main__":
    run_program(main)

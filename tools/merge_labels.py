"""Pseudo-labels of several teachers become one set, for train_kd.py.

    python tools/merge_labels.py --labels SWEEP_LABELS NETWORK_LABELS --outdir LABELS

The folders are those of tools/check_and_encode.py. A pixel that one teacher labels keeps that label. Where two label
it and differ by --agree of the depth or more, it has none; else the mean of both. --both keeps only what all have
labelled.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import _checkout  # noqa: F401

from datasets.files import DataError, check_scan_name, list_folder, read_scan_list
from datasets.results import LABEL_RECORD
from tools.runtime.program import Formatter, positive_float, run_program


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The flags; DataError for values that cannot work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Formatter)
    parser.add_argument("--labels", nargs="+", type=Path, required=True, help="folders of labels, two or more")
    parser.add_argument("--testlist", default="all", help='file of scan names, or "all" of the first folder')
    parser.add_argument("--outdir", type=Path, required=True, help="folder for the labels")
    parser.add_argument("--agree", type=positive_float, default=0.01, help="labels agree below this share of the depth")
    parser.add_argument("--both", action="store_true", help="keep only pixels that all folders label")
    args = parser.parse_args(argv)
    if len(args.labels) < 2:
        raise DataError("--labels: names one folder; give two or more")
    if args.outdir.resolve() in {folder.resolve() for folder in args.labels}:
        raise DataError(f"--outdir {args.outdir}: is one of --labels; name another folder")
    return args


def main() -> None:
    """Parse the flags and merge."""
    args = parse()

    from fusion.merged_labels import labelled_views, merge_scan

    if args.testlist != "all":
        scans = read_scan_list(args.testlist)
    else:
        scans = [check_scan_name(name, args.labels[0]) for name in list_folder(args.labels[0])]
        scans = [scan for scan in scans if labelled_views(args.labels[0] / scan)]
    shares = []
    for scan in scans:
        folders = [folder / scan for folder in args.labels]
        for folder in folders:
            if not (folder / LABEL_RECORD).exists():
                raise DataError(f"{folder}: holds no labels; make them with tools/check_and_encode.py")
        shares += merge_scan(folders, args.outdir / scan, args.agree, args.both).values()
    if not shares:
        raise DataError(f"{args.labels[0]}: holds no labels; make them with tools/check_and_encode.py")
    print(f"{args.outdir}: labels of {len(shares)} views, {sum(shares) / len(shares):.1%} of the pixels")


if __name__ == "__main__":
    run_program(main)

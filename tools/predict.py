"""Depth and confidence for every view of every scan; the first step of pseudo-labels, and of testing.

    python tools/predict.py --testpath DTU --testlist LIST --loadckpt model_000000.ckpt --outdir OUT

Works with a teacher's or a student's checkpoint. Per scan under --outdir: depth_est/, confidence/ (PFM and previews),
cams/, images/. A rerun skips the views that are finished: those made from the same weights, settings, cameras and
images. Under torchrun each process takes its share.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import _checkout  # noqa: F401

from tools.prediction.flags import (
    add_prediction_flags,
    add_scan_flags,
    check_scan_flags,
    open_scans,
    prediction_settings,
)
from tools.prediction.settings import FOR_LABELS, PredictionSettings
from tools.runtime.flags import add_dataset_flag
from tools.runtime.program import Formatter, run_program
from tools.runtime.retired import PREDICTION_FLAGS, add_retired_flags, note_replaced


def parse(argv: Sequence[str] | None = None) -> tuple[argparse.Namespace, PredictionSettings]:
    """The flags, and how they say to predict; DataError for values that cannot work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Formatter)
    add_dataset_flag(parser, "dtu_yao")
    add_scan_flags(parser, "folder of the data")
    parser.add_argument("--loadckpt", required=True, help="checkpoint of a teacher or a student")
    parser.add_argument("--outdir", type=Path, default="outputs", help="folder for the results")
    parser.add_argument(
        "--light_idx", type=int, default=FOR_LABELS.light, help="light whose images are used (DTU training layout)"
    )
    add_prediction_flags(parser, FOR_LABELS)
    add_retired_flags(parser, PREDICTION_FLAGS)
    args = parser.parse_args(argv)
    check_scan_flags(args)
    settings = prediction_settings(args, FOR_LABELS, args.light_idx)
    note_replaced(args, PREDICTION_FLAGS)
    return args, settings


def main() -> None:
    """Parse the flags and predict."""
    args, settings = parse()

    from datasets.mvs import MVSDataset
    from tools.prediction.predictor import predict, sample_settings
    from tools.runtime import distributed

    device = distributed.start(args.device)
    dataset = MVSDataset(*open_scans(args), sample_settings(settings))
    predict(args.loadckpt, dataset, args.outdir, settings, device)
    distributed.finish()


if __name__ == "__main__":
    run_program(main)

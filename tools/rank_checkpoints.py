"""Checkpoints side by side: their scores without ground truth (--select), and how well these rank the true errors.

    python tools/rank_checkpoints.py --logdir LOG --testpath SCENES --testlist all --out ranking.json
    python tools/rank_checkpoints.py --checkpoints start=A.ckpt adapted=B.ckpt --testpath SCENES --keep_best BEST.ckpt

The scans are predicted with every model_*.ckpt of the log folders, or with the named checkpoints. Printed are the score
and its parts, and which checkpoint has the highest. Where depth is known, so are the errors (unit of the camera files,
mm on DTU; over the pixels of known depth), and, of all checkpoints in log folders, Spearman's rank correlation of each
part with each error: -1 is a perfect ranking by the score.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import _checkout  # noqa: F401

from datasets.files import DataError, read_bytes, write_bytes, write_json
from tools.evaluation.predictions import named_file
from tools.prediction.flags import add_prediction_flags, prediction_settings
from tools.prediction.settings import FOR_LABELS, PredictionSettings
from tools.runtime.flags import add_dataset_flag
from tools.runtime.program import Formatter, Progress, keep_freed_memory, positive_float, positive_int, run_program


def parse(argv: Sequence[str] | None = None) -> tuple[argparse.Namespace, PredictionSettings]:
    """The flags, and how they say to predict; DataError for values that cannot work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Formatter)
    add_dataset_flag(parser, "general_eval")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--logdir", nargs="+", help="folders with checkpoints, all compared together")
    which.add_argument("--checkpoints", nargs="+", type=named_file, help="label=file ...")
    parser.add_argument("--testpath", required=True, help="folder of the scans")
    parser.add_argument("--select_thres_view", type=positive_int, default=3, help="sources that must confirm a pixel")
    parser.add_argument("--threshold", type=positive_float, default=2.0, help="error above which a pixel is off")
    parser.add_argument("--out", help="write the numbers to this JSON file")
    parser.add_argument("--keep_best", type=Path, help="copy the checkpoint of the highest score to this file")
    add_prediction_flags(parser, FOR_LABELS)
    args = parser.parse_args(argv)
    return args, prediction_settings(args, FOR_LABELS, light=None)


def main() -> None:
    """Parse the flags, predict with every checkpoint, print the tables, keep the best."""
    args, settings = parse()

    from tools.evaluation.checkpoints import (
        SCORES,
        best_by_score,
        checkpoints,
        correlations,
        describe_best,
        format_rows,
        score_checkpoint,
    )
    from tools.prediction.predictor import sample_settings
    from tools.runtime import distributed
    from tools.training.selection import open_selection

    device = distributed.start(args.device)
    named = dict(args.checkpoints) if args.checkpoints else {str(path): path for path in checkpoints(args.logdir)}
    if args.checkpoints and len(named) < len(args.checkpoints):
        raise DataError("--checkpoints: two have one label; tell them apart as label=file")
    samples = sample_settings(settings)
    selection = open_selection(
        args.dataset, args.testpath, args.testlist, samples, args.select_thres_view, args.amp, device
    )
    keep_freed_memory()
    rows, progress = {}, Progress(len(named), "checkpoints", unit="checkpoint")
    for name, path in named.items():
        rows[name] = score_checkpoint(selection, path, settings, args.threshold)
        progress.step(f"{name}: score {rows[name]['score']:.4f}")
    progress.close()
    print(format_rows(rows))
    numbers = {"checkpoints": rows, "best": best_by_score(rows)}
    errors = [name for name in next(iter(rows.values())) if name not in (*SCORES, "flat")]
    if args.logdir and errors:
        numbers["rank_correlation"] = correlations(list(rows.values()), errors)
        print(f"\nrank correlation over {len(rows)} checkpoints\n{format_rows(numbers['rank_correlation'])}")
    if not errors:
        print("no depth is known in these scans, so the scores are not compared with errors")
    print(describe_best(rows if args.checkpoints else {numbers["best"]: rows[numbers["best"]]}))
    if args.keep_best:
        write_bytes(args.keep_best, read_bytes(named[numbers["best"]]))
    if args.out:
        write_json(args.out, numbers)


if __name__ == "__main__":
    run_program(main)

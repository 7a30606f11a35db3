"""How well the score without ground truth (--select) ranks a training's checkpoints by their true errors.

    python tools/rank_checkpoints.py --logdir LOG --testpath SCENES --testlist all --out ranking.json

The scans, which need ground truth, are predicted with every model_*.ckpt of the log folders. Printed are the score and
its parts, the errors (unit of the camera files, mm on DTU; over the pixels of known depth), and Spearman's rank
correlation of each part with each error, of all checkpoints: -1 is a perfect ranking by the score.
"""

import argparse
from collections.abc import Sequence

import _checkout  # noqa: F401

from datasets.files import write_json
from tools.prediction.flags import add_prediction_flags, prediction_settings
from tools.prediction.settings import FOR_LABELS, PredictionSettings
from tools.runtime.flags import add_dataset_flag
from tools.runtime.program import Formatter, Progress, keep_freed_memory, positive_float, positive_int, run_program


def parse(argv: Sequence[str] | None = None) -> tuple[argparse.Namespace, PredictionSettings]:
    """The flags, and how they say to predict; DataError for values that cannot work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Formatter)
    add_dataset_flag(parser, "general_eval")
    parser.add_argument("--logdir", nargs="+", required=True, help="folders with checkpoints, all compared together")
    parser.add_argument("--testpath", required=True, help="folder of the scans, with ground truth")
    parser.add_argument("--select_thres_view", type=positive_int, default=3, help="sources that must confirm a pixel")
    parser.add_argument("--threshold", type=positive_float, default=2.0, help="error above which a pixel is off")
    parser.add_argument("--out", help="write the numbers to this JSON file")
    add_prediction_flags(parser, FOR_LABELS)
    args = parser.parse_args(argv)
    return args, prediction_settings(args, FOR_LABELS, light=None)


def main() -> None:
    """Parse the flags, predict with every checkpoint, print both tables."""
    args, settings = parse()

    from tools.evaluation.checkpoints import SCORES, checkpoints, correlations, format_rows, score_checkpoint
    from tools.prediction.predictor import sample_settings
    from tools.runtime import distributed
    from tools.training.selection import open_selection

    device = distributed.start(args.device)
    paths = checkpoints(args.logdir)
    samples = sample_settings(settings)
    selection = open_selection(
        args.dataset, args.testpath, args.testlist, samples, args.select_thres_view, args.amp, device
    )
    keep_freed_memory()
    rows, progress = {}, Progress(len(paths), "checkpoints", unit="checkpoint")
    for path in paths:
        rows[str(path)] = score_checkpoint(selection, path, settings, args.threshold)
        progress.step(f"{path}: score {rows[str(path)]['score']:.4f}")
    progress.close()
    errors = [name for name in rows[str(paths[0])] if name not in (*SCORES, "flat")]
    ranks = correlations(list(rows.values()), errors)
    print(format_rows(rows))
    print(f"\nrank correlation over {len(rows)} checkpoints\n{format_rows(ranks)}")
    if args.out:
        write_json(args.out, {"checkpoints": rows, "rank_correlation": ranks})


if __name__ == "__main__":
    run_program(main)

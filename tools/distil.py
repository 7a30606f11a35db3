"""Students from a teacher, round by round: predict, check and encode, train; then the student is the teacher.

    python tools/distil.py --teacher TEACHER.ckpt --trainpath DTU --trainlist LIST --logdir KD --rounds 2

It does what tools/predict.py, tools/check_and_encode.py and train_kd.py do one after the other, and takes the flags of
the last one. Students lie in KD/round_1/student, KD/round_2/student, ...; a rerun goes on where the last one was. On
several GPUs each step is a run of its own, as scripts/run_train_kd.sh starts them:

    torchrun --nproc_per_node 8 tools/distil.py ... --round 1 --step predict        (then label, then train)
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import _checkout  # noqa: F401

from datasets.files import DataError
from tools.prediction.flags import add_label_flags, label_settings_by_round
from tools.prediction.settings import CONFIDENCES, FOR_LABELS, LabelSettings
from tools.runtime.program import natural_int, positive_int, run_program
from tools.training.flags import note_retired_flags, read_data, read_settings, training_parser
from tools.training.round_settings import STARTS, STEPS, DistillationSettings, prediction_for
from tools.training.settings import STUDENT_LOSSES, StudentSettings, TrainingData


def build_parser() -> argparse.ArgumentParser:
    """The flags of train_kd.py, and those of the rounds."""
    parser = training_parser(__doc__, StudentSettings)
    parser.add_argument("--loss", choices=STUDENT_LOSSES, default=StudentSettings.loss, help="variant of the loss")
    add = parser.add_argument_group("rounds").add_argument
    add("--teacher", type=Path, required=True, help="checkpoint of the first teacher")
    add("--rounds", type=positive_int, default=2, help="how many students, each the next one's teacher")
    add("--round", type=positive_int, help="with --step: only this round")
    add("--step", choices=STEPS, help="with --round: only this step")
    add("--label_dir", type=Path, help="folder for predictions and labels (default: --logdir)")
    add("--student_start", choices=STARTS, default=DistillationSettings.start, help="a student's first weights")
    add = parser.add_argument_group("labels").add_argument
    add("--light_idx", type=natural_int, default=FOR_LABELS.light, help="light that depth is predicted in")
    add("--confidence", choices=CONFIDENCES, default=FOR_LABELS.confidence, help="of all stages, or of the last one")
    add_label_flags(parser, LabelSettings(), by_round=True)
    return parser


def parse(argv: Sequence[str] | None = None) -> tuple[argparse.Namespace, TrainingData, DistillationSettings]:
    """The flags, the data and how they say to distil; DataError for values that cannot work."""
    args = build_parser().parse_args(argv)
    if args.mode != "train":
        raise DataError(f"--mode {args.mode}: rounds are trained; use train_kd.py")
    if (args.round is None) != (args.step is None):
        raise DataError("--round and --step must be given together")
    if args.step is None and int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise DataError("under torchrun each step is a run of its own: give --round and --step")
    student, data = read_settings(args, StudentSettings), read_data(args)
    prediction = prediction_for(student.inputs, student.machine, args.light_idx, args.confidence)
    return args, data, DistillationSettings(prediction, label_settings_by_round(args), student, args.student_start)


def main() -> None:
    """Parse the flags and distil."""
    args, data, settings = parse()
    if args.step in (None, "train"):
        note_retired_flags(args)
    from tools.training.rounds import Distillation  # loads torch, which --help and mistaken flags need not wait for

    logdir = settings.student.saving.logdir
    rounds = Distillation(args.teacher, data, args.rounds, logdir, args.label_dir or logdir, settings)
    if args.step:
        rounds.step(args.round, args.step)
    else:
        rounds.run()


if __name__ == "__main__":
    run_program(main)

"""Train a teacher without ground truth (photometric and featuremetric loss).

One GPU or the CPU:   python train_unsup.py --trainpath DTU --trainlist LIST --logdir LOG
Several GPUs:         torchrun --nproc_per_node 8 train_unsup.py ...
Own scenes:           python train_unsup.py --dataset general_eval --trainpath SCENES --trainlist all --logdir LOG
"""

from collections.abc import Sequence

from tools.runtime.program import run_program
from tools.training.flags import note_retired_flags, read_data, read_settings, training_parser
from tools.training.settings import TEACHER_LOSSES, TeacherSettings, TrainingData


def parse(argv: Sequence[str] | None = None) -> tuple[TeacherSettings, TrainingData, str]:
    """The training, its data and --mode, as the command line says; DataError for values that cannot work."""
    parser = training_parser(__doc__, TeacherSettings)
    parser.add_argument("--loss", choices=TEACHER_LOSSES, default=TeacherSettings.loss, help="variant of the loss")
    parser.add_argument(
        "--smooth_weight", type=float, help="weight of the smoothness term; without it, the loss variant's default"
    )
    args = parser.parse_args(argv)
    settings, data = read_settings(args, TeacherSettings), read_data(args)
    note_retired_flags(args)
    return settings, data, args.mode


def main() -> None:
    """Parse the flags and train."""
    settings, data, mode = parse()

    from tools.training.run import train_teacher  # loads torch, which --help and mistaken flags need not wait for

    train_teacher(settings, data, mode)


if __name__ == "__main__":
    run_program(main)

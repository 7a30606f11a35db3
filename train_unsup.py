"""Train a teacher without ground truth (photometric and featuremetric loss).

One GPU or the CPU:   python train_unsup.py --trainpath DTU --trainlist LIST --logdir LOG
Several GPUs:         torchrun --nproc_per_node 8 train_unsup.py ...
Own scenes:           python train_unsup.py --dataset general_eval --trainpath SCENES --trainlist all --logdir LOG
"""

from tools.runtime.program import run_program
from tools.training.flags import note_retired_flags, read_data, read_settings, training_parser
from tools.training.settings import TEACHER_LOSSES, TeacherSettings


def main() -> None:
    """Parse the flags and train."""
    parser = training_parser(__doc__, TeacherSettings)
    parser.add_argument("--loss", choices=TEACHER_LOSSES, default=TeacherSettings.loss, help="variant of the loss")
    parser.add_argument(
        "--smooth_weight", type=float, help="weight of the smoothness term; without it, the loss variant's default"
    )
    args = parser.parse_args()
    settings, data = read_settings(args, TeacherSettings), read_data(args)
    note_retired_flags(args)
    from tools.training.run import train_teacher  # loads torch, which --help and mistaken flags need not wait for

    train_teacher(settings, data, args.mode)


if __name__ == "__main__":
    run_program(main)

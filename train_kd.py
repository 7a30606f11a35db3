"""Distil a student from pseudo-labels (made by tools/predict.py and tools/check_and_encode.py).

One GPU or the CPU:   python train_kd.py --trainpath DTU --trainlist LIST --pseudopath LABELS --logdir LOG
Several GPUs:         torchrun --nproc_per_node 8 train_kd.py ...
"""

from tools.runtime.program import run_program
from tools.training.flags import note_retired_flags, read_data, read_settings, training_parser
from tools.training.settings import STUDENT_LOSSES, StudentSettings


def main() -> None:
    """Parse the flags and train."""
    parser = training_parser(__doc__, StudentSettings)
    parser.add_argument("--pseudopath", required=True, help="folder of the pseudo-labels")
    parser.add_argument("--loss", choices=STUDENT_LOSSES, default=StudentSettings.loss, help="variant of the loss")
    args = parser.parse_args()
    settings, data = read_settings(args, StudentSettings), read_data(args)
    note_retired_flags(args)
    from tools.training.run import train_student  # loads torch, which --help and mistaken flags need not wait for

    train_student(settings, data, args.mode)


if __name__ == "__main__":
    run_program(main)

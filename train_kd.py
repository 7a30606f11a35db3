"""Distil a student from pseudo-labels (made by tools/predict.py and tools/check_and_encode.py).

One GPU or the CPU:   python train_kd.py --trainpath DTU --trainlist LIST --pseudopath LABELS --logdir LOG
Several GPUs:         torchrun --nproc_per_node 8 train_kd.py ...
"""

from collections.abc import Sequence

from tools.runtime.program import run_program
from tools.training.flags import note_retired_flags, read_data, read_settings, training_parser
from tools.training.settings import STUDENT_LOSSES, StudentSettings, TrainingData


def parse(argv: Sequence[str] | None = None) -> tuple[StudentSettings, TrainingData, str]:
    """The training, its data and --mode, as the command line says; DataError for values that cannot work."""
    parser = training_parser(__doc__, StudentSettings)
    parser.add_argument("--pseudopath", required=True, help="folder of the pseudo-labels")
    parser.add_argument("--loss", choices=STUDENT_LOSSES, default=StudentSettings.loss, help="variant of the loss")
    args = parser.parse_args(argv)
    settings, data = read_settings(args, StudentSettings), read_data(args)
    note_retired_flags(args)
    return settings, data, args.mode


def main() -> None:
    """Parse the flags and train."""
    settings, data, mode = parse()

    from tools.training.run import train_student  # loads torch, which --help and mistaken flags need not wait for

    train_student(settings, data, mode)


if __name__ == "__main__":
    run_program(main)

"""Distil a student from pseudo-labels (made by tools/predict.py and tools/check_and_encode.py).

One GPU or the CPU:   python train_kd.py --trainpath DTU --trainlist LIST --pseudopath LABELS --logdir LOG
Several GPUs:         torchrun --nproc_per_node 8 train_kd.py ...
"""

from pathlib import Path

from datasets.files import DataError
from models.losses import DistillationLoss
from tools import distributed
from tools.engine import build_network, open_training_sets, run_training, start_training, training_parser
from tools.program import run_program


def main() -> None:
    """Parse the flags and train."""
    parser = training_parser(__doc__, epochs=16, lrepochs="4,6,8:2")
    parser.add_argument("--pseudopath", required=True, help="folder of the pseudo-labels")
    parser.add_argument("--loss", choices=("official", "paper"), default="official", help="variant of the loss")
    args = parser.parse_args()
    if not Path(args.pseudopath).is_dir():
        raise DataError(f"--pseudopath {args.pseudopath}: no such folder; make labels with tools/check_and_encode.py")
    device = start_training(args)
    train_set, test_set = open_training_sets(args, labels=Path(args.pseudopath))
    loss = DistillationLoss(args.loss)

    def compute_losses(outputs, batch):
        return loss(outputs, batch["mu"], batch["sigma"], batch["label_mask"], args.dlossw)

    run_training(args, build_network("student", args), compute_losses, train_set, test_set, device)
    distributed.finish()


if __name__ == "__main__":
    run_program(main)

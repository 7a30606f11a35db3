"""Train a teacher without ground truth (photometric and featuremetric loss).

One GPU or the CPU:   python train_unsup.py --trainpath DTU --trainlist LIST --logdir LOG
Several GPUs:         torchrun --nproc_per_node 8 train_unsup.py ...
Own scenes:           python train_unsup.py --dataset general_eval --trainpath SCENES --trainlist all --logdir LOG
"""

from models.losses import UnsupervisedLoss
from tools.runtime import distributed
from tools.runtime.program import run_program
from tools.training.setup import build_network, open_training_sets, start_training, training_parser
from tools.training.trainer import run_training


def main() -> None:
    """Parse the flags and train."""
    parser = training_parser(__doc__, epochs=1, lrepochs="6,8,12:2")
    parser.add_argument(
        "--loss", choices=tuple(UnsupervisedLoss.SMOOTH_WEIGHTS), default="official", help="variant of the loss"
    )
    parser.add_argument(
        "--smooth_weight", type=float, help="weight of the smoothness term; without it, the loss variant's default"
    )
    args = parser.parse_args()
    device = start_training(args)
    train_set, test_set = open_training_sets(args)
    loss = UnsupervisedLoss(args.loss, args.smooth_weight)

    def compute_losses(outputs, batch):
        return loss(outputs, batch["imgs"], batch["proj_matrices"], args.dlossw)

    run_training(args, build_network("teacher", args), compute_losses, train_set, test_set, device)
    distributed.finish()


if __name__ == "__main__":
    run_program(main)

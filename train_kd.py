"""Distil a student from pseudo-labels (made by tools/predict.py and tools/check_and_encode.py).

One GPU or the CPU:   python train_kd.py --trainpath DTU --trainlist LIST --pseudopath LABELS --logdir LOG
Several GPUs:         torchrun --nproc_per_node 8 train_kd.py ...
"""

import hashlib
from pathlib import Path

from datasets.files import DataError
from datasets.mvs import MVSDataset
from fusion.labels import RECORD
from models.losses import DistillationLoss
from tools.runtime import distributed
from tools.runtime.program import run_program
from tools.training.setup import build_network, open_training_sets, start_training, training_parser
from tools.training.trainer import run_training


def labels_version(labels: Path, dataset: MVSDataset) -> str:
    """What made the labels, as a digest of the records that tools/check_and_encode.py left beside them."""
    digest = hashlib.sha256()
    for scan in dict.fromkeys(entry.scan for entry in dataset.entries):
        record = labels / scan / RECORD
        digest.update(record.read_bytes() if record.exists() else b"")
    return digest.hexdigest()


def main() -> None:
    """Parse the flags and train."""
    parser = training_parser(__doc__, epochs=16, lrepochs="4,6,8:2")
    parser.add_argument("--pseudopath", required=True, help="folder of the pseudo-labels")
    parser.add_argument("--loss", choices=DistillationLoss.VARIANTS, default="official", help="variant of the loss")
    args = parser.parse_args()
    if not Path(args.pseudopath).is_dir():
        raise DataError(f"--pseudopath {args.pseudopath}: no such folder; make labels with tools/check_and_encode.py")
    device = start_training(args)
    train_set, test_set = open_training_sets(args, labels=Path(args.pseudopath))
    loss = DistillationLoss(args.loss)

    def compute_losses(outputs, batch):
        return loss(outputs, batch["mu"], batch["sigma"], batch["label_mask"], args.dlossw)

    version = labels_version(Path(args.pseudopath), train_set)
    run_training(args, build_network("student", args), compute_losses, train_set, test_set, device, version)
    distributed.finish()


if __name__ == "__main__":
    run_program(main)

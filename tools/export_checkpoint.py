"""A checkpoint without what only training needs: the optimizer and random states.

    python tools/export_checkpoint.py --loadckpt LOG/model_000003.ckpt --out student.ckpt

The file holds "epoch" and "model" in the official format, and "network", what the network is: about a third of the
size. It predicts the same and can start another training (--loadckpt), but not be resumed from. With --spacing it tells
another spacing of depth hypotheses than the one it was trained with, to all who load it. With --average it holds the
mean of several checkpoints' weights, which lie along one training: less of what a network learned last by chance.
"""

import argparse
import io
from collections.abc import Sequence

import _checkout  # noqa: F401

from datasets.files import write_bytes
from models.settings import SPACINGS
from tools.runtime.program import Formatter, run_program


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The flags; DataError for values that cannot work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Formatter)
    parser.add_argument("--loadckpt", required=True, help="checkpoint of a teacher or a student")
    parser.add_argument("--average", nargs="+", default=[], metavar="CKPT", help="checkpoints of the same network")
    parser.add_argument("--out", required=True, help="file to write")
    parser.add_argument("--spacing", choices=SPACINGS, help="the spacing that the file tells (default: as it was told)")
    return parser.parse_args(argv)


def main() -> None:
    """Parse the flags, read, check, write."""
    args = parse()

    import torch

    from models.checkpoint import averaged_weights, load_model, read_checkpoint

    settings = load_model(args.loadckpt, spacing=args.spacing).settings  # raises for a file that cannot predict
    content = read_checkpoint(args.loadckpt)
    kept = {name: content[name] for name in ("epoch", "model") if name in content} | {"network": settings.stored()}
    if args.average:
        kept["model"] = averaged_weights([args.loadckpt, *args.average])
    buffer = io.BytesIO()
    torch.save(kept, buffer)
    write_bytes(args.out, buffer.getvalue())
    print(f"{args.out}: {buffer.tell() / 1e6:.1f} MB")


if __name__ == "__main__":
    run_program(main)

"""A checkpoint without what only training needs: the optimizer and random states.

    python tools/export_checkpoint.py --loadckpt LOG/model_000003.ckpt --out student.ckpt

The file holds "epoch", "model" and, for a student, "read_out" in the official format, about a third of the size. It
predicts the same and can start another training (--loadckpt), but not be resumed from.
"""

import argparse
import io
from collections.abc import Sequence

import _checkout  # noqa: F401

from datasets.files import write_bytes
from tools.runtime.program import Formatter, run_program


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The flags; DataError for values that cannot work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Formatter)
    parser.add_argument("--loadckpt", required=True, help="checkpoint of a teacher or a student")
    parser.add_argument("--out", required=True, help="file to write")
    return parser.parse_args(argv)


def main() -> None:
    """Parse the flags, read, check, write."""
    args = parse()

    import torch

    from models.checkpoint import load_model, read_checkpoint

    load_model(args.loadckpt)  # raises for a file that cannot predict
    content = read_checkpoint(args.loadckpt)
    kept = {name: content[name] for name in ("epoch", "model", "network", "read_out") if name in content}
    buffer = io.BytesIO()
    torch.save(kept, buffer)
    write_bytes(args.out, buffer.getvalue())
    print(f"{args.out}: {buffer.tell() / 1e6:.1f} MB")


if __name__ == "__main__":
    run_program(main)

"""Draw the house from the imports: rooms, the arrows between them, and the inside of three packages.

python tools/draw_architecture.py                prints the drawing (Markdown with Mermaid pictures)
python tools/draw_architecture.py --write        puts it into docs/architecture.md
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import _checkout  # noqa: F401

from datasets.files import read_text, write_bytes
from tools.reports.architecture import drawing, with_drawing
from tools.runtime.program import Formatter, run_program

ROOT = Path(__file__).resolve().parents[1]


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The flags; DataError for values that cannot work."""
    parser = argparse.ArgumentParser(
        prog="python tools/draw_architecture.py", description=__doc__, formatter_class=Formatter
    )
    parser.add_argument("--write", action="store_true", help="replace the drawing in docs/architecture.md")
    return parser.parse_args(argv)


def main() -> None:
    """Parse the flags and draw."""
    args = parse()
    drawn = drawing(ROOT)
    if args.write:
        document = ROOT / "docs" / "architecture.md"
        write_bytes(document, with_drawing(read_text(document), drawn).encode())
        print(f"drawn in {document}")
    else:
        print(drawn)


if __name__ == "__main__":
    run_program(main)

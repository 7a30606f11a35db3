"""Which photos are not in a scan, and why."""

from collections.abc import Mapping
from pathlib import Path

from datasets.files import DataError, read_json, write_json

LEFT_OUT = "left_out.json"


def write_left_out(folder: Path, reasons: Mapping[str, str]) -> None:
    """Keep why photos were left out, by their names; the file is there even when none was."""
    write_json(folder / LEFT_OUT, dict(reasons))


def read_left_out(folder: Path) -> dict[str, str]:
    """What `write_left_out` kept; nothing where there is no such file. Raises DataError for a damaged one."""
    path = folder / LEFT_OUT
    if not path.exists():
        return {}
    content = read_json(path)
    if not isinstance(content, dict):
        raise DataError(f"{path}: holds no names and reasons; remove it")
    return {str(name): str(why) for name, why in content.items()}

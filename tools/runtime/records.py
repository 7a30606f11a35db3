"""Results that a rerun can skip, and what they were made from."""

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from datasets.files import DataError, read_json, write_json


def has_results(folder: Path, record: str, settings: dict[str, Any]) -> bool:
    """Whether `folder/record` (JSON) says that the results there were made with these settings."""
    with contextlib.suppress(DataError):
        return read_json(folder / record) == settings
    return False


def begin_results(folder: Path, record: str, settings: dict[str, Any], results: Iterable[str]) -> None:
    """Let a rerun skip what is finished, and only that.

    `folder/record` (JSON) holds the settings that made the files in the subfolders `results`. Where it records others,
    those files are stale: they are removed, so that no result of two different settings stays side by side.
    """
    if has_results(folder, record, settings):
        return
    for name in results:
        for stale in (folder / name).glob("*"):
            stale.unlink()
    write_json(folder / record, settings)

"""Which predictions a program compares, and what they are called. Light: no torch, no numba."""

import argparse
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from datasets.files import DataError


class NamedFolder(NamedTuple):
    """A folder of results; its label is empty where the folder's own name shall serve."""

    label: str
    path: Path


def named_folder(text: str) -> NamedFolder:
    """The flag `label=folder`, or a folder."""
    label, _, folder = ("", "", text) if os.path.isdir(text) or "=" not in text else text.partition("=")
    if not os.path.isdir(folder):  # Path's own raises for a name that is too long
        raise argparse.ArgumentTypeError(f"{folder}: no such folder")
    return NamedFolder(label, Path(folder))


def named_file(text: str) -> tuple[str, Path]:
    """The flag `label=file`, or a file, whose name is its label then."""
    label, _, file = ("", "", text) if Path(text).is_file() else text.partition("=")
    if not Path(file).is_file():
        raise argparse.ArgumentTypeError(f"{file or text}: no such file")
    return label or Path(file).name, Path(file)


def labelled(predictions: Sequence[NamedFolder]) -> dict[str, Path]:
    """The folders by their labels; those without one get the shortest end of their path that no other folder has.

    Raises DataError where two have one label.
    """
    ends = {id(given): given.path.resolve().parts[1:] or ("/",) for given in predictions if not given.label}
    longest = max(map(len, ends.values()), default=0)
    used = Counter(given.label for given in predictions if given.label)
    rows: dict[str, Path] = {}
    for given in predictions:
        label = given.label or _shortest(ends[id(given)], list(ends.values()), used, longest)
        if label in rows:
            raise DataError(f"--predictions: two are called {label}; tell them apart as label=folder")
        rows[label] = given.path
    return rows


def _shortest(parts: tuple[str, ...], all_parts: list[tuple[str, ...]], used: Counter, longest: int) -> str:
    """As many of the last parts of a path as tell it from the others and from the labels in use."""
    for count in range(1, longest + 1):
        label = "/".join(parts[-count:])
        if sum(other[-count:] == parts[-count:] for other in all_parts) == 1 and label not in used:
            return label
    return "/".join(parts)

"""The command lines that are fuzzed: every program's flags, with values of any kind.

A program's flags are read off its own parser, so a new flag or program is fuzzed without a word here.
"""

import argparse
import itertools
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from helpers import ROOT
from hypothesis import strategies as st

PROGRAMS = (
    "train_unsup.py",
    "train_kd.py",
    "test.py",
    *(f"tools/{path.name}" for path in sorted((ROOT / "tools").glob("[a-z]*.py"))),
)

# What people mistype, and what numbers cannot hold: below, at and beyond limits, not finite, empty, of another script.
_NUMBERS = ("0", "-0", "1", "-1", "2", "8", "16", "31", "32", "192", "70000", "65536", "4294967295", "4294967296")
_NUMBERS += ("1000000000", "9" * 30, "9" * 5000, "-1000000000000", "0.5", "1.06", "-2.5", "1e9", "1e30", "1e300")
_NUMBERS += ("1e-30", "1e-300", "1e400", "nan", "inf", "-inf", "NaN", "0x10", "1_000", " 7 ", "٣", "1,5", "1e")
_LISTS = ("48,32,8", "8,8,8", "4,1,0.5", "nan,1,1", "1,inf,1", "8,8", ",", "0,0,0,1,1,1", "-1,-1,-1,1,1,1", "1,0.5,2")
_LISTS += ("8,8,1000000000", "1,2,3,4,5,6,7", "6,8,12:2", "4:0", "4:nan", "nan:2", ":", "1:1e-300", "640x512", "0x0")
_LISTS += ("99999x99999", "32x", "2,4,8", "-1,9", "3,6", "1e300,1,1")
_WORDS = ("", " ", "-", "--", "=", "all", "auto", "cpu", "cuda:0", "cuda:99999999999", "True", "False", "none", "../..")
_WORDS += ("a\0b", "\udc80", "\n", "%s", "%(default)s", "@file", "été", "\u202e", "x" * 5000, "/dev/null")
_VALUES = (*_NUMBERS, *_LISTS, *_WORDS)

_MOST_WILD = 4  # flags of a line with values of any kind


class _ParserFoundError(Exception):
    """Carries a program's parser out of its `parse`."""


def flags_of(module: ModuleType) -> list[argparse.Action]:
    """The flags that a program's parser knows, without --help."""

    def stop(parser: argparse.ArgumentParser, *_: object) -> None:
        raise _ParserFoundError(parser)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", stop)
        with pytest.raises(_ParserFoundError) as found:
            module.parse([])
    return [action for action in found.value.args[0]._actions if action.dest != "help"]


def command_lines(flags: Sequence[argparse.Action], folder: Path) -> st.SearchStrategy[list[str]]:
    """Command lines of a program: what it requires, as a rule, and some flags with values of any kind.

    What can be listed is listed first: one draw for a flag with its value is much quicker than one for each word.
    """
    required = [flag for flag in flags if flag.required or flag.dest == "testpath"]  # or --testpath_single_scene
    needed = [word for flag in required for word in (flag.option_strings[0], *_needed(flag, folder))]
    listed = [part for flag in flags for part in _parts(flag, folder)]
    wild = st.one_of(st.sampled_from(listed), st.sampled_from(listed), _arbitrary(flags))
    lines = st.tuples(st.sampled_from([needed] * 8 + [[]]), st.lists(wild, max_size=_MOST_WILD))
    return lines.map(lambda line: [*line[0], *itertools.chain.from_iterable(line[1])])


def _needed(flag: argparse.Action, folder: Path) -> list[str]:
    """Values that a required flag takes."""
    if getattr(flag.type, "__name__", "").endswith("_list"):
        return ["2,5"]
    if flag.nargs == "+" and flag.type is Path:
        return [str(folder / "one"), str(folder / "other")]
    return [str(folder / "out.ply" if flag.dest == "out" else folder)]


def _parts(flag: argparse.Action, folder: Path) -> list[list[str]]:
    """The flag in each spelling, with values of every kind; as often with such as it should have."""
    parts = []
    for name in flag.option_strings:
        if flag.nargs == 0:
            return [[name] for name in flag.option_strings] * len(_VALUES)
        good = [str(value) for value in flag.choices or (flag.default,) if value not in (None, argparse.SUPPRESS)]
        values = [*_VALUES, str(folder), *itertools.islice(itertools.cycle(good), len(_VALUES) if good else 0)]
        parts += [[name, value] for value in values] + [[f"{name}={value}"] for value in values]
        parts += [[name]] + ([[name, "1", "nan"]] if flag.nargs in ("+", "*") else [])
    return parts


def _arbitrary(flags: Sequence[argparse.Action]) -> st.SearchStrategy[list[str]]:
    """A flag with a value that nobody thought of."""
    names = st.sampled_from([name for flag in flags for name in flag.option_strings])
    values = st.one_of(st.integers().map(str), st.floats().map(repr), st.text(max_size=8))
    return st.tuples(names, values).map(lambda part: [f"{part[0]}={part[1]}"])


def numbers_in(value: Any) -> list[float]:
    """All numbers of settings: in namespaces, dataclasses, and lists of them."""
    if isinstance(value, bool) or value is None:
        return []
    if isinstance(value, int | float):
        return [value]
    if isinstance(value, tuple | list):
        return [number for item in value for number in numbers_in(item)]
    return numbers_in(list(vars(value).values())) if hasattr(value, "__dict__") else []

"""Work in parts that take about as long as people wait without a word."""

import pytest

from tools.runtime import pace
from tools.runtime.pace import paced


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is moved."""
    now = [0.0]
    monkeypatch.setattr(pace.time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(("each", "sizes"), [(0.01, [4, 16, 64, 116]), (0.1, [4, 16, 30, 30]), (2.0, [4, 4, 4, 4])])
def test_parts_take_about_as_long_as_said(clock, each, sizes):
    """Fast work in few parts, which grow step by step; slow work as at first."""
    items, found = list(range(200)), []
    for part in paced(items, 4):
        found.append(part)
        clock[0] += each * len(part)
    assert [len(part) for part in found[:4]] == sizes
    assert [item for part in found for item in part] == items


def test_a_pace_that_changes(clock):
    """Parts become small again."""
    sizes = []
    for number, part in enumerate(paced(range(100), 5)):
        sizes.append(len(part))
        clock[0] += len(part) * (0.1 if number < 2 else 1.0)
    assert sizes[:4] == [5, 20, 30, 5] and sum(sizes) == 100


def test_nothing_to_do():
    assert list(paced([], 3)) == []

"""The training benchmark's page: its table, the errors' distributions, and the curves of its trainings."""

import re
from typing import Any

import numpy as np

from datasets.formats.metrics import Scalars
from tools.reports.curves import Series, chart
from tools.reports.html import Html, element, facts, page, section, table
from tools.reports.parts import header

# Curves that one chart can tell apart.
_MOST_SERIES = 6


def benchmark_page(
    head: list[str],
    rows: list[list[str]],
    variants: dict[str, dict[str, Any]],
    trainings: dict[str, Scalars],
    hardware: dict[str, object],
    summary: str,
) -> bytes:
    """The page.

    head and rows: the table's cells; variants: its rows' figures (tools/benchmark_table.py); trainings: the scalars of
    every training by its place; hardware: the machine by name; summary: a line on the work done.
    """
    body = [
        header("Training benchmark", [summary]),
        section("Student against teacher", table(head, rows), note="Means over the seeds. Errors in mm."),
        section("Depth error", element("div", *_error_charts(variants), class_="charts")),
    ]
    losses = [chart(place, series, "step") for place, series in _losses(trainings).items()]
    if losses:
        body.append(section("Losses", element("div", *losses, class_="charts")))
    body.append(section("Machine", facts(hardware)))
    return page("Training benchmark", element("main", *body))


def _error_charts(variants: dict[str, dict[str, Any]]) -> list[Html]:
    """Shares of pixels within each error, the teacher's beside the students': as many variants as a chart can show."""
    charts = []
    names = list(variants)
    for first in range(0, len(names), _MOST_SERIES - 1):
        chosen = names[first : first + _MOST_SERIES - 1]
        series = [Series("teacher", _shares(variants[chosen[0]]["teacher"]))]
        series += [Series(name, _shares(variants[name]["student"])) for name in chosen]
        charts.append(chart("pixels within an error, %", series, "error, mm", y_from_zero=True))
    return charts


def _shares(scores: dict[str, float]) -> np.ndarray:
    """Points [N, 2] of the errors in mm and the share of pixels within each, in percent."""
    found = [(float(name.removeprefix("within_")), 100 * share) for name, share in scores.items() if "within_" in name]
    return np.array([(0.0, 0.0), *sorted(found)])


def _losses(trainings: dict[str, Scalars]) -> dict[str, list[Series]]:
    """The total loss of every training, the seeds of one in one chart."""
    groups: dict[str, list[Series]] = {}
    for place, scalars in trainings.items():
        seed, _, name = place.partition("/")
        if "train/total" in scalars:
            series = Series(re.sub("^seed_", "seed ", seed), scalars["train/total"])
            groups.setdefault(f"loss of {name}", []).append(series)
    return {name: series[:_MOST_SERIES] for name, series in groups.items()}

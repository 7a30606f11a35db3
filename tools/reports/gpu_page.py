"""The page of tools/gpu_check.py: every stage, how it ended, and its tables and curves."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from tools.reports.curves import Series, chart, number
from tools.reports.render import render_page


def gpu_page(check: Mapping[str, Any]) -> bytes:
    """The page of a check as its JSON tells it, whole or cut off; what is not run yet says so."""
    stages = check["stages"]
    rows = [[s["stage"], s["status"], _seconds(s), s["shows"]] for s in stages]
    return render_page(
        "gpu_check.html",
        "GPU check",
        numbers=_numbers(check),
        device=check["device"],
        started=check["started"],
        problems=_problems(stages),
        head=["stage", "result", "seconds", "shows"],
        rows=rows,
        stages=[_shown(stage) for stage in stages if stage["found"]],
    )


def _numbers(check: Mapping[str, Any]) -> dict[str, str]:
    """How many stages ended how, for the page's top."""
    statuses = [stage["status"] for stage in check["stages"]]
    counts = {status: statuses.count(status) for status in dict.fromkeys(statuses)}
    return {status: str(count) for status, count in counts.items()} | {"minutes": f"{check['seconds'] / 60:.1f}"}


def _problems(stages: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence for every reason why stages did not pass, and which these are."""
    affected: dict[str, dict[str, list[str]]] = {}
    for stage in stages:
        if stage["status"] != "passed":
            affected.setdefault(stage["reason"], {}).setdefault(stage["status"], []).append(stage["stage"])
    sentences = []
    for reason, by_status in affected.items():
        stages_told = "; ".join(f"{status}: {', '.join(names)}" for status, names in by_status.items())
        sentences.append(f"{reason[:1].upper()}{reason[1:]}. ({stages_told})")
    return sentences


def _seconds(stage: Mapping[str, Any]) -> str:
    return f"{stage['seconds']:.0f}" if stage["seconds"] else ""


def _shown(stage: Mapping[str, Any]) -> dict[str, Any]:
    """A stage's tables, each with the curves that its rows hold."""
    tables: dict[str, list[dict[str, Any]]] = {}
    for found in stage["found"]:
        tables.setdefault(found["table"], []).append(found["cells"])
    return {
        "title": stage["stage"],
        "note": stage["shows"],
        "tables": [_table(title, cells) for title, cells in tables.items()],
        "charts": [_curves(title, cells) for title, cells in tables.items() if "losses" in cells[0]],
    }


def _table(title: str, cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    head = [name for name in dict.fromkeys(name for row in cells for name in row) if name != "losses"]
    return {"title": title, "head": head, "rows": [[_text(row.get(name, "")) for name in head] for row in cells]}


def _text(value: Any) -> str:
    return number(value) if isinstance(value, float) else str("" if value is None else value)


def _curves(title: str, cells: Sequence[Mapping[str, Any]]) -> Markup:
    """Losses of the tenths of trainings."""
    series = []
    for row in cells:
        tenths = np.arange(1, len(row["losses"]) + 1)
        series.append(Series(row["way"], np.stack([tenths, row["losses"]], axis=1)))
    return chart(title, series, "tenth of the steps")

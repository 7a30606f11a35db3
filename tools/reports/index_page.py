"""The page of a run: its scans, their numbers, and the curves of its trainings."""

import dataclasses
import datetime
import urllib.parse

import numpy as np

from datasets.formats.metrics import Scalars
from tools.evaluation.depth import Pixels, metric_cell
from tools.reports.curves import Series, chart
from tools.reports.html import Html, details, element, facts, page, section, table
from tools.reports.measures import ScanMeasures, metrics, pooled
from tools.reports.parts import (
    Run,
    column,
    error_numbers,
    error_section,
    header,
    number_tiles,
    page_name,
    picture_source,
    settings_section,
)


@dataclasses.dataclass(frozen=True)
class Training:
    """A training's folder: its name, its scalars, and its flags and times as they were recorded."""

    name: str
    scalars: Scalars
    facts: dict[str, object]


def index_page(
    run: Run,
    scans: list[ScanMeasures],
    cards: dict[str, list[np.ndarray]],
    trainings: list[Training],
    scores: dict[str, dict[str, float]],
) -> bytes:
    """The run's page. cards: pictures for each scan; scores: further numbers of scans, by scan and name."""
    pixels = pooled(scans)
    points = [scan.points for scan in scans if scan.points is not None]
    shown = {
        "scans": len(scans),
        "views": sum(len(scan.views) for scan in scans),
        "points in clouds": sum(points) if points else "–",
        "pixels kept by the check": f"{np.mean([scan.kept for scan in scans]):.1%}",
        **error_numbers(run, pixels),
    }
    body = [
        header(run.title, [datetime.datetime.now().strftime("made %Y-%m-%d %H:%M"), "multi-view stereo report"]),
        number_tiles(shown),
        section("Scans", _cards(scans, cards)),
        section("Numbers", _scan_table(run, scans, scores), note=run.check_note),
    ]
    if pixels is not None:
        body.append(error_section(run, {"all scans": pixels} | _scan_curves(scans)))
    body += [_training_section(training) for training in trainings]
    body.append(settings_section(run))
    return page(f"{run.title} – report", element("main", *body))


def _scan_curves(scans: list[ScanMeasures]) -> dict[str, Pixels]:
    """Each scan's pixels of known depth, where there are few enough scans to tell curves apart."""
    found = {scan.scan: pooled([scan]) for scan in scans}
    return {name: pixels for name, pixels in found.items() if pixels is not None} if 1 < len(scans) <= 5 else {}


def _cards(scans: list[ScanMeasures], cards: dict[str, list[np.ndarray]]) -> Html:
    parts = []
    for scan in scans:
        pictures = [element("img", src=picture_source(picture), alt="") for picture in cards[scan.scan]]
        points = "no cloud" if scan.points is None else f"{scan.points:,} points"
        words = element("p", element("b", scan.scan), f"{len(scan.views)} views, {points}")
        link = urllib.parse.quote(page_name(scan.scan))
        parts.append(element("a", element("div", *pictures), words, class_="card", href=link))
    return element("div", *parts, class_="cards")


def _scan_table(run: Run, scans: list[ScanMeasures], scores: dict[str, dict[str, float]]) -> Html:
    measured = {scan.scan: metrics(pooled([scan]), run.thresholds) for scan in scans}
    columns = list(dict.fromkeys(name for values in measured.values() for name in values))
    scored = list(dict.fromkeys(name for values in scores.values() for name in values))
    rows = []
    for scan in scans:
        link = element("a", scan.scan, href=urllib.parse.quote(page_name(scan.scan)))
        points = "–" if scan.points is None else f"{scan.points:,}"
        cells = [metric_cell(name, measured[scan.scan].get(name)) for name in columns]
        cells += [f"{scores[scan.scan][name]:.3f}" if name in scores.get(scan.scan, {}) else "–" for name in scored]
        rows.append([link, len(scan.views), points, f"{scan.kept:.1%}", *cells])
    return table(["scan", "views", "points", "kept", *(column(run, name) for name in columns), *scored], rows)


def _training_section(training: Training) -> Html:
    """Its curves, those of one quantity in training and in tests in one chart."""
    groups: dict[str, list[Series]] = {}
    for tag, points in training.scalars.items():
        group, _, name = tag.rpartition("/")
        groups.setdefault(name.replace("_", " "), []).append(Series(group or "value", points))
    charts = [chart(name, series, "step") for name, series in sorted(groups.items(), key=_losses_first)]
    curves = element("div", *charts, class_="charts") if charts else Html()
    note = "" if charts else "No event file with numbers lies in this folder."
    return section(f"Training: {training.name}", curves, details("flags and times", facts(training.facts)), note=note)


def _losses_first(item: tuple[str, list[Series]]) -> tuple[bool, str]:
    return item[0] != "total", item[0]

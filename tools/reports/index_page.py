"""The page of a run: its scans, their numbers, and the curves of its trainings."""

import datetime

import numpy as np

from tools.evaluation.depth import Pixels, metric_cell
from tools.reports.measures import ScanMeasures, metrics, pooled
from tools.reports.parts import (
    ERROR_NOTE,
    Run,
    Training,
    column,
    error_charts,
    error_numbers,
    page_link,
    picture_source,
    shown_count,
)
from tools.reports.render import render_page

# Curves that one chart can tell apart, beside that of all scans.
_MOST_CURVES = 5


def index_page(
    run: Run,
    scans: list[ScanMeasures],
    cards: dict[str, list[np.ndarray]],
    trainings: list[Training],
    scores: dict[str, dict[str, float]],
) -> bytes:
    """The run's page. cards: pictures for each scan; scores: further numbers of scans, by scan and name.

    Where there is one scan only, it leads to that scan's page; without scans it shows the trainings alone.
    """
    if len(scans) == 1:
        return render_page("only_scan.html", run.title, link=page_link(scans[0].scan))
    pixels = pooled(scans)
    points = [scan.points for scan in scans if scan.points is not None]
    numbers = {
        "scans": str(len(scans)),
        "views": str(sum(len(scan.views) for scan in scans)),
        "points in clouds": shown_count(sum(points) or None),
        "pixels kept by the check": f"{np.mean([scan.kept for scan in scans]):.1%}" if scans else "–",
        **error_numbers(run, pixels),
    }
    head, rows = _scan_table(run, scans, scores)
    return render_page(
        "index.html",
        f"{run.title} – report",
        run=run,
        made=datetime.datetime.now().strftime("made %Y-%m-%d %H:%M"),
        numbers=numbers,
        cards=[_card(scan, cards[scan.scan]) for scan in scans],
        note=_check_note(scans),
        head=head,
        rows=rows,
        error_note=ERROR_NOTE,
        error_charts=error_charts(run, {} if pixels is None else {"all scans": pixels} | _scan_curves(scans)),
        trainings=trainings,
    )


def _check_note(scans: list[ScanMeasures]) -> str:
    """How the kept pixels were chosen, where it is the same in all scans."""
    notes = {scan.check_note for scan in scans}
    return notes.pop() if len(notes) == 1 else "How kept pixels were chosen stands in each scan's page."


def _scan_curves(scans: list[ScanMeasures]) -> dict[str, Pixels]:
    """Each scan's pixels of known depth, where there are few enough scans to tell curves apart."""
    found = {scan.scan: pooled([scan]) for scan in scans} if len(scans) <= _MOST_CURVES else {}
    return {name: pixels for name, pixels in found.items() if pixels is not None}


def _card(scan: ScanMeasures, pictures: list[np.ndarray]) -> dict[str, object]:
    points = "no cloud" if scan.points is None else f"{scan.points:,} points"
    return {
        "scan": scan.scan,
        "link": page_link(scan.scan),
        "pictures": [picture_source(picture) for picture in pictures],
        "words": f"{len(scan.views)} views, {points}",
    }


def _scan_table(
    run: Run, scans: list[ScanMeasures], scores: dict[str, dict[str, float]]
) -> tuple[list[str], list[list[object]]]:
    """Head and rows; a scan's name comes with its link."""
    measured = {scan.scan: metrics(pooled([scan]), run.thresholds) for scan in scans}
    columns = list(dict.fromkeys(name for values in measured.values() for name in values))
    scored = list(dict.fromkeys(name for values in scores.values() for name in values))
    rows = []
    for scan in scans:
        cells = [metric_cell(name, measured[scan.scan].get(name)) for name in columns]
        cells += [f"{scores[scan.scan][name]:.3f}" if name in scores.get(scan.scan, {}) else "–" for name in scored]
        name = (scan.scan, page_link(scan.scan))
        rows.append([name, len(scan.views), shown_count(scan.points), f"{scan.kept:.1%}", *cells])
    return ["scan", "views", "points", "kept", *(column(run, name) for name in columns), *scored], rows

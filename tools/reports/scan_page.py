"""A scan's page: its cloud, the pictures of its views, and its numbers."""

import dataclasses
from typing import Any

from tools.evaluation.depth import metric_cell
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
from tools.reports.tiles import CHECK_COLOURS, Scale, Scales, Tile

_STOPS = 16


@dataclasses.dataclass(frozen=True)
class Surroundings:
    """What a scan's page says of the run: the scans before and after it, and, where it is the only one, the trainings
    and its further numbers by name."""

    before: str | None = None
    after: str | None = None
    is_only: bool = False
    trainings: tuple[Training, ...] = ()
    scores: dict[str, float] = dataclasses.field(default_factory=dict)


def scan_page(
    run: Run,
    scan: ScanMeasures,
    tiles: dict[int, list[Tile]],
    scales: Scales,
    cloud: dict[str, Any] | None,
    around: Surroundings,
) -> bytes:
    """A scan's page: its cloud, the pictures of some views, and the numbers of all."""
    pixels = pooled([scan])
    sizes = sorted({view.size for view in scan.views})
    numbers = {"views": str(len(scan.views)), "pixels": " ".join(f"{w}×{h}" for w, h in sizes[:2])}
    numbers |= {"points": shown_count(scan.points), "pixels kept by the check": f"{scan.kept:.1%}"}
    numbers |= error_numbers(run, pixels) | {name: f"{value:.3f}" for name, value in around.scores.items()}
    head, rows = _view_table(run, scan)
    return render_page(
        "scan.html",
        scan.scan if around.is_only else f"{scan.scan} – {run.title}",
        ("lightbox.js", "viewer.js"),
        run=run,
        scan=scan.scan,
        links=_links(run, around),
        numbers=numbers,
        cloud=cloud,
        cloud_note="" if cloud is None else _cloud_note(cloud),
        views_note=_views_note(scan, len(tiles)),
        legends=_legends(scales, {tile.scale for pictures in tiles.values() for tile in pictures}),
        check_colours=CHECK_COLOURS,
        views=[_view(run, scan, view, pictures) for view, pictures in tiles.items()],
        error_note=ERROR_NOTE,
        error_charts=error_charts(run, {} if pixels is None else {"all views": pixels}),
        note=scan.check_note,
        head=head,
        rows=rows,
        trainings=around.trainings,
    )


def _links(run: Run, around: Surroundings) -> list[dict[str, str]]:
    """What stands above the title."""
    if around.is_only:
        return [{"text": "multi-view stereo report", "href": ""}]
    links = [{"text": f"‹ all scans of {run.title}", "href": "index.html"}]
    for name, word in ((around.before, "previous"), (around.after, "next")):
        if name is not None:
            links.append({"text": f"{word}: {name}", "href": page_link(name)})
    return links


def _cloud_note(cloud: dict[str, Any]) -> str:
    note = f"{cloud['shown']:,} of {cloud['total']:,} points are drawn"
    note += ", chosen at random." if cloud["shown"] + cloud["outside"] < cloud["total"] else "."
    if cloud["outside"]:
        note += f" {cloud['outside']:,} points far from the others are left out."
    return note


def _views_note(scan: ScanMeasures, shown: int) -> str:
    note = "A click enlarges a picture. " + scan.check_note
    return note if shown == len(scan.views) else f"{shown} of {len(scan.views)} views, evenly chosen. {note}"


def _view(run: Run, scan: ScanMeasures, number: int, pictures: list[Tile]) -> dict[str, object]:
    """A view's title, the line beside it, and its pictures."""
    (measured,) = (view for view in scan.views if view.view == number)
    values = metrics(measured.pixels, run.thresholds)
    words = [f"{measured.kept:.0%} kept"]
    words += [f"{name} error {metric_cell(name, values[name])} {run.unit}" for name in ("mean", "median") if values]
    return {"title": scan.title(number), "words": " · ".join(words), "tiles": [_tile(tile) for tile in pictures]}


def _tile(tile: Tile) -> dict[str, object]:
    height, width = tile.picture.shape[:2]
    source = picture_source(tile.picture)
    return {"title": tile.title, "scale": tile.scale, "source": source, "width": width, "height": height}


def _legends(scales: Scales, used: set[str]) -> list[dict[str, object]]:
    """The colour scales of a page's pictures, each once."""
    named = {"depth": scales.depth, "error": scales.error, "confidence": scales.confidence}
    return [_scale_legend(name, scale) for name, scale in named.items() if name in used]


def _scale_legend(name: str, scale: Scale) -> dict[str, object]:
    more = " and more" if name == "error" else ""
    middle = (scale.low + scale.high) / 2
    return {
        "name": name,
        "unit": f" in {scale.unit}" if scale.unit else "",
        "stops": ",".join("rgb({},{},{})".format(*color) for color in scale.samples(_STOPS)),
        "ends": [f"{scale.low:.4g}", f"{middle:.4g}", f"{scale.high:.4g}{more}"],
    }


def _view_table(run: Run, scan: ScanMeasures) -> tuple[list[str], list[list[object]]]:
    """Head and rows."""
    measured = [metrics(view.pixels, run.thresholds) for view in scan.views]
    columns = list(dict.fromkeys(name for values in measured for name in values))
    names = [[scan.title(view.view)] if scan.photos else [] for view in scan.views]
    rows = [
        [view.view, *name, f"{view.kept:.1%}", *(metric_cell(name, values.get(name)) for name in columns)]
        for view, name, values in zip(scan.views, names, measured, strict=True)
    ]
    photo = ["photo"] if scan.photos else []
    return ["view", *photo, "kept", *(column(run, name) for name in columns)], rows

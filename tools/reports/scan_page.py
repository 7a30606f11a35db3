"""A scan's page: its cloud, the pictures of its views, and its numbers."""

import dataclasses
from typing import Any

import numpy as np

from tools.evaluation.depth import metric_cell
from tools.reports.beside import Download, Verdict
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

# A photo of which less became points than this, and than half of what did of the others, deserves company.
_LITTLE = 0.2
_MOST_ADVICE = 4

_VIEWER = ("vectors", "model", "look", "webgl", "plain", "pick", "measure", "gestures", "photos", "main")


@dataclasses.dataclass(frozen=True)
class Surroundings:
    """What a scan's page says of the run: the scans before and after it, and, where it is the only one, the trainings
    and its further numbers by name."""

    before: str | None = None
    after: str | None = None
    is_only: bool = False
    trainings: tuple[Training, ...] = ()
    scores: dict[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Shown:
    """What a scan's page shows beside numbers.

    tiles: the pictures of some views, on their scales; model: what the viewer draws (tools.reports.cloud), None without
    a cloud; photos: a small picture of each view without tiles; then what tools.reports.beside found.
    """

    tiles: dict[int, list[Tile]]
    scales: Scales
    model: dict[str, Any] | None = None
    photos: dict[int, np.ndarray] = dataclasses.field(default_factory=dict)
    downloads: list[Download] = dataclasses.field(default_factory=list)
    verdict: Verdict | None = None
    left_out: dict[str, str] = dataclasses.field(default_factory=dict)


def scan_page(run: Run, scan: ScanMeasures, shown: Shown, around: Surroundings) -> bytes:
    """A scan's page: its model, the pictures of some views, and the numbers of all."""
    pixels = pooled([scan])
    tiles = shown.tiles
    head, rows = _view_table(run, scan)
    return render_page(
        "scan.html",
        scan.scan if around.is_only else f"{scan.scan} – {run.title}",
        ("lightbox.js", *(f"viewer/{name}.js" for name in _VIEWER)),
        run=run,
        scan=scan.scan,
        links=_links(run, around),
        verdict=shown.verdict,
        model=shown.model,
        model_note="" if shown.model is None else _model_note(shown.model),
        strip=_strip(scan, shown),
        downloads=shown.downloads,
        advice=shown.verdict.advice if shown.verdict else _advice(scan),
        left_out=shown.left_out,
        numbers=_numbers(run, scan, shown, around),
        views_note=_views_note(scan, len(tiles)),
        legends=_legends(shown.scales, {tile.scale for pictures in tiles.values() for tile in pictures}),
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


def _numbers(run: Run, scan: ScanMeasures, shown: Shown, around: Surroundings) -> dict[str, str]:
    """The numbers under the model: photos, where the views are called so, and what became of them."""
    sizes = sorted({view.size for view in scan.views})
    used = str(len(scan.views))
    if shown.left_out:
        used += f" of {len(scan.views) + len(shown.left_out)}"
    numbers = {
        "photos used" if scan.photos else "views": used,
        "pixels each": " ".join(f"{w}×{h}" for w, h in sizes[:2]),
    }
    if shown.model and "surface" in shown.model:
        numbers["triangles of the surface"] = shown_count(shown.model["surface"]["face_count"])
    numbers |= {"points": shown_count(scan.points), "pixels kept by the check": f"{scan.kept:.1%}"}
    return (
        numbers | error_numbers(run, pooled([scan])) | {name: f"{value:.3f}" for name, value in around.scores.items()}
    )


def _model_note(model: dict[str, Any]) -> str:
    """How many of the points are in the page, and how they were chosen."""
    note = f"{model['shown']:,} of {model['total']:,} points are in this page"
    if model["voxel"]:
        note += f", thinned evenly: one in each cube of {model['voxel']:.2g} {model['unit']}"
    if model["outside"]:
        note += f"; {model['outside']:,} far from the others are left out"
    return note + "."


def _strip(scan: ScanMeasures, shown: Shown) -> list[dict[str, str]]:
    """Every photo, in the order of the viewer's views: its title, the view's number, and its picture (JPEG in text).

    A picture that the page has anyway, larger, is empty here: the viewer takes that one.
    """
    return [
        {
            "title": scan.title(view.view),
            "view": str(view.view),
            "source": "" if view.view in shown.tiles else picture_source(shown.photos[view.view]),
        }
        for view in scan.views
    ]


def _advice(scan: ScanMeasures) -> list[str]:
    """Near which photos more are needed, where nothing else tells: those of which little became points."""
    if not scan.photos:
        return []
    bound = min(_LITTLE, float(np.median([view.kept for view in scan.views])) / 2)
    poor = sorted((view for view in scan.views if view.kept < bound), key=lambda view: view.kept)
    return [
        f"Take two or three more photos from near where {scan.title(view.view)} was taken: only {view.kept:.0%} of it "
        "became points."
        for view in poor[:_MOST_ADVICE]
    ]


def _views_note(scan: ScanMeasures, shown: int) -> str:
    note = "A click enlarges a picture. " + scan.check_note
    return note if shown == len(scan.views) else f"{shown} of {len(scan.views)} views, evenly chosen. {note}"


def _view(run: Run, scan: ScanMeasures, number: int, pictures: list[Tile]) -> dict[str, object]:
    """A view's title, the line beside it, and its pictures."""
    (measured,) = (view for view in scan.views if view.view == number)
    values = metrics(measured.pixels, run.thresholds)
    words = [f"{measured.kept:.0%} kept"]
    words += [f"{name} error {metric_cell(name, values[name])} {run.unit}" for name in ("mean", "median") if values]
    return {
        "number": number,
        "title": scan.title(number),
        "words": " · ".join(words),
        "tiles": [_tile(tile) for tile in pictures],
    }


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

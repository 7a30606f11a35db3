"""A scan's page: its cloud, the pictures of its views, and its numbers."""

import urllib.parse
from typing import Any

from tools.evaluation.depth import metric_cell
from tools.reports.html import Html, data_block, element, join, page, section, table
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
from tools.reports.tiles import CHECK_COLOURS, Scale, Scales, Tile

_STOPS = 16


def scan_page(
    run: Run,
    scan: ScanMeasures,
    tiles: dict[int, list[Tile]],
    scales: Scales,
    cloud: dict[str, Any] | None,
    neighbours: tuple[str | None, str | None],
) -> bytes:
    """A scan's page: its cloud, the pictures of some views, and the numbers of all. neighbours: scans before, after."""
    pixels = pooled([scan])
    sizes = sorted({view.size for view in scan.views})
    points = "–" if scan.points is None else f"{scan.points:,}"
    shown = {"views": len(scan.views), "pixels": " ".join(f"{w}×{h}" for w, h in sizes[:2]), "points": points}
    shown |= {"pixels kept by the check": f"{scan.kept:.1%}"} | error_numbers(run, pixels)
    body = [header(scan.scan, _links(run, neighbours)), number_tiles(shown)]
    if cloud is not None:
        body.append(_cloud_section(cloud))
    body.append(_views_section(run, scan, tiles, scales))
    if pixels is not None:
        body.append(error_section(run, {"all views": pixels}))
    body += [section("Numbers of every view", _view_table(run, scan), note=run.check_note), settings_section(run)]
    return page(f"{scan.scan} – {run.title}", join([element("main", *body), _lightbox()]), ("lightbox.js", "viewer.js"))


def _links(run: Run, neighbours: tuple[str | None, str | None]) -> list[object]:
    links: list[object] = [element("a", f"‹ all scans of {run.title}", href="index.html")]
    for name, word in zip(neighbours, ("previous", "next"), strict=True):
        if name is not None:
            links.append(element("a", f"{word}: {name}", href=urllib.parse.quote(page_name(name))))
    return links


def _cloud_section(cloud: dict[str, Any]) -> Html:
    """The viewer with its data and buttons."""
    note = f"{cloud['shown']:,} of {cloud['total']:,} points are drawn"
    note += ", chosen at random." if cloud["shown"] + cloud["outside"] < cloud["total"] else "."
    if cloud["outside"]:
        note += f" {cloud['outside']:,} points far from the others are left out."
    buttons = [("reset", "Reset"), ("smaller", "−"), ("larger", "+"), ("cameras", "Cameras"), ("background", "Light")]
    titles = {"smaller": "smaller points", "larger": "larger points", "background": "light background"}
    bar = [
        element(
            "button",
            text,
            type="button",
            class_="button",
            data_do=name,
            title=titles.get(name),
            aria_label=titles.get(name),
        )
        for name, text in buttons
    ]
    bar.append(element("select", class_="button", aria_label="look through the camera of a view"))
    hint = element("p", "drag to turn · wheel or pinch to zoom · right button or two fingers to move", class_="hint")
    canvas = element("canvas", tabindex="0", role="img", aria_label="the cloud, turned with the mouse or arrow keys")
    holder = element("div", canvas, hint, element("div", *bar, class_="bar"), id="cloud")
    return section("Cloud", holder, data_block("cloud-data", cloud), note=note)


def _views_section(run: Run, scan: ScanMeasures, tiles: dict[int, list[Tile]], scales: Scales) -> Html:
    measured = {view.view: view for view in scan.views}
    parts = []
    for view, pictures in tiles.items():
        values = metrics(measured[view].pixels, run.thresholds)
        words = [f"{measured[view].kept:.0%} kept"]
        words += [f"{name} error {metric_cell(name, values[name])} {run.unit}" for name in ("mean", "median") if values]
        title = element("h3", f"View {view}", element("span", " · ".join(words)))
        buttons = [_tile(tile, f"View {view}: {tile.title}") for tile in pictures]
        parts.append(element("div", title, element("div", *buttons, class_="tiles"), class_="view"))
    note = "A click enlarges a picture. " + run.check_note
    if len(tiles) < len(scan.views):
        note = f"{len(tiles)} of {len(scan.views)} views, evenly chosen. " + note
    legends = _legends(scales, {tile.scale for pictures in tiles.values() for tile in pictures})
    return section("Views", legends, *parts, note=note)


def _tile(tile: Tile, words: str) -> Html:
    height, width = tile.picture.shape[:2]
    picture = element("img", src=picture_source(tile.picture), alt=words, width=width, height=height)
    return element("button", picture, element("span", tile.title), type="button", class_="tile", data_scale=tile.scale)


def _legends(scales: Scales, used: set[str]) -> Html:
    """The colour scales of a page's pictures, each once."""
    named = {"depth": scales.depth, "error": scales.error, "confidence": scales.confidence}
    parts = [_scale_legend(name, scale) for name, scale in named.items() if name in used]
    swatch = [
        element("span", element("i", style=f"background:rgb{color}"), name) for name, color in CHECK_COLOURS.items()
    ]
    kinds = element("div", element("b", "check"), element("div", *swatch, class_="kinds"))
    return element("div", *parts, element("div", kinds, class_="legend", data_scale="check"), class_="legends")


def _scale_legend(name: str, scale: Scale) -> Html:
    stops = ",".join("rgb({},{},{})".format(*color) for color in scale.samples(_STOPS))
    unit = f" in {scale.unit}" if scale.unit else ""
    middle = (scale.low + scale.high) / 2
    more = " and more" if name == "error" else ""
    ends = [f"{scale.low:.4g}", f"{middle:.4g}", f"{scale.high:.4g}{more}"]
    return element(
        "div",
        element("b", name),
        unit,
        element("i", class_="bar", style=f"background:linear-gradient(90deg,{stops})"),
        element("div", *(element("span", end) for end in ends), class_="ends"),
        class_="legend",
        data_scale=name,
    )


def _view_table(run: Run, scan: ScanMeasures) -> Html:
    measured = [metrics(view.pixels, run.thresholds) for view in scan.views]
    columns = list(dict.fromkeys(name for values in measured for name in values))
    rows = [
        [view.view, f"{view.kept:.1%}", *(metric_cell(name, values.get(name)) for name in columns)]
        for view, values in zip(scan.views, measured, strict=True)
    ]
    return table(["view", "kept", *(column(run, name) for name in columns)], rows)


def _lightbox() -> Html:
    steps = [
        element("button", sign, type="button", class_="button", data_step=step, aria_label=word)
        for sign, step, word in (("‹", -1, "previous picture"), ("›", 1, "next picture"))
    ]
    words = element("div", element("div", class_="title"), element("div", class_="legend"), class_="words")
    under = element("div", words, element("div", *steps, class_="steps"), class_="under")
    return element("dialog", element("img", alt=""), under, id="lightbox")

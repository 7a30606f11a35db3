"""The pages of a report: an index of a run, and one page per scan."""

import base64
import dataclasses
import datetime
import urllib.parse
from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np

from datasets.event_reader import Scalars
from datasets.io import encode_image
from tools.eval_depth import Pixels, metric_cell
from tools.reports.curves import Series, chart
from tools.reports.html import Html, data_block, details, element, facts, join, page, section, table
from tools.reports.measures import ScanMeasures, error_limit, error_shares, errors_by_confidence, metrics, pooled
from tools.reports.tiles import CHECK_COLOURS, Scale, Scales, Tile

# JPEG without colour subsampling: the colours of a map are its values.
_JPEG = (cv2.IMWRITE_JPEG_QUALITY, 88, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
_STOPS = 16
_WIDE = 12  # letters of a number that takes two places


@dataclasses.dataclass(frozen=True)
class Training:
    """A training's folder: its name, its scalars, and its flags and times as they were recorded."""

    name: str
    scalars: Scalars
    facts: dict[str, object]


@dataclasses.dataclass(frozen=True)
class Run:
    """What all pages say: the run's title, error thresholds, unit, how the check was made, versions, settings."""

    title: str
    thresholds: tuple[float, ...]
    unit: str
    check_note: str
    versions: dict[str, object]
    settings: dict[str, dict[str, object]]


def page_name(scan: str) -> str:
    """The file name of a scan's page; a scan called index must not replace the index."""
    return f"{scan}_.html" if scan.lower().rstrip("_") == "index" else f"{scan}.html"


# ---------------------------------------------------------------- the run


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
    numbers = {
        "scans": len(scans),
        "views": sum(len(scan.views) for scan in scans),
        "points in clouds": sum(points) if points else "–",
        "pixels kept by the check": f"{np.mean([scan.kept for scan in scans]):.1%}",
        **_error_numbers(run, pixels),
    }
    body = [
        _header(run.title, [datetime.datetime.now().strftime("made %Y-%m-%d %H:%M"), "multi-view stereo report"]),
        _numbers(numbers),
        section("Scans", _cards(scans, cards)),
        section("Numbers", _scan_table(run, scans, scores), note=run.check_note),
    ]
    if pixels is not None:
        body.append(_error_section(run, {"all scans": pixels} | _scan_curves(scans)))
    body += [_training_section(training) for training in trainings]
    body.append(_settings_section(run))
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
    return table(["scan", "views", "points", "kept", *(_column(run, name) for name in columns), *scored], rows)


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


# ---------------------------------------------------------------- a scan


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
    numbers = {"views": len(scan.views), "pixels": " ".join(f"{w}×{h}" for w, h in sizes[:2]), "points": points}
    numbers |= {"pixels kept by the check": f"{scan.kept:.1%}"} | _error_numbers(run, pixels)
    body = [_header(scan.scan, _links(run, neighbours)), _numbers(numbers)]
    if cloud is not None:
        body.append(_cloud_section(cloud))
    body.append(_views_section(run, scan, tiles, scales))
    if pixels is not None:
        body.append(_error_section(run, {"all views": pixels}))
    body += [section("Numbers of every view", _view_table(run, scan), note=run.check_note), _settings_section(run)]
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
    return table(["view", "kept", *(_column(run, name) for name in columns)], rows)


def _lightbox() -> Html:
    steps = [
        element("button", sign, type="button", class_="button", data_step=step, aria_label=word)
        for sign, step, word in (("‹", -1, "previous picture"), ("›", 1, "next picture"))
    ]
    words = element("div", element("div", class_="title"), element("div", class_="legend"), class_="words")
    under = element("div", words, element("div", *steps, class_="steps"), class_="under")
    return element("dialog", element("img", alt=""), under, id="lightbox")


# ---------------------------------------------------------------- both


def picture_source(picture: np.ndarray) -> str:
    """A picture as an address that holds it."""
    return "data:image/jpeg;base64," + base64.b64encode(encode_image(picture, "jpg", _JPEG) or b"").decode()


def _header(title: str, above: Iterable[object]) -> Html:
    words = [word if isinstance(word, Html) else element("span", word) for word in above]
    return element("header", element("div", *words, class_="eyebrow"), element("h1", title))


def _numbers(numbers: dict[str, object]) -> Html:
    texts = {name: f"{value:,}" if isinstance(value, int) else str(value) for name, value in numbers.items()}
    parts = [
        element("div", element("b", text), element("span", name), class_="wide" if len(text) > _WIDE else None)
        for name, text in texts.items()
    ]
    return element("div", *parts, class_="numbers")


def _error_numbers(run: Run, pixels: Pixels | None) -> dict[str, str]:
    """Errors for the top of a page; the shares within the thresholds together."""
    values = metrics(pixels, run.thresholds)
    numbers = {
        f"{name} error, {run.unit}": metric_cell(name, values.pop(name)) for name in ("mean", "median") if values
    }
    if values:
        bounds = ", ".join(name.removeprefix("within_") for name in values)
        numbers[f"of pixels within {bounds} {run.unit}"] = " · ".join(
            metric_cell(name, value) for name, value in values.items()
        )
    return numbers


def _column(run: Run, name: str) -> str:
    """The name of a metric with its unit."""
    if name.startswith("within_"):
        return f"within {name.removeprefix('within_')} {run.unit}".strip()
    return f"{name}, {run.unit}"


def _error_section(run: Run, groups: dict[str, Pixels]) -> Html:
    limit = 2 * error_limit(next(iter(groups.values())))
    series = [error_shares(name, pixels, limit) for name, pixels in groups.items()]
    shares = chart("pixels within an error, %", series, f"error, {run.unit}", y_from_zero=True)
    series = [errors_by_confidence(name, pixels) for name, pixels in groups.items()]
    means = chart(f"mean error, {run.unit}", series, "most confident pixels, %", y_from_zero=True)
    note = "Pixels of known depth: how many have at most an error, and the mean error of the most confident ones."
    return section("Errors", element("div", shares, means, class_="charts"), note=note)


def _settings_section(run: Run) -> Html:
    parts = [details(name, facts(content)) for name, content in run.settings.items()]
    return section("Settings and versions", facts(run.versions), *parts)

"""What the pages of a report share: what a run is, and the parts that both kinds of pages have."""

import base64
import dataclasses
from collections.abc import Iterable

import cv2
import numpy as np

from datasets.formats.images import encode_image
from tools.evaluation.depth import Pixels, metric_cell
from tools.reports.curves import chart
from tools.reports.html import Html, details, element, facts, section
from tools.reports.measures import error_limit, error_shares, errors_by_confidence, metrics

# JPEG without colour subsampling: the colours of a map are its values.
_JPEG = (cv2.IMWRITE_JPEG_QUALITY, 88, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
_WIDE = 12  # letters of a number that takes two places


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


def picture_source(picture: np.ndarray) -> str:
    """A picture as an address that holds it."""
    return "data:image/jpeg;base64," + base64.b64encode(encode_image(picture, "jpg", _JPEG) or b"").decode()


def header(title: str, above: Iterable[object]) -> Html:
    """What stands above a page and its title."""
    words = [word if isinstance(word, Html) else element("span", word) for word in above]
    return element("header", element("div", *words, class_="eyebrow"), element("h1", title))


def number_tiles(numbers: dict[str, object]) -> Html:
    """The numbers at the top of a page."""
    texts = {name: f"{value:,}" if isinstance(value, int) else str(value) for name, value in numbers.items()}
    parts = [
        element("div", element("b", text), element("span", name), class_="wide" if len(text) > _WIDE else None)
        for name, text in texts.items()
    ]
    return element("div", *parts, class_="numbers")


def error_numbers(run: Run, pixels: Pixels | None) -> dict[str, str]:
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


def column(run: Run, name: str) -> str:
    """The name of a metric with its unit."""
    if name.startswith("within_"):
        return f"within {name.removeprefix('within_')} {run.unit}".strip()
    return f"{name}, {run.unit}"


def error_section(run: Run, groups: dict[str, Pixels]) -> Html:
    """Two charts of the errors of named pixels."""
    limit = 2 * error_limit(next(iter(groups.values())))
    series = [error_shares(name, pixels, limit) for name, pixels in groups.items()]
    shares = chart("pixels within an error, %", series, f"error, {run.unit}", y_from_zero=True)
    series = [errors_by_confidence(name, pixels) for name, pixels in groups.items()]
    means = chart(f"mean error, {run.unit}", series, "most confident pixels, %", y_from_zero=True)
    note = "Pixels of known depth: how many have at most an error, and the mean error of the most confident ones."
    return section("Errors", element("div", shares, means, class_="charts"), note=note)


def settings_section(run: Run) -> Html:
    """How the results and the report were made."""
    parts = [details(name, facts(content)) for name, content in run.settings.items()]
    return section("Settings and versions", facts(run.versions), *parts)

"""What the pages of a report share: what a run is, and the parts that both kinds of pages have."""

import base64
import dataclasses
import urllib.parse

import cv2
import numpy as np
from markupsafe import Markup

from datasets.formats.images import encode_image
from datasets.formats.metrics import Scalars
from tools.evaluation.depth import Pixels, metric_cell
from tools.reports.curves import Series, chart
from tools.reports.measures import error_limit, error_shares, errors_by_confidence, metrics

ERROR_NOTE = "Pixels of known depth: how many have at most an error, and the mean error of the most confident ones."

# JPEG without colour subsampling: the colours of a map are its values.
_JPEG = (cv2.IMWRITE_JPEG_QUALITY, 88, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)


@dataclasses.dataclass(frozen=True)
class Run:
    """What all pages say: the run's title, error thresholds, unit, versions, settings."""

    title: str
    thresholds: tuple[float, ...]
    unit: str
    versions: dict[str, object]
    settings: dict[str, dict[str, object]]


def page_name(scan: str) -> str:
    """The file name of a scan's page; a scan called index must not replace the index."""
    return f"{scan}_.html" if scan.lower().rstrip("_") == "index" else f"{scan}.html"


def page_link(scan: str) -> str:
    """Where a link to a scan's page leads."""
    return urllib.parse.quote(page_name(scan))


def picture_source(picture: np.ndarray) -> str:
    """A picture as an address that holds it."""
    return "data:image/jpeg;base64," + base64.b64encode(encode_image(picture, "jpg", _JPEG) or b"").decode()


def shown_count(count: int | None) -> str:
    """A number of points as the pages show it."""
    return "–" if count is None else f"{count:,}"


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


def error_charts(run: Run, groups: dict[str, Pixels]) -> list[Markup]:
    """Two charts of the errors of named pixels; none where there are no pixels."""
    if not groups:
        return []
    limit = 2 * error_limit(next(iter(groups.values())))
    series = [error_shares(name, pixels, limit) for name, pixels in groups.items()]
    shares = chart("pixels within an error, %", series, f"error, {run.unit}", y_from_zero=True)
    series = [errors_by_confidence(name, pixels) for name, pixels in groups.items()]
    means = chart(f"mean error, {run.unit}", series, "most confident pixels, %", y_from_zero=True)
    return [shares, means]


@dataclasses.dataclass(frozen=True)
class Training:
    """A training's folder: its name, its scalars, and its flags and times as they were recorded."""

    name: str
    scalars: Scalars
    facts: dict[str, object]

    @property
    def charts(self) -> list[Markup]:
        """Its curves, those of one quantity in training and in tests in one chart; the total loss first."""
        groups: dict[str, list[Series]] = {}
        for tag, points in self.scalars.items():
            group, _, name = tag.rpartition("/")
            groups.setdefault(name.replace("_", " "), []).append(Series(group or "value", points))
        ordered = sorted(groups.items(), key=lambda item: (item[0] != "total", item[0]))
        return [chart(name, series, "step") for name, series in ordered]

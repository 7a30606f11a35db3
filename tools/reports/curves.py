"""Curves as inline SVG."""

import dataclasses
import math

import numpy as np
from markupsafe import Markup

from tools.reports.render import render_part

_WIDTH, _HEIGHT = 440, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 12, 34
# Up to so many points are marked. More than so many are drawn as means of neighbours, the whole curve faint behind.
_MOST_MARKED, _MOST_POINTS = 24, 120
_MOST_RAW = 1000


@dataclasses.dataclass(frozen=True)
class Series:
    """A named curve: points [N, 2] of x and y, finite, x not decreasing, N at least 1."""

    name: str
    points: np.ndarray


def chart(title: str, series: list[Series], x_label: str, y_from_zero: bool = False) -> Markup:
    """A figure with up to six curves over a common x axis; a point's title tells its values."""
    points = np.concatenate([curve.points for curve in series])
    x_ticks = nice_ticks(*_range(points[:, 0]))
    y_ticks = nice_ticks(*_range(np.append(points[:, 1], 0) if y_from_zero else points[:, 1]))
    frame = _Frame((x_ticks[0], x_ticks[-1]), (y_ticks[0], y_ticks[-1]))
    return render_part(
        "chart.html",
        title=title,
        x_label=x_label,
        width=_WIDTH,
        height=_HEIGHT,
        right=_WIDTH - _RIGHT,
        middle=(_LEFT + _WIDTH - _RIGHT) / 2,
        bottom=_HEIGHT - 3,
        curves=[_curve(frame, curve, i % 6) for i, curve in enumerate(series)],
        **_grid(frame, x_ticks, y_ticks),
    )


def number(value: float) -> str:
    """A number in a few characters."""
    if value and (abs(value) >= 1e5 or abs(value) < 1e-3):
        return f"{value:.3g}"
    return f"{value:.4g}"


def nice_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers, at most `most` and at least two, that enclose a range."""
    span = high - low
    if not span > 0:
        span = abs(low) or 1.0
        low, high = low - span / 2, high + span / 2
    step = nice_above(span / (most - 1))
    while True:
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        if last - first < most:
            return [i * step for i in range(first, last + 1)]
        step = nice_above(1.5 * step)


def nice_above(value: float) -> float:
    """The smallest of 1, 2 and 5 times a power of ten that is not below a positive value."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= value * (1 - 1e-9))


def _range(values: np.ndarray) -> tuple[float, float]:
    return float(values.min()), float(values.max())


@dataclasses.dataclass(frozen=True)
class _Frame:
    """Maps values of the axes' limits to the drawing."""

    x: tuple[float, float]
    y: tuple[float, float]

    def at(self, points: np.ndarray) -> np.ndarray:
        """Positions [N, 2] in the drawing."""
        low, high = np.array([self.x[0], self.y[0]]), np.array([self.x[1], self.y[1]])
        share = (points - low) / (high - low)
        size = np.array([_WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM])
        return np.stack([_LEFT + share[:, 0] * size[0], _HEIGHT - _BOTTOM - share[:, 1] * size[1]], axis=1)


def _grid(frame: _Frame, x_ticks: list[float], y_ticks: list[float]) -> dict[str, list[dict[str, str]]]:
    """Places and numbers of both axes' ticks."""
    rows = frame.at(np.array([[x_ticks[0], y] for y in y_ticks]))
    columns = frame.at(np.array([[x, y_ticks[0]] for x in x_ticks]))

    def tick(value: float, place: np.ndarray, right: float, down: float) -> dict[str, str]:
        x, y = place
        at = {"x": x, "y": y, "text_x": x + right, "text_y": y + down}
        return {"text": number(value), **{name: f"{position:.1f}" for name, position in at.items()}}

    return {
        "y_ticks": [tick(*item, -7, 3.5) for item in zip(y_ticks, rows, strict=True)],
        "x_ticks": [tick(*item, 0, 15) for item in zip(x_ticks, columns, strict=True)],
    }


def _curve(frame: _Frame, curve: Series, color: int) -> dict[str, object]:
    """The line; when it has few points each of them too, when many their means in front of them."""
    points, faint = curve.points, ""
    if len(points) > _MOST_POINTS:
        faint = _line(frame, points[np.linspace(0, len(points) - 1, min(_MOST_RAW, len(points))).round().astype(int)])
        points = np.array([part.mean(axis=0) for part in np.array_split(points, _MOST_POINTS)])
    dots = [
        {"x": f"{at_x:.1f}", "y": f"{at_y:.1f}", "title": f"{curve.name}: {number(y)} at {number(x)}"}
        for (x, y), (at_x, at_y) in zip(points, frame.at(points), strict=True)
    ]
    return {
        "name": curve.name,
        "last": number(curve.points[-1, 1]),
        "color": color,
        "faint": faint,
        "line": _line(frame, points),
        "dots": dots,
        "marked": len(points) <= _MOST_MARKED,
    }


def _line(frame: _Frame, points: np.ndarray) -> str:
    """An SVG path through points [N, 2]."""
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in frame.at(points))

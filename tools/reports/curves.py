"""Curves as inline SVG."""

import dataclasses
import math

import numpy as np

from tools.reports.html import Html, element, join

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


def chart(title: str, series: list[Series], x_label: str, y_from_zero: bool = False) -> Html:
    """A figure with up to six curves over a common x axis; a point's title tells its values."""
    points = np.concatenate([curve.points for curve in series])
    x_ticks = nice_ticks(*_range(points[:, 0]))
    y_ticks = nice_ticks(*_range(np.append(points[:, 1], 0) if y_from_zero else points[:, 1]))
    frame = _Frame((x_ticks[0], x_ticks[-1]), (y_ticks[0], y_ticks[-1]))
    parts = [_grid(frame, x_ticks, y_ticks, x_label)]
    parts += [_curve(frame, curve, i % 6) for i, curve in enumerate(series)]
    names = [
        element(
            "span", element("i", class_=f"key c{i % 6}"), curve.name, " ", element("b", number(curve.points[-1, 1]))
        )
        for i, curve in enumerate(series)
    ]
    drawing = element(
        "svg", *parts, viewBox=f"0 0 {_WIDTH} {_HEIGHT}", role="img", aria_label=f"{title} over {x_label}"
    )
    caption = element("figcaption", element("strong", title), element("span", *names, class_="keys"))
    return element("figure", caption, drawing, class_="chart")


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


def _grid(frame: _Frame, x_ticks: list[float], y_ticks: list[float], x_label: str) -> Html:
    """Lines and numbers of both axes."""
    parts = []
    rows = frame.at(np.array([[x_ticks[0], y] for y in y_ticks]))
    for tick, (left, y) in zip(y_ticks, rows, strict=True):
        parts.append(element("path", d=f"M{left:.1f} {y:.1f}H{_WIDTH - _RIGHT}", class_="grid"))
        parts.append(element("text", number(tick), x=f"{left - 7:.1f}", y=f"{y + 3.5:.1f}", text_anchor="end"))
    columns = frame.at(np.array([[x, y_ticks[0]] for x in x_ticks]))
    for tick, (x, bottom) in zip(x_ticks, columns, strict=True):
        parts.append(element("text", number(tick), x=f"{x:.1f}", y=f"{bottom + 15:.1f}", text_anchor="middle"))
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(element("text", x_label, x=middle, y=_HEIGHT - 3, text_anchor="middle", class_="axis"))
    return join(parts)


def _curve(frame: _Frame, curve: Series, color: int) -> Html:
    """The line; when it has few points each of them too, when many their means in front of them."""
    parts = []
    points = curve.points
    if len(points) > _MOST_POINTS:
        raw = points[np.linspace(0, len(points) - 1, min(_MOST_RAW, len(points))).round().astype(int)]
        parts.append(_line(frame, raw, f"line faint c{color}"))
        points = np.array([part.mean(axis=0) for part in np.array_split(points, _MOST_POINTS)])
    parts.append(_line(frame, points, f"line c{color}"))
    style = f"dot shown c{color}" if len(points) <= _MOST_MARKED else f"dot c{color}"
    for (x, y), (at_x, at_y) in zip(points, frame.at(points), strict=True):
        title = element("title", f"{curve.name}: {number(y)} at {number(x)}")
        parts.append(element("circle", title, cx=f"{at_x:.1f}", cy=f"{at_y:.1f}", r=2.6, class_=style))
    return join(parts)


def _line(frame: _Frame, points: np.ndarray, style: str) -> Html:
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in frame.at(points))
    return element("path", d=f"M{path}", class_=style)

"""Rooms seen from inside: bare walls, doors, windows, furniture; floor at y = 0, y down, the middle at x = z = 0."""

import dataclasses

import numpy as np

from datasets.synthetic import render
from datasets.synthetic.furniture import AGAINST_WALLS, STANDING_FREE
from datasets.synthetic.parts import (
    Group,
    Paint,
    Part,
    Place,
    bare,
    box,
    cloth,
    furniture_paint,
    glowing,
    lacquered,
    metal,
    moved,
    picture_of,
    plane,
    rod,
    shades,
    solids_of,
    tone,
    turn_about_y,
    warm_tone,
)

_CLEARANCE = 120.0  # mm between pieces of furniture
_TRIES = 12  # to find a place for a piece
_DOWN = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # a horizontal plane's axes: z of the plane along y


def random_room(rng: np.random.Generator) -> Place:
    """A room with what stands and hangs in it."""
    half = np.array([rng.uniform(1400, 3600), rng.uniform(1800, 5200)])
    height = rng.uniform(2300, 3200)
    backgrounds = _shell(rng, half, height)
    groups: list[Group] = []
    for wall in range(4):
        groups += _on_wall(rng, wall, half, height)
    taken: list[tuple[float, float, float]] = []  # x, z and radius of what stands already
    pieces = [(True, piece) for piece in rng.choice(len(AGAINST_WALLS), rng.integers(8, 18))]
    pieces += [(False, piece) for piece in rng.choice(len(STANDING_FREE), rng.integers(2, 7))]
    for at_wall, piece in pieces:
        parts = (AGAINST_WALLS if at_wall else STANDING_FREE)[piece](rng)
        placed = _placed(rng, parts, half, at_wall, taken)
        if placed is not None:
            groups.append(placed)
    targets = np.array([parts[0].centre for parts in groups if parts])
    groups += _partitions(rng, half, height)
    lamps = rng.uniform(-0.7, 0.7, (rng.integers(1, 3), 3)) * [half[0], 0, half[1]] - [0, height - 180, 0]
    groups += [_ceiling_lamp(rng, lamp, height) for lamp in lamps]
    solids = solids_of(rng, backgrounds, [parts for parts in groups if parts])
    return Place(solids, half * 0.85, (900.0, 1750.0), targets, lamps)


def _shell(rng: np.random.Generator, half: np.ndarray, height: float) -> Group:
    """Floor, ceiling and four walls."""
    white = tone(rng, 0.6, 0.92, 0.12)
    planes = [
        plane([0, 0, 0], turn_about_y(rng.choice([0, np.pi / 2])) @ _DOWN, _floor(rng)),
        plane([0, -height, 0], _DOWN, bare(rng, tone(rng, 0.75, 0.95, 0.05), 0.01)),
    ]
    for wall in range(4):
        turn = wall * np.pi / 2
        inward = turn_about_y(turn)
        point = inward @ [0, 0, half[1] if wall % 2 == 0 else half[0]]
        planes.append(plane(point, inward, _wall_paint(rng, white)))
    return planes


def _floor(rng: np.random.Generator) -> Paint:
    """Boards, tiles, carpet or stone; often glossy."""
    kind = rng.random()
    if kind < 0.4:
        paint = picture_of(rng, "planks", rng.uniform(700, 2000))
    elif kind < 0.55:
        side, color = rng.uniform(150, 600), tone(rng, 0.3, 0.9)
        colors = np.array([color * rng.uniform(0.4, 0.9), color, color])
        pattern = render.GRID if rng.random() < 0.7 else render.CHECKS
        paint = Paint(colors, pattern, side, grain=rng.uniform(0.02, 0.1), grain_period=side)
    elif kind < 0.85:
        paint = cloth(rng)
        return dataclasses.replace(paint, grain_period=paint.grain_period * 4)
    else:
        paint = bare(rng, tone(rng, 0.3, 0.8), 0.08)
    return lacquered(paint, rng, 0.5) if rng.random() < 0.7 else paint


def _wall_paint(rng: np.random.Generator, white: np.ndarray) -> Paint:
    kind = rng.random()
    if kind < 0.5:
        return bare(rng, white, 0.015)
    if kind < 0.66:
        return bare(rng, tone(rng, 0.25, 0.9, 0.5), 0.03)
    if kind < 0.8:
        return picture_of(rng, "plaster", rng.uniform(800, 3000))
    if kind < 0.9:
        return picture_of(rng, "masonry", rng.uniform(1000, 2500))
    color = tone(rng, 0.4, 0.9, 0.3)
    return Paint(shades(color, rng.uniform(0.03, 0.15)), int(rng.choice([render.STRIPES, render.DOTS])), 200.0)


def _on_wall(rng: np.random.Generator, wall: int, half: np.ndarray, height: float) -> list[Group]:
    """Skirting, door, windows, frames and small things on a wall; the wall's frame has it at z = 0, the room before."""
    across, away = (half[0], half[1]) if wall % 2 == 0 else (half[1], half[0])
    groups: list[Group] = []
    if rng.random() < 0.7:
        rail = rng.uniform(60, 140)
        groups.append([box([0, -rail / 2, -8], [2 * across, rail, 16], furniture_paint(rng))])
    x = -across + rng.uniform(100, 900)
    while x < across - 500:
        kind, width = rng.random(), rng.uniform(300, 1400)
        middle = x + width / 2
        if middle + width / 2 > across:
            break
        if kind < 0.2:
            groups.append(_door(rng, middle))
        elif kind < 0.42:
            groups.append(_window(rng, middle, width, height))
        elif kind < 0.7:
            groups.append(_frame(rng, middle, width))
        elif kind < 0.8:
            groups.append(_small_things(rng, middle))
        x += width + rng.uniform(100, 700)
    turn = wall * np.pi / 2
    return [moved(parts, turn, turn_about_y(turn) @ [0, 0, away]) for parts in groups]


def _door(rng: np.random.Generator, x: float) -> Group:
    width, height, paint, frame = rng.uniform(750, 1000), 2050.0, furniture_paint(rng), furniture_paint(rng)
    return [
        box([x, -height / 2, -10], [width, height, 40], paint),
        *(box([x + s * width / 2, -height / 2, -25], [80, height, 60], frame) for s in (-1, 1)),
        box([x, -height, -25], [width + 80, 80, 60], frame),
        rod([x - width * 0.4, -1030, -70], [x - width * 0.28, -1030, -70], 10, metal(rng)),
    ]


def _window(rng: np.random.Generator, x: float, width: float, height: float) -> Group:
    """Panes that glow with the day, or are dark at night, behind bars; curtains, a sill, a radiator below."""
    low = rng.uniform(600, 1000)
    tall = max(400.0, min(height - low - 200, rng.uniform(800, 1500)))
    y, frame = -low - tall / 2, bare(rng, tone(rng, 0.6, 0.95, 0.1))
    outside = picture_of(rng, "leaves", rng.uniform(1500, 4000))
    day = dataclasses.replace(outside, glow=rng.uniform(0.8, 1.6)) if rng.random() < 0.5 else None
    pane = day or glowing(tone(rng, 0.8, 1.0, 0.1), rng.uniform(1.0, 2.0))
    parts = [box([x, y, -4], [width, tall, 8], pane)]
    parts += [box([x + s * width / 2, y, -20], [60, tall + 60, 50], frame) for s in (-1, 0, 1)]
    parts += [box([x, y + s * tall / 2, -20], [width, 60, 50], frame) for s in (-1, 1)]
    if rng.random() < 0.6:
        parts.append(box([x, -low + 40, -80], [width + 150, 40, 200], frame))
    if rng.random() < 0.4:
        paint = cloth(rng)
        for s in (-1, 1):
            folds = x + s * (width / 2 + np.arange(4) * 55.0)
            parts += [rod([f, -height + 200, -110], [f, -150, -110], 36, paint) for f in folds]
    if rng.random() < 0.4:
        ribs = x + np.arange(-5, 6) * 55.0
        parts += [box([r, -380, -80], [45, 520, 80], frame) for r in ribs]
    return parts


def _frame(rng: np.random.Generator, x: float, width: float) -> Group:
    """A picture, poster or board on the wall."""
    tall = width * rng.uniform(0.6, 1.5)
    tall = min(tall, 1500.0)
    y = -rng.uniform(1200, 1700)
    family = str(rng.choice(["leaves", "page"], p=[0.75, 0.25]))
    painting = picture_of(rng, family, rng.uniform(0.5, 1.1) * max(width, tall))
    painting = painting if rng.random() < 0.8 else bare(rng, tone(rng, 0.7, 0.95))
    parts = [box([x, y, -6], [width, tall, 12], painting)]
    if rng.random() < 0.6:
        edge, thick = furniture_paint(rng), rng.uniform(15, 50)
        parts += [box([x + s * width / 2, y, -12], [thick, tall + thick, 30], edge) for s in (-1, 1)]
        parts += [box([x, y + s * tall / 2, -12], [width, thick, 30], edge) for s in (-1, 1)]
    return parts


def _small_things(rng: np.random.Generator, x: float) -> Group:
    """Sockets, switches, a clock, a board on brackets."""
    plastic = bare(rng, tone(rng, 0.8, 0.95, 0.03))
    y = float(rng.choice([-300.0, -1100.0]))
    parts = [box([x + 90 * k, y, -6], [80, 80, 14], plastic) for k in range(rng.integers(1, 4))]
    if rng.random() < 0.5:
        parts.append(rod([x, -2000, 0], [x, -2000, -40], rng.uniform(100, 200), furniture_paint(rng)))
    if rng.random() < 0.5:
        parts.append(box([x, -1500, -110], [rng.uniform(400, 900), 25, 220], furniture_paint(rng)))
    return parts


def _placed(
    rng: np.random.Generator, parts: Group, half: np.ndarray, at_wall: bool, taken: list[tuple[float, float, float]]
) -> Group | None:
    """The piece where it has room, against a wall or free; None where none was found. `taken` grows by it."""
    low, high = _footprint(parts)
    radius = float(np.hypot(*(high - low))) / 2 * 0.8
    for _ in range(_TRIES):
        if at_wall:
            wall = int(rng.integers(4))
            across, away = (half[0], half[1]) if wall % 2 == 0 else (half[1], half[0])
            turn = wall * np.pi / 2
            reach = max(across - (high[0] - low[0]) / 2, 0.0)
            place = turn_about_y(turn) @ [rng.uniform(-reach, reach), 0, away - high[1] - 20]
            turn += rng.normal(0, 0.01)
        else:
            turn = rng.uniform(0, 2 * np.pi)
            place = np.array([rng.uniform(-0.6, 0.6) * half[0], 0, rng.uniform(-0.6, 0.6) * half[1]])
        if all(np.hypot(place[0] - x, place[2] - z) > 0.75 * (radius + r) + _CLEARANCE for x, z, r in taken):
            taken.append((place[0], place[2], radius))
            return moved(parts, turn, place)
    return None


def _footprint(parts: Group) -> tuple[np.ndarray, np.ndarray]:
    """The corners (x, z) of the ground that parts cover."""
    reach = [np.abs(part.parent_R_unit) @ part.size for part in parts]
    low = np.min([part.centre - r for part, r in zip(parts, reach, strict=True)], axis=0)
    high = np.max([part.centre + r for part, r in zip(parts, reach, strict=True)], axis=0)
    return low[[0, 2]], high[[0, 2]]


def _partitions(rng: np.random.Generator, half: np.ndarray, height: float) -> list[Group]:
    """Pillars, and walls that reach into the room, as beside a corridor."""
    groups: list[Group] = []
    paint = bare(rng, tone(rng, 0.5, 0.9, 0.2))
    if rng.random() < 0.35:
        x, z, side = rng.uniform(-0.6, 0.6) * half[0], rng.uniform(-0.6, 0.6) * half[1], rng.uniform(200, 450)
        pillar = box([x, -height / 2, z], [side, height, side], paint)
        groups.append([pillar if rng.random() < 0.6 else rod([x, 0, z], [x, -height, z], side / 3, paint)])
    if rng.random() < 0.45:
        length = rng.uniform(0.4, 1.1) * half[0]
        x, z = rng.choice([-1, 1]) * (half[0] - length / 2), rng.uniform(-0.5, 0.5) * half[1]
        groups.append([box([x, -height / 2, z], [length, height, rng.uniform(80, 250)], paint)])
    if rng.random() < 0.25:
        x = rng.uniform(-0.8, 0.8) * half[0]
        beam = box([x, -height + 120, 0], [220, 240, 2 * half[1]], furniture_paint(rng))
        groups.append([beam])
    return groups


def _ceiling_lamp(rng: np.random.Generator, place: np.ndarray, height: float) -> Group:
    """A lamp that hangs from the ceiling or lies on it."""
    light = glowing(np.array([1.0, 0.95, 0.85]), rng.uniform(1.0, 2.5))
    parts: list[Part] = [rod(place, place - [0, rng.uniform(30, 80), 0], rng.uniform(60, 260), light)]
    if rng.random() < 0.5:
        parts.append(rod(place, [place[0], -height, place[2]], 8, bare(rng, warm_tone(rng, 0.02, 0.2))))
    return parts

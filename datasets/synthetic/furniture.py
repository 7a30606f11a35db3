"""Furniture: groups of parts that stand on y = 0, seen from -z, with their backs to +z; and what lies on them."""

from collections.abc import Callable

import numpy as np

from datasets.synthetic import render
from datasets.synthetic.parts import (
    Group,
    ball,
    bare,
    box,
    cloth,
    cone,
    furniture_paint,
    glowing,
    lacquered,
    leaves,
    metal,
    moved,
    picture_of,
    rod,
    tone,
    warm_tone,
    wood,
)


def things(rng: np.random.Generator, width: float, depth: float, top: float, most: int) -> Group:
    """Up to `most` small things on a board of width x depth whose top is at y = -top."""
    parts: Group = []
    for _ in range(rng.integers(0, most + 1)):
        x, z = rng.uniform(-0.42, 0.42) * width, rng.uniform(-0.4, 0.4) * depth
        kind, paint = rng.random(), furniture_paint(rng)
        if kind < 0.3:  # a book, a box or a laptop
            size = [rng.uniform(80, 320), rng.uniform(15, 180), rng.uniform(80, 240)]
            cover = picture_of(rng, str(rng.choice(["page", "leaves"])), rng.uniform(150, 400))
            parts.append(
                box([x, -top - size[1] / 2, z], size, cover if rng.random() < 0.5 else paint, rng.uniform(0, 3))
            )
        elif kind < 0.55:  # a cup, a bottle
            height = rng.uniform(70, 300)
            parts.append(
                rod([x, -top, z], [x, -top - height, z], height * rng.uniform(0.15, 0.5), lacquered(paint, rng))
            )
        elif kind < 0.8:  # fruit in a heap
            color = tone(rng, 0.4, 0.9, 0.9)
            for _ in range(rng.integers(1, 6)):
                r = rng.uniform(25, 60)
                at = [x + rng.normal(0, 50), -top - r * rng.uniform(0.9, 1.8), z + rng.normal(0, 50)]
                parts.append(ball(at, [r, r * rng.uniform(0.8, 1.1), r], bare(rng, color * rng.uniform(0.7, 1.1), 0.1)))
        else:  # a screen on its foot
            width_, height = rng.uniform(300, 650), rng.uniform(220, 400)
            parts.append(box([x, -top - 90 - height / 2, z], [width_, height, 30], bare(rng, tone(rng, 0.02, 0.1))))
            parts.append(rod([x, -top, z], [x, -top - 100, z], 30, metal(rng)))
    return parts


def table(rng: np.random.Generator) -> Group:
    """A board on four legs, a foot or two plates, with things on it."""
    width, depth, height = rng.uniform(700, 2200), rng.uniform(600, 1000), rng.uniform(400, 780)
    top, leg = furniture_paint(rng), furniture_paint(rng) if rng.random() < 0.5 else metal(rng)
    thick, radius, style = rng.uniform(18, 50), rng.uniform(12, 40), rng.random()
    if style < 0.2:
        board = rod([0, -height, 0], [0, -height + thick, 0], depth * 0.7, top)
        parts = [board, rod([0, -height, 0], [0, 0, 0], radius * 1.5, leg), rod([0, -25, 0], [0, 0, 0], 260, leg)]
        width = depth
    else:
        parts = [box([0, -height + thick / 2, 0], [width, thick, depth], top)]
        x, z, spread = width / 2 - 60, depth / 2 - 60, rng.uniform(0, 50)
        if style < 0.4:
            parts += [box([s * x, -height / 2, 0], [2 * radius, height, depth * 0.85], leg) for s in (-1, 1)]
        else:
            corners = [(s * x, t * z) for s in (-1, 1) for t in (-1, 1)]
            parts += [
                rod([a, -height + thick, b], [a + spread * np.sign(a), 0, b + spread * np.sign(b)], radius, leg)
                for a, b in corners
            ]
    return parts + things(rng, width, depth, height, 12)


def chair(rng: np.random.Generator) -> Group:
    """A seat on thin legs with a back."""
    seat, width, back = rng.uniform(420, 480), rng.uniform(380, 500), rng.uniform(750, 950)
    cover, leg, radius = furniture_paint(rng), metal(rng) if rng.random() < 0.6 else wood(rng), rng.uniform(9, 22)
    half = width / 2 - 20
    parts = [box([0, -seat, 0], [width, rng.uniform(15, 70), width], cover)]
    for s in (-1, 1):
        parts.append(rod([s * half, -seat, -half], [s * half * 1.1, 0, -half * 1.1], radius, leg))
        parts.append(rod([s * half, -back, half * 1.15], [s * half, 0, half], radius, leg))
    if rng.random() < 0.3:
        parts += [box([0, -h, half * 1.1], [width, 50, 18], cover) for h in np.linspace(seat + 130, back - 30, 3)]
    else:
        parts.append(box([0, -(seat + back) / 2 - 60, half * 1.1], [width, (back - seat) * 0.7, 20], cover))
    return parts


def shelf(rng: np.random.Generator) -> Group:
    """Boards between two sides, with books and things, open or closed behind."""
    width, height, depth = rng.uniform(600, 1600), rng.uniform(700, 2200), rng.uniform(220, 420)
    paint, thick = furniture_paint(rng), rng.uniform(15, 35)
    parts = [box([s * width / 2, -height / 2, 0], [thick, height, depth], paint) for s in (-1, 1)]
    if rng.random() < 0.6:
        parts.append(box([0, -height / 2, depth / 2 - 5], [width, height, 10], paint))
    rows = max(2, int(height / rng.uniform(280, 420)))
    for row in range(rows + 1):
        y = -height * row / rows
        parts.append(box([0, y - thick / 2, 0], [width, thick, depth], paint))
        if row == rows:
            break
        x, room = -width / 2 + thick, height / rows - 2 * thick
        end = width / 2 * rng.uniform(-0.8, 0.95)
        while x < end and room > 120 and len(parts) < 45:  # piles of several books count as one block
            w, h, d = rng.uniform(20, 120), room * rng.uniform(0.55, 0.95), depth * rng.uniform(0.5, 0.85)
            spine = bare(rng, tone(rng, 0.1, 0.9, 0.8), 0.1)
            cover = picture_of(rng, "page", rng.uniform(80, 300)) if rng.random() < 0.4 else spine
            parts.append(box([x + w / 2, y - thick - h / 2, 0], [w, h, d], cover))
            x += w + (rng.uniform(30, 250) if rng.random() < 0.15 else 2)
    return parts


def cupboard(rng: np.random.Generator) -> Group:
    """A cupboard or sideboard with doors or drawers, handles and things on top."""
    width, depth = rng.uniform(600, 2400), rng.uniform(350, 620)
    height = rng.uniform(650, 950) if rng.random() < 0.6 else rng.uniform(1200, 2200)
    body, front = furniture_paint(rng), furniture_paint(rng)
    front = body if rng.random() < 0.6 else front
    parts = [box([0, -height / 2, 0], [width, height, depth], body)]
    columns, rows, handle = max(1, int(width / 550)), int(rng.choice([1, 2, 3])), metal(rng)
    w, h = width / columns, (height - 80) / rows
    for i in range(columns):
        for j in range(rows):
            x, y = (i - (columns - 1) / 2) * w, -80 - (j + 0.5) * h
            parts.append(box([x, y, -depth / 2 - 8], [w - 12, h - 12, 18], front))
            parts.append(
                rod([x - 50, y - h * 0.35, -depth / 2 - 35], [x + 50, y - h * 0.35, -depth / 2 - 35], 7, handle)
            )
    if rng.random() < 0.5:
        parts.append(box([0, -height - 12, 0], [width + 20, 26, depth + 40], furniture_paint(rng)))
    return parts + (things(rng, width, depth, height + 25, 6) if height < 1300 else [])


def sofa(rng: np.random.Generator) -> Group:
    """A seat, a back and two arms of cloth or leather, with cushions."""
    width, paint = rng.uniform(800, 2300), cloth(rng)
    paint = lacquered(bare(rng, warm_tone(rng, 0.1, 0.8), 0.05), rng, 0.2) if rng.random() < 0.4 else paint
    parts = [
        box([0, -230, 0], [width, 400, 800], paint),
        box([0, -560, 320], [width, 560, 200], paint),
        *(box([s * (width / 2 - 80), -400, 0], [170, 520, 800], paint) for s in (-1, 1)),
        *(rod([s * (width / 2 - 90), -660, -400], [s * (width / 2 - 90), -660, 400], 90, paint) for s in (-1, 1)),
    ]
    for _ in range(rng.integers(0, 4)):
        x = rng.uniform(-0.35, 0.35) * width
        parts.append(ball([x, -560, 130], [240, 200, 90], cloth(rng)))
    return parts


def plant(rng: np.random.Generator) -> Group:
    """Leaves on a stem in a pot."""
    height, paint = rng.uniform(500, 1700), leaves(rng, rng.uniform(15, 60))
    pot = rng.uniform(100, 220)
    parts = [
        rod([0, -pot * 1.6, 0], [0, 0, 0], pot, furniture_paint(rng)),
        rod([0, -pot, 0], [0, -height, 0], 12, bare(rng, warm_tone(rng, 0.1, 0.4), 0.2)),
    ]
    for _ in range(rng.integers(8, 22)):
        y = -rng.uniform(0.45, 1.0) * height
        at, radii = [rng.normal(0, 170), y, rng.normal(0, 170)], rng.uniform(0.2, 1.0, 3) * rng.uniform(60, 190)
        parts.append(ball(at, radii, paint))
    return parts


def lamp(rng: np.random.Generator) -> Group:
    """A floor lamp: a thin pole and a shade that glows."""
    height = rng.uniform(1300, 1900)
    shade = glowing(np.array([1.0, 0.85, 0.6]), rng.uniform(0.8, 2.0)) if rng.random() < 0.6 else cloth(rng)
    return [
        rod([0, 0, 0], [0, -25, 0], 150, metal(rng)),
        rod([0, 0, 0], [0, -height, 0], rng.uniform(8, 16), metal(rng)),
        cone([0, -height + 150, 0], 240, 420, shade),
    ]


def boxes(rng: np.random.Generator) -> Group:
    """Cartons in a heap, a bin or a bag."""
    parts: Group = []
    y = 0.0
    for _ in range(rng.integers(1, 4)):
        size = rng.uniform(200, 550, 3)
        paint = bare(rng, warm_tone(rng, 0.45, 0.7), 0.08)
        paint = picture_of(rng, "page", 400.0) if rng.random() < 0.25 else paint
        parts.append(box([rng.normal(0, 60), y - size[1] / 2, rng.normal(0, 60)], size, paint, rng.uniform(0, 3)))
        y -= size[1]
    return parts


def dining(rng: np.random.Generator) -> Group:
    """A table with chairs about it."""
    parts, seat = table(rng), chair(rng)
    half = parts[0].size
    for _ in range(rng.integers(1, 5)):
        side, x = rng.choice([-1, 1]), rng.uniform(-0.8, 0.8) * half[0]
        z = half[2] if parts[0].kind == render.BOX else half[0]
        place = [x, 0.0, side * (z + rng.uniform(0, 350))]
        parts += moved(seat, rng.normal(0, 0.3) + (0.0 if side > 0 else np.pi), place)
    return parts


AGAINST_WALLS: tuple[Callable[[np.random.Generator], Group], ...] = (shelf, cupboard, sofa, table, plant, lamp, boxes)
STANDING_FREE: tuple[Callable[[np.random.Generator], Group], ...] = (dining, dining, table, chair, sofa, boxes, plant)

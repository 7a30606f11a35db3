"""Places in the open air: a facade, a street, a yard, a thing on open ground. The ground at y = 0, y points down."""

import dataclasses

import numpy as np

from datasets.synthetic import render
from datasets.synthetic.parts import (
    UPRIGHT,
    Group,
    Paint,
    Part,
    Place,
    ball,
    bare,
    box,
    cone,
    leaves,
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

_SKY = 400_000.0  # mm, radius of the bowl that closes the rays
_LIMIT = 150_000.0  # mm: the sky and the ground near the horizon have no known depth
_NEAREST = 1300.0  # mm
_EYES = (1200.0, 2200.0)
_GROUND_AXES = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])


def random_outdoors(rng: np.random.Generator) -> Place:
    """A facade, a street, a yard or a thing on open ground."""
    kind = rng.choice(["facade", "street", "yard", "thing"], p=[0.35, 0.3, 0.2, 0.15])
    groups, half, targets, walks = {"facade": _facades, "street": _street, "yard": _yard, "thing": _thing}[kind](rng)
    solids = solids_of(rng, [_sky(rng), _ground(rng)], groups)
    return Place(solids, half, _EYES, targets, np.zeros((0, 3)), walks, _NEAREST, _LIMIT, open_air=True)


_Layout = tuple[list[Group], np.ndarray, np.ndarray, tuple[str, ...]]  # groups, half, targets, walks of a Place


def _facades(rng: np.random.Generator) -> _Layout:
    """One large front along x at z > 0, its cameras before it."""
    width, height, away = rng.uniform(9000, 26000), rng.uniform(6000, 16000), rng.uniform(4500, 14000)
    front = moved(_front(rng, width, height), 0.0, [0, 0, away])
    groups = [front, moved(_portal(rng, height), 0.0, [rng.uniform(-0.3, 0.3) * width, 0, away])]
    if rng.random() < 0.6:
        side = rng.choice([-1, 1])
        wing = moved(_front(rng, away * 1.2, height * rng.uniform(0.6, 1.1)), -side * np.pi / 2, [0, 0, 0])
        groups.append(moved(wing, 0.0, [side * width / 2, 0, away / 2]))
    groups += _street_things(rng, width / 2, (0.25 * away, 0.95 * away), int(rng.integers(1, 7)))
    targets = np.column_stack(
        [rng.uniform(-0.25, 0.25, 6) * width, -rng.uniform(0.12, 0.45, 6) * height, np.full(6, away)]
    )
    return groups, np.array([0.3 * width, 0.3 * away]), targets, ("along", "orbit", "video")


def _street(rng: np.random.Generator) -> _Layout:
    """Houses on both sides along z, closed by another one far away."""
    half, length = rng.uniform(3000, 8000), rng.uniform(25000, 55000)
    groups: list[Group] = []
    for side in (-1, 1):
        z = -8000.0
        while z < length:
            width = rng.uniform(5000, 11000)
            house = _front(rng, width, rng.uniform(4000, 11000))
            place = [side * (half + rng.uniform(0, 600)), 0, z + width / 2]
            groups.append(moved(moved(house, side * np.pi / 2, [0, 0, 0]), 0.0, place))
            z += width + (rng.uniform(800, 3000) if rng.random() < 0.3 else 0.0)
    groups.append(moved(_front(rng, 3 * half, rng.uniform(6000, 14000)), 0.0, [0, 0, length]))
    groups += _street_things(rng, half - 400, (1500, 0.7 * length), int(rng.integers(4, 12)))
    targets = np.column_stack(
        [rng.uniform(-0.8, 0.8, 8) * half, -rng.uniform(800, 2600, 8), rng.uniform(7000, 22000, 8)]
    )
    return groups, np.array([0.6 * half, 3000.0]), targets, ("video", "ahead", "along")


def _yard(rng: np.random.Generator) -> _Layout:
    """Fronts on three sides about things in the middle."""
    half = rng.uniform(6000, 13000, 2)
    height = rng.uniform(5000, 12000)
    groups = [moved(_front(rng, 2 * half[0], height), 0.0, [0, 0, half[1]])]
    for side in (-1, 1):
        wing = moved(_front(rng, 2 * half[1], height * rng.uniform(0.7, 1.1)), side * np.pi / 2, [0, 0, 0])
        groups.append(moved(wing, 0.0, [side * half[0], 0, 0]))
    groups += _street_things(rng, 0.6 * half[0], (-0.3 * half[1], 0.8 * half[1]), int(rng.integers(3, 9)))
    targets = np.column_stack(
        [rng.uniform(-0.5, 0.5, 6) * half[0], -rng.uniform(500, 3000, 6), rng.uniform(0.3, 1, 6) * half[1]]
    )
    return groups, half * 0.6, targets, ("orbit", "along", "video")


def _thing(rng: np.random.Generator) -> _Layout:
    """A statue, a trunk, a car or a bush on open ground, walked around; trees or houses far behind."""
    scale = rng.uniform(0.5, 1.5)
    thing = _monument(rng, scale) if rng.random() < 0.85 else _car(rng)
    groups = [thing, *_street_things(rng, 9000, (-7000, 9000), int(rng.integers(2, 7)), clear=2500 * scale)]
    for turn in np.arange(rng.integers(4, 9)) + rng.uniform(0, 1, 1):
        away = rng.uniform(9000, 26000)
        far = _tree(rng) if rng.random() < 0.5 else _front(rng, rng.uniform(6000, 15000), rng.uniform(3000, 9000))
        groups.append(moved(far, turn, turn_about_y(turn) @ [0, 0, away]))
    targets = np.array([[0, -700 * scale, 0], [0, -1100 * scale, 0], [0, -400 * scale, 0]])
    return groups, np.full(2, 2500.0 + 2500.0 * scale), targets, ("orbit", "orbit", "video")


# ---------------------------------------------------------------- sky and ground


def _sky(rng: np.random.Generator) -> Part:
    blue = np.array([rng.uniform(0.3, 0.6), rng.uniform(0.5, 0.75), rng.uniform(0.75, 0.95)])
    cloud = np.full(3, rng.uniform(0.75, 1.0))
    overcast = rng.random() < 0.4
    colors = np.array([cloud if overcast else blue, cloud, blue])
    pattern = render.PLAIN if rng.random() < 0.3 else render.BLOTCHES
    paint = Paint(
        colors, pattern, _SKY / 3, warp=_SKY / 9, grain=0.03, grain_period=_SKY / 4, glow=rng.uniform(0.9, 1.4)
    )
    return Part(render.BOWL, np.full(3, _SKY), np.zeros(3), paint, is_background=True)


def _ground(rng: np.random.Generator) -> Part:
    """Paving, asphalt, gravel or grass."""
    kind, color = rng.random(), warm_tone(rng, 0.3, 0.65) * [0.9, 1, 1.1]
    if kind < 0.3:
        paint = Paint(shades(color, 0.25), render.CELLS, rng.uniform(90, 300), grain=0.25, grain_period=1500.0)
    elif kind < 0.5:
        period, pattern = rng.uniform(200, 700), render.MOSAIC if rng.random() < 0.5 else render.GRID
        paint = Paint(shades(color, rng.uniform(0.05, 0.3)), pattern, period, grain=0.2, grain_period=900.0)
    elif kind < 0.75:
        color = tone(rng, 0.25, 0.5, 0.1)
        grain = rng.uniform(0.06, 0.3)
        paint = Paint(shades(color, 0.1), render.BLOTCHES, 30.0, grain=grain, grain_period=rng.uniform(300, 3000))
    else:
        paint = leaves(rng, rng.uniform(15, 50))
        paint = dataclasses.replace(paint, grain_period=rng.uniform(300, 2500))
    wet = dataclasses.replace(paint, gloss=0.2, mirror=rng.uniform(0.1, 0.35))
    return plane([0, 0, 0], turn_about_y(rng.uniform(0, 3)) @ _GROUND_AXES, wet if rng.random() < 0.12 else paint)


# ---------------------------------------------------------------- buildings


def _masonry(rng: np.random.Generator) -> Paint:
    """Bricks, stones or plaster."""
    kind, color = rng.random(), warm_tone(rng, 0.4, 0.9)
    if kind < 0.35:
        return picture_of(rng, "masonry", rng.uniform(2000, 6000), 0.1)
    if kind < 0.6:
        pattern = int(rng.choice([render.CELLS, render.MOSAIC]))
        return Paint(shades(color, 0.12), pattern, rng.uniform(250, 900), grain=0.2, grain_period=1200.0)
    if kind < 0.75:
        return picture_of(rng, "plaster", rng.uniform(3000, 9000), 0.1)
    return bare(rng, color, 0.08)


def _front(rng: np.random.Generator, width: float, height: float) -> Group:
    """A wall with real reveals about its windows, at z = 0 with its face towards -z; cornices, piers and a roof."""
    wall, trim, deep = _masonry(rng), _masonry(rng), rng.uniform(120, 500)
    glass = dataclasses.replace(bare(rng, tone(rng, 0.05, 0.3, 0.3)), gloss=0.3, mirror=rng.uniform(0.1, 0.5))
    glass = picture_of(rng, "leaves", 3000.0) if rng.random() < 0.25 else glass
    columns, rows = max(1, min(7, int(width / rng.uniform(2200, 4500)))), max(1, min(4, int(height / 3400)))
    pitch_x, pitch_y = width / columns, height / rows
    open_x, open_y = pitch_x * rng.uniform(0.25, 0.5), pitch_y * rng.uniform(0.35, 0.6)
    parts = [box([0, -height / 2, deep + 150], [width, height, 300], glass)]
    for i in range(columns + 1):  # piers between the windows, half ones at the ends
        left = -width / 2 + max(0.0, (i - 0.5) * pitch_x + open_x / 2)
        right = -width / 2 + min(width, (i + 0.5) * pitch_x - open_x / 2)
        parts.append(box([(left + right) / 2, -height / 2, deep / 2], [right - left, height, deep], wall))
    for i in range(columns):  # what is between the windows of a column: from sill to lintel
        x = -width / 2 + (i + 0.5) * pitch_x
        for j in range(rows + 1):
            low = max(0.0, (j - 0.5) * pitch_y + open_y / 2)
            high = min(height, (j + 0.5) * pitch_y - open_y / 2)
            parts.append(box([x, -(low + high) / 2, deep / 2], [open_x, high - low, deep * 0.98], wall))
    if rng.random() < 0.7:
        bars = bare(rng, tone(rng, 0.5, 0.95, 0.2))
        thick = rng.uniform(40, 90)
        parts += [
            box([-width / 2 + (i + 0.5) * pitch_x, -height / 2, deep - 30], [thick, height * 0.96, 60], bars)
            for i in range(columns)
        ]
    parts += _ornaments(rng, width, height, (columns, rows), trim)
    if rng.random() < 0.6:
        roof = picture_of(rng, "planks", 1500.0) if rng.random() < 0.5 else bare(rng, warm_tone(rng, 0.15, 0.6), 0.2)
        tilt = np.array([[1.0, 0, 0], [0, 0.7071, -0.7071], [0, 0.7071, 0.7071]])
        half = np.array([width / 2 + 200, height * rng.uniform(0.12, 0.3), 80])
        parts.append(Part(render.BOX, half, np.array([0, -height - 0.65 * half[1], 0.7 * half[1]]), roof, tilt))
    return parts


def _ornaments(rng: np.random.Generator, width: float, height: float, grid: tuple[int, int], trim: Paint) -> Group:
    """Cornices, pilasters, sills, buttresses and pipes before a front."""
    columns, rows = grid
    parts: Group = []
    for j in range(1, rows + 1):
        if rng.random() < 0.6:
            parts.append(box([0, -height * j / rows, -60], [width, rng.uniform(120, 400), rng.uniform(100, 500)], trim))
    if rng.random() < 0.7:
        parts.append(box([0, -rng.uniform(200, 600), -40], [width, 700, rng.uniform(60, 250)], trim))
    pilaster = rng.random()
    for i in range(columns + 1):
        x = -width / 2 + i * width / columns
        if pilaster < 0.25:
            parts.append(box([x, -height / 2, -100], [rng.uniform(250, 700), height, 400], trim))
        elif pilaster < 0.45:
            parts.append(rod([x, 0, -250], [x, -height * 0.9, -250], 180.0, trim))
        elif pilaster < 0.6 and rng.random() < 0.4:
            parts.append(rod([x, 0, -80], [x, -height, -80], 50.0, metal(rng)))
    return parts


def _portal(rng: np.random.Generator, height: float) -> Group:
    """Steps up to a door between columns, under a gable or an arch."""
    width, tall = rng.uniform(2000, 4000), min(rng.uniform(3000, 6500), 0.7 * height)
    stone, door = _masonry(rng), bare(rng, warm_tone(rng, 0.08, 0.4), 0.2)
    steps = int(rng.integers(0, 6))
    parts = [box([0, -75 - 150 * k, -300 - 200 * (steps - k)], [width + 1200, 150, 600], stone) for k in range(steps)]
    foot = -150.0 * steps
    parts.append(box([0, foot - tall * 0.4, -40], [width * 0.55, tall * 0.8, 120], door))
    for k in range(int(rng.integers(1, 4))):  # nested frames, each farther out and nearer to the visitor
        x, z = width * (0.3 + 0.09 * k), -120.0 - 170.0 * k
        for s in (-1, 1):
            start, end = [s * x, foot, z], [s * x, foot - tall * 0.8, z]
            post = box([s * x, foot - tall * 0.4, z], [200, tall * 0.8, 180], stone)
            parts.append(rod(start, end, rng.uniform(60, 130), stone) if k % 2 else post)
        parts.append(box([0, foot - tall * (0.83 + 0.05 * k), z], [2 * x + 260, 300, 260], stone))
    if rng.random() < 0.4:
        size = np.array([width * 0.65, 250, tall * 0.15])
        parts.append(Part(render.CONE, size, np.array([0, foot - tall * 1.1, -150]), stone, UPRIGHT))
    return parts


# ---------------------------------------------------------------- things outdoors


def _street_things(
    rng: np.random.Generator, half: float, along: tuple[float, float], count: int, clear: float = 0.0
) -> list[Group]:
    """Trees, bushes, cars, posts, signs, monuments and walls at random places, none within `clear` of the origin."""
    makers = (_tree, _bush, _bush, _car, _post, _post, _post, lambda rng: _monument(rng, 1.0), _low_wall)
    groups = []
    for _ in range(count):
        place = np.array([rng.uniform(-1, 1) * half, 0, rng.uniform(*along)])
        parts = makers[rng.integers(len(makers))](rng)
        if np.hypot(place[0], place[2]) > clear:
            groups.append(moved(parts, rng.uniform(0, 2 * np.pi), place))
    return groups


def _tree(rng: np.random.Generator) -> Group:
    height, radius = rng.uniform(3000, 9000), rng.uniform(80, 300)
    bark = dataclasses.replace(bare(rng, warm_tone(rng, 0.15, 0.45)), grain=0.5, grain_period=rng.uniform(80, 400))
    parts = [rod([0, 0, 0], [rng.normal(0, 200), -0.6 * height, 0], radius, bark)]
    paint = leaves(rng, rng.uniform(40, 120))
    if rng.random() < 0.25:
        return [*parts, cone([0, -0.15 * height, 0], 0.25 * height, 0.9 * height, paint)]
    for _ in range(int(rng.integers(10, 28))):
        radii = rng.uniform(0.04, 0.14, 3) * height
        at = np.array([rng.normal(0, 0.13), -rng.uniform(0.45, 1.0), rng.normal(0, 0.13)]) * height
        parts.append(ball(at, radii, paint))
        if rng.random() < 0.3:
            parts.append(rod([0, -0.45 * height, 0], at, radius * 0.3, bark))
    return parts


def _bush(rng: np.random.Generator) -> Group:
    size, paint = rng.uniform(400, 1600), leaves(rng, rng.uniform(30, 120))
    at = rng.normal(0, 0.35, (int(rng.integers(4, 14)), 3)) * size
    return [ball([x, -abs(y) - 0.3 * size, z], rng.uniform(0.3, 0.6, 3) * size, paint) for x, y, z in at]


def _car(rng: np.random.Generator) -> Group:
    """A body, a cabin of dark glass and four wheels."""
    length, width = rng.uniform(3600, 4800), rng.uniform(1600, 1850)
    body = dataclasses.replace(bare(rng, tone(rng, 0.1, 0.9, 0.8)), gloss=0.3, shine=60.0, mirror=0.2)
    glass = dataclasses.replace(bare(rng, tone(rng, 0.02, 0.15)), gloss=0.2, mirror=0.25)
    tyre = bare(rng, tone(rng, 0.02, 0.1), 0.1)
    parts = [
        box([0, -620, 0], [length, 600, width], body),
        ball([0, -900, 0], [length * 0.35, 550, width * 0.48], glass),
        box([0, -1390, 0], [length * 0.3, 60, width * 0.7], body),
    ]
    for x in (-0.31, 0.31):
        parts += [
            rod([x * length, -320, s * width * 0.5 - 90], [x * length, -320, s * width * 0.5 + 90], 320, tyre)
            for s in (-1, 1)
        ]
    return parts


def _post(rng: np.random.Generator) -> Group:
    """A thin post, with a sign, a lamp or a bin, or a row of them."""
    height, paint = rng.uniform(900, 4500), metal(rng)
    radius, count = rng.uniform(20, 70), int(rng.choice([1, 1, 3, 5]))
    parts = [rod([1200.0 * k, 0, 0], [1200.0 * k, -height, 0], radius, paint) for k in range(count)]
    if count > 1:
        parts += [rod([0, -h * height, 0], [1200.0 * (count - 1), -h * height, 0], 18, paint) for h in (0.5, 0.95)]
    elif rng.random() < 0.6:
        sign = picture_of(rng, "page", rng.uniform(500, 1500))
        parts.append(box([0, -height, -30], [rng.uniform(400, 1200), rng.uniform(300, 900), 30], sign))
    return parts


def _low_wall(rng: np.random.Generator) -> Group:
    length, height, stone = rng.uniform(1500, 6000), rng.uniform(400, 1500), _masonry(rng)
    cap = box([0, -height, 0], [length + 100, 80, 400], _masonry(rng))
    return [box([0, -height / 2, 0], [length, height, 300], stone), cap]


def _monument(rng: np.random.Generator, scale: float) -> Group:
    """A statue of rounded pieces on a pedestal, a fountain, or a thick trunk."""
    stone = dataclasses.replace(_masonry(rng), grain=rng.uniform(0.1, 0.4), grain_period=rng.uniform(100, 600))
    base = rng.uniform(500, 1000)
    parts = [
        box([0, -base * 0.1, 0], [base * 1.6, base * 0.2, base * 1.6], stone),
        box([0, -base * 0.6, 0], [base, base, base], _masonry(rng)),
    ]
    y = -base
    if rng.random() < 0.3:
        parts.append(rod([0, y, 0], [0, y - rng.uniform(500, 2500), 0], base * 0.3, stone))
    for _ in range(int(rng.integers(5, 14))):
        radii = rng.uniform(0.12, 0.4, 3) * base
        parts.append(ball([rng.normal(0, 0.2) * base, y - 0.6 * radii[1], rng.normal(0, 0.15) * base], radii, stone))
        y -= radii[1] * rng.uniform(0.2, 0.9)
    return [dataclasses.replace(part, size=part.size * scale, centre=part.centre * scale) for part in parts]

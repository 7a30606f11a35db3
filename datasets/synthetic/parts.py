"""What places are built of: painted parts, put together in frames of their own. y points down, lengths are in mm."""

import colorsys
import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from datasets.synthetic import render

# The pictures of a place, in this order: how many of each family. Photographs take the places of paintings.
FAMILIES = {"leaves": 5, "masonry": 2, "page": 2, "planks": 3, "plaster": 2}


@dataclasses.dataclass(frozen=True)
class Paint:
    """A surface's colours [3, 3] and texture, as in `render.SOLID`."""

    colors: np.ndarray
    pattern: int = render.PLAIN
    period: float = 100.0
    picture: int = 0
    warp: float = 0.0
    grain: float = 0.0
    grain_period: float = 100.0
    bare: float = 0.0
    gloss: float = 0.0
    shine: float = 30.0
    mirror: float = 0.0
    glow: float = 0.0


@dataclasses.dataclass(frozen=True)
class Part:
    """A primitive of half-sizes `size` [3] about `centre` [3]; parent_R_unit [3, 3]. Backgrounds close rays."""

    kind: int
    size: np.ndarray
    centre: np.ndarray
    paint: Paint
    parent_R_unit: np.ndarray = dataclasses.field(default_factory=lambda: np.eye(3))
    is_background: bool = False

    @property
    def reach(self) -> float:
        """Radius of a sphere about it."""
        if self.is_background:
            return np.inf
        return float(self.size.max() if self.kind == render.ELLIPSOID else np.linalg.norm(self.size))


Group = list[Part]  # parts that stand together, as those of a table


@dataclasses.dataclass(frozen=True)
class Place:
    """A scene without cameras, lengths in mm, y down, the ground at y = 0.

    solids: SOLID records; half: half-sizes [2] (x, z) of the ground about the origin where people walk; eyes: least and
    greatest height of cameras; targets: points [n, 3] worth looking at; lamps: places [n, 3]; walks: those of
    `kinds.RIGS_OF_PLACES` that suit it, all where empty; nearest: nothing comes nearer to a camera, mm; limit: what is
    deeper has no known depth, mm; open_air: lit by sky and sun.
    """

    solids: np.ndarray
    half: np.ndarray
    eyes: tuple[float, float]
    targets: np.ndarray
    lamps: np.ndarray
    walks: tuple[str, ...] = ()
    nearest: float = 350.0
    limit: float = np.inf
    open_air: bool = False


def turn_about_y(angle: float) -> np.ndarray:
    """Rotation matrix [3, 3] that turns the z axis towards the x axis."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


UPRIGHT = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # a cylinder's or cone's axis along y, a cone's tip up


def box(centre: Sequence[float], size: Sequence[float], paint: Paint, turn: float = 0.0) -> Part:
    """A box of full sizes (x, y, z), turned about y."""
    return Part(render.BOX, np.array(size, float) / 2, np.array(centre, float), paint, turn_about_y(turn))


def rod(start: Sequence[float], end: Sequence[float], radius: float, paint: Paint) -> Part:
    """A cylinder from one point to another."""
    start, end = np.array(start, float), np.array(end, float)
    axis, length = (end - start) / np.linalg.norm(end - start), np.linalg.norm(end - start)
    aside = np.cross(axis, [1.0, 0, 0] if abs(axis[0]) < 0.9 else [0, 1.0, 0])
    aside /= np.linalg.norm(aside)
    rotation = np.stack([aside, np.cross(axis, aside), axis], axis=1)
    return Part(render.CYLINDER, np.array([radius, radius, length / 2]), (start + end) / 2, paint, rotation)


def ball(centre: Sequence[float], radii: Sequence[float], paint: Paint) -> Part:
    """An ellipsoid along the axes."""
    return Part(render.ELLIPSOID, np.array(radii, float), np.array(centre, float), paint)


def cone(foot: Sequence[float], radius: float, height: float, paint: Paint) -> Part:
    """A cone that stands on its foot."""
    centre = np.array(foot, float) - [0, height / 2, 0]
    return Part(render.CONE, np.array([radius, radius, height / 2]), centre, paint, UPRIGHT)


def plane(point: Sequence[float], parent_R_unit: np.ndarray, paint: Paint) -> Part:
    """A plane of the background; its normal and the axes of its texture are the columns of the rotation."""
    return Part(render.PLANE, np.ones(3), np.array(point, float), paint, parent_R_unit, True)


def moved(parts: Iterable[Part], turn: float, place: Sequence[float]) -> Group:
    """The parts turned about the origin's y axis, then moved."""
    rotation = turn_about_y(turn)
    return [
        dataclasses.replace(
            part, centre=rotation @ part.centre + np.array(place, float), parent_R_unit=rotation @ part.parent_R_unit
        )
        for part in parts
    ]


def solids_of(rng: np.random.Generator, backgrounds: Group, groups: Sequence[Group]) -> np.ndarray:
    """SOLID records [n]: the backgrounds, then the groups, each with a sphere about all its parts."""
    solids = np.zeros(len(backgrounds) + sum(map(len, groups)), render.SOLID)
    first = 0
    for parts in ([part] for part in backgrounds):
        _fill(rng, solids[first], parts[0])
        first += 1
    for parts in groups:
        for solid, part in zip(solids[first : first + len(parts)], parts, strict=True):
            _fill(rng, solid, part)
        if len(parts) > 1:
            centre = np.mean([part.centre for part in parts], axis=0)
            reach = max(np.linalg.norm(part.centre - centre) + part.reach for part in parts)
            solids["members"][first] = len(parts)
            solids["group_centre"][first], solids["group_reach"][first] = centre, reach
        first += len(parts)
    return solids


def _fill(rng: np.random.Generator, solid: np.void, part: Part) -> None:
    solid["kind"], solid["centre"], solid["is_background"] = part.kind, part.centre, part.is_background
    solid["reach"] = part.reach
    unit_R_world = part.parent_R_unit.T / part.size[:, None]
    solid["unit_T_world"] = np.column_stack([unit_R_world, -unit_R_world @ part.centre])
    offset = rng.uniform(0, 1000, 3)
    solid["texture_T_world"] = np.column_stack([part.parent_R_unit.T, offset - part.parent_R_unit.T @ part.centre])
    for field in dataclasses.fields(Paint):
        solid[field.name] = getattr(part.paint, field.name)
    solid["salt"] = rng.integers(0, 1 << 20) * 64


# ---------------------------------------------------------------- paints


def tone(rng: np.random.Generator, low: float, high: float, colourful: float = 0.15) -> np.ndarray:
    """A random colour [3] between two brightnesses; `colourful` is the largest saturation."""
    return np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(0, colourful), rng.uniform(low, high)))


def warm_tone(rng: np.random.Generator, low: float, high: float) -> np.ndarray:
    """A colour [3] of wood, stone or earth."""
    return np.array(colorsys.hsv_to_rgb(rng.uniform(0.03, 0.13), rng.uniform(0.1, 0.6), rng.uniform(low, high)))


def shades(color: np.ndarray, contrast: float) -> np.ndarray:
    """Colours [3, 3]: darker, brighter and as it is."""
    return np.array([color * (1 - contrast), color * (1 + contrast), color])


def bare(rng: np.random.Generator, color: np.ndarray, grain: float = 0.035) -> Paint:
    """One colour with a faint grain: painted walls, plastic, lacquer."""
    return Paint(
        shades(color, 0.01), grain=grain * rng.uniform(0.2, 1.5), grain_period=rng.uniform(20, 400), shine=40.0
    )


def picture_of(rng: np.random.Generator, family: str, period: float, grain: float = 0.03) -> Paint:
    """Papered with a picture of a family, `period` mm wide."""
    names = [name for name, count in FAMILIES.items() for _ in range(count)]
    index = int(rng.choice([i for i, name in enumerate(names) if name == family]))
    return Paint(np.full((3, 3), 0.5), render.PICTURE, period, index, grain=grain, grain_period=period / 5)


def lacquered(paint: Paint, rng: np.random.Generator, most: float = 0.4) -> Paint:
    """The paint with highlights and, sometimes, a mirror at grazing sight."""
    mirror = rng.uniform(0.1, most) if rng.random() < 0.6 else 0.0
    return dataclasses.replace(paint, gloss=rng.uniform(0.03, 0.3), shine=rng.uniform(15, 90), mirror=mirror)


def wood(rng: np.random.Generator) -> Paint:
    """Boards, or wood without any visible grain."""
    if rng.random() < 0.8:
        return picture_of(rng, "planks", rng.uniform(300, 1500), 0.1)
    return bare(rng, warm_tone(rng, 0.2, 0.85), 0.06)


def furniture_paint(rng: np.random.Generator) -> Paint:
    """Wood, white or black lacquer, or a colour; mostly with little texture."""
    kind = rng.random()
    if kind < 0.55:
        paint = wood(rng)
    elif kind < 0.7:
        paint = bare(rng, tone(rng, 0.75, 0.95, 0.05))
    elif kind < 0.85:
        paint = bare(rng, tone(rng, 0.03, 0.15, 0.2))
    else:
        paint = bare(rng, tone(rng, 0.2, 0.8, 0.7))
    return lacquered(paint, rng, 0.25) if rng.random() < 0.4 else paint


def cloth(rng: np.random.Generator) -> Paint:
    """Covers, carpets and curtains."""
    color = tone(rng, 0.15, 0.8, 0.6)
    pattern = int(
        rng.choice([render.PLAIN, render.BLOTCHES, render.STRIPES, render.CHECKS], p=[0.45, 0.25, 0.15, 0.15])
    )
    return Paint(
        shades(color, rng.uniform(0.05, 0.4)),
        pattern,
        rng.uniform(8, 150),
        grain=rng.uniform(0.05, 0.3),
        grain_period=rng.uniform(8, 100),
    )


def metal(rng: np.random.Generator) -> Paint:
    """Dark or bright metal with strong highlights."""
    color = tone(rng, 0.05, 0.2) if rng.random() < 0.5 else tone(rng, 0.5, 0.7)
    return dataclasses.replace(bare(rng, color), gloss=rng.uniform(0.2, 0.7), shine=rng.uniform(20, 80))


def leaves(rng: np.random.Generator, size: float) -> Paint:
    """Foliage with leaves of about `size` mm."""
    green = np.array(colorsys.hsv_to_rgb(rng.uniform(0.2, 0.38), rng.uniform(0.35, 0.75), rng.uniform(0.15, 0.45)))
    return Paint(
        shades(green, rng.uniform(0.4, 0.7)),
        int(rng.choice([render.BLOTCHES, render.CELLS])),
        size,
        warp=size * rng.uniform(0.2, 0.6),
        grain=rng.uniform(0.3, 0.6),
        grain_period=3 * size,
    )


def glowing(color: np.ndarray, strength: float) -> Paint:
    """Shines by itself, as a lamp or a sky does."""
    return Paint(shades(color, 0.0), glow=strength)

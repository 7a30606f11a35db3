"""Random scenes: what stands in them, its paint and its light. World: origin in the middle, z away from the cameras."""

import colorsys
import dataclasses
from collections.abc import Sequence

import numpy as np

from datasets.camera import Camera
from datasets.synthetic import render

MAX_TRIES = 200
DISTANT = 500.0  # mm, before everything


@dataclasses.dataclass(frozen=True)
class Style:
    """What scenes look like.

    near, far: depths they may hold, mm, by default inside 425 .. 902 (192 values 2.5 mm apart) with some room; scale:
    of everything's size and place; pictures: how many there are to paper solids with, 0 for plain scenes, which also
    have no highlights and no thin parts.
    """

    near: float = 440.0
    far: float = 890.0
    scale: float = 1.0
    pictures: int = 0


class SceneError(ValueError):
    """No scene of this size fits into the depth range."""


def random_solids(
    rng: np.random.Generator, cameras: Sequence[Camera], width: int, height: int, style: Style
) -> np.ndarray:
    """SOLID records [n]: a background that closes every ray within the depth range, and solids before and on it.

    Raises SceneError when no background fits, as for very long images.
    """
    shapes = _random_background(rng, cameras, width, height, style)
    backgrounds = len(shapes)
    ground = _assemble(rng, shapes, backgrounds, style)
    crowded = rng.random() < 0.3
    count = rng.integers(9, 16) if crowded else rng.integers(4, 9)
    largest = 45.0 if crowded else 85.0
    solids = [_random_solid(rng, cameras, ground, largest, style) for _ in range(count)]
    shapes += [solid for solid in solids if solid is not None]
    if style.pictures:
        details = _ledges(rng, shapes[backgrounds - 1], style) if rng.random() < 0.4 else []
        details += _thin_parts(rng, ground, style)
        for kind, world_R_unit, size, centre in details:
            if _nearest_depth(cameras, kind, size, centre) >= style.near:
                shapes.append((kind, world_R_unit, size, centre))
    return _assemble(rng, shapes, backgrounds, style)


def random_light(rng: np.random.Generator) -> np.ndarray:
    """A LIGHT record [1]."""
    light = np.zeros(1, render.LIGHT)
    angle, tilt = rng.uniform(0, 2 * np.pi), rng.uniform(0.35, 0.95)
    exposure, ambient = rng.uniform(0.95, 1.2), rng.uniform(0.3, 0.5)
    light["direction"] = np.sin(tilt) * np.cos(angle), np.sin(tilt) * np.sin(angle), -np.cos(tilt)
    light["strength"] = 1.15 * exposure * (1 - ambient) * rng.uniform(0.92, 1.06, 3)
    light["ambient"] = exposure * ambient * rng.uniform(0.95, 1.05, 3)
    return light


# ---------------------------------------------------------------- shapes

Shape = tuple[int, np.ndarray, np.ndarray, np.ndarray]  # kind, world_R_unit [3, 3], size [3] mm, centre [3] mm


def _rotation(axis: np.ndarray, angle: float) -> np.ndarray:
    """Rotation matrix [3, 3] about an axis (Rodrigues)."""
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def _random_rotation(rng: np.random.Generator, limit: float = np.pi) -> np.ndarray:
    return _rotation(rng.normal(size=3), rng.uniform(0, limit))


def _plane(tilt: float, direction: float, point: np.ndarray) -> Shape:
    """A plane through a point, its normal turned by `tilt` from the viewing axis towards `direction` (radians)."""
    axis = np.array([-np.sin(direction), np.cos(direction), 0.0])
    return render.PLANE, _rotation(axis, tilt), np.ones(3), point


def _random_background(
    rng: np.random.Generator, cameras: Sequence[Camera], width: int, height: int, style: Style
) -> list[Shape]:
    """One slanted plane, ground and wall, a corner of three walls, or the inside of a bowl."""
    kind = rng.choice(["plane", "ground", "corner", "bowl"], p=[0.35, 0.35, 0.15, 0.15])
    for attempt in range(MAX_TRIES):
        calm = 0.98**attempt  # steep backgrounds fit rarely: become flatter until one fits
        point = style.scale * np.array([rng.uniform(-20, 20), rng.uniform(-20, 20), rng.uniform(70, 150)])
        turn = rng.uniform(0, 2 * np.pi) if kind == "corner" else rng.normal(0, 0.12)
        if kind == "plane":
            shapes = [_plane(calm * rng.uniform(0, 0.45), rng.uniform(0, 2 * np.pi), point)]
        elif kind == "ground":
            ground = calm * rng.uniform(0.5, 0.95)
            wall = calm * min(np.pi / 2 - ground, rng.uniform(0.1, 0.6))
            shapes = [_plane(-ground, np.pi / 2 + turn, point), _plane(wall, np.pi / 2 + turn, point)]
        elif kind == "corner":
            shapes = [_plane(calm * rng.uniform(0.35, 0.65), turn + 2 * np.pi / 3 * k, point) for k in range(3)]
        else:
            radii = style.scale * rng.uniform(260, 500, 3)
            shapes = [(render.BOWL, _random_rotation(rng, 0.3), radii, point - [0, 0, radii[2]])]
        near, far = _depth_limits(_assemble(rng, shapes, len(shapes), style), cameras, width, height)
        if near >= style.near and far <= style.far:
            return shapes
    raise SceneError(f"no background fits the depth range for images of {width}x{height}")


def _depth_limits(
    solids: np.ndarray, cameras: Sequence[Camera], width: int, height: int, steps: int = 17
) -> tuple[float, float]:
    """Smallest and largest depth over all views, mm, on a grid of pixels that holds the corners."""
    xs, ys = np.linspace(-0.5, width - 0.5, steps), np.linspace(-0.5, height - 0.5, steps)
    depths = [render.render_depth(solids, camera.world_T_img(), xs, ys) for camera in cameras]
    return float(np.min(depths)), float(np.max(depths))


def _reach(kind: int, size: np.ndarray) -> float:
    """Radius in mm of a sphere about a solid."""
    return float(size.max() if kind == render.ELLIPSOID else np.linalg.norm(size))


def _nearest_depth(cameras: Sequence[Camera], kind: int, size: np.ndarray, centre: np.ndarray) -> float:
    """A depth (mm) that nothing of the shape is nearer than in any camera."""
    depths = [(camera.cam_T_world[:3, :3] @ centre + camera.cam_T_world[:3, 3])[2] for camera in cameras]
    return min(depths) - _reach(kind, size)


def _floor(ground: np.ndarray, x: float, y: float) -> float:
    """World z (mm) of the background at (x, y)."""
    along_z = np.array([[0, 0, 0, x], [0, 0, 0, y], [0, 0, 1.0, -DISTANT]])
    return float(render.render_depth(ground, along_z, np.zeros(1), np.zeros(1))[0, 0]) - DISTANT


def _random_solid(
    rng: np.random.Generator, cameras: Sequence[Camera], ground: np.ndarray, largest: float, style: Style
) -> Shape | None:
    """A solid that rests on the background or floats before it; None where it would come too near to a camera."""
    kind = rng.choice([render.ELLIPSOID, render.BOX, render.CYLINDER, render.CONE], p=[0.3, 0.4, 0.2, 0.1])
    size = np.exp(rng.uniform(np.log(18.0), np.log(largest))) * np.exp(rng.uniform(-0.6, 0.25, 3))
    if kind == render.ELLIPSOID and rng.random() < 0.4:
        size[:] = size[0]
    if kind in (render.CYLINDER, render.CONE):
        size[1] = size[0]
    x, y = style.scale * rng.uniform(-125, 125), style.scale * rng.uniform(-100, 100)
    lift = size.mean() * rng.uniform(0.3, 0.9) if rng.random() < 0.6 else rng.uniform(40, 160)
    centre, size = np.array([x, y, _floor(ground, x, y) - style.scale * lift]), style.scale * size
    if _nearest_depth(cameras, kind, size, centre) < style.near:
        return None
    return int(kind), _random_rotation(rng), size, centre


def _thin_parts(rng: np.random.Generator, ground: np.ndarray, style: Style) -> list[Shape]:
    """Up to three groups of parallel rods or plates a few millimetres thick."""
    shapes = []
    for _ in range(rng.integers(0, 4)):
        x, y = style.scale * rng.uniform(-110, 110, 2)
        world_R_unit, length = _random_rotation(rng), rng.uniform(50, 140)
        if rng.random() < 0.7:
            kind, size, count = render.CYLINDER, np.array([1, 1, length / 3]) * [*2 * [rng.uniform(1.5, 5)], 3], 5
        else:
            kind, size, count = render.BOX, np.array([length, rng.uniform(20, 60), rng.uniform(1, 3)]), 2
        pitch = rng.uniform(12, 40) * world_R_unit[:, 0 if kind == render.CYLINDER else 2]
        middle = np.array([x, y, _floor(ground, x, y) - style.scale * rng.uniform(10, 120)])
        for k in range(rng.integers(1, count + 1)):
            shapes.append((kind, world_R_unit, style.scale * size, middle + style.scale * k * pitch))
    return shapes


def _ledges(rng: np.random.Generator, wall: Shape, style: Style) -> list[Shape]:
    """Equal boxes in a regular grid on a wall, like the bays of a facade; none on a bowl."""
    kind, world_R_unit, _, point = wall
    if kind != render.PLANE:
        return []
    pitch, rows, columns = rng.uniform(45, 90, 2), rng.integers(1, 4), rng.integers(2, 5)
    size = np.array([*(pitch * rng.uniform(0.25, 0.42, 2)), rng.uniform(5, 30)])
    places = [(i - (columns - 1) / 2, j - (rows - 1) / 2) for i in range(columns) for j in range(rows)]
    offset = rng.uniform(-40, 40, 2)
    return [
        (
            render.BOX,
            world_R_unit,
            style.scale * size,
            point + style.scale * world_R_unit[:, :2] @ (pitch * place + offset),
        )
        for place in np.array(places)
    ]


# ---------------------------------------------------------------- paint


def _random_colors(rng: np.random.Generator) -> np.ndarray:
    """Three RGB colours [3, 3] in 0..1; the first two contrast."""
    dark, bright = rng.uniform(0.15, 0.4), rng.uniform(0.55, 0.9)
    values = [dark, bright, rng.uniform(0.2, 0.9)]
    if rng.random() < 0.5:
        values[:2] = bright, dark
    hue, colourful = rng.random(), rng.choice([0.15, 0.5, 0.8])
    hues = hue + np.array([0, rng.choice([0.03, 0.3, 0.5]), rng.random()])
    return np.array(
        [colorsys.hsv_to_rgb(h % 1.0, rng.uniform(0, colourful), v) for h, v in zip(hues, values, strict=True)]
    )


def _assemble(rng: np.random.Generator, shapes: list[Shape], backgrounds: int, style: Style) -> np.ndarray:
    """Paint the shapes: SOLID records [n]."""
    solids = np.zeros(len(shapes), render.SOLID)
    for i, (solid, (kind, world_R_unit, size, centre)) in enumerate(zip(solids, shapes, strict=True)):
        solid["kind"], solid["centre"], solid["is_background"] = kind, centre, i < backgrounds
        solid["reach"] = np.inf if i < backgrounds else _reach(kind, size)
        unit_R_world = world_R_unit.T / size[:, None]
        solid["unit_T_world"] = np.column_stack([unit_R_world, -unit_R_world @ centre])
        # Patterns follow the shape or cut it at an angle; the offset keeps their edges off its faces.
        texture_R_world = (_random_rotation(rng) if rng.random() < 0.5 else np.eye(3)) @ world_R_unit.T
        offset = rng.uniform(0, 1000, 3)
        solid["texture_T_world"] = np.column_stack([texture_R_world, offset - texture_R_world @ centre])
        _paint(rng, solid)
    if style.pictures:
        _paper(rng, solids, style)
    return solids


def _paper(rng: np.random.Generator, solids: np.ndarray, style: Style) -> None:
    """Put pictures and highlights on most solids. Some scenes are poor: on half of their surfaces nothing is left but
    shading and a faint grain."""
    poor = rng.random() < 0.2
    for solid in solids:
        solid["grain"] *= rng.uniform(0.1, 1.0)
        solid["period"] *= style.scale
        solid["grain_period"] *= style.scale
        if poor and rng.random() < 0.5:
            solid["pattern"], solid["grain"] = render.PLAIN, rng.uniform(0.02, 0.1)
        elif rng.random() < 0.75:
            solid["pattern"], solid["picture"] = render.PICTURE, rng.integers(style.pictures)
            solid["period"] = style.scale * _log_uniform(rng, 100, 600)
            solid["grain"] *= 0.3
        if rng.random() < 0.35:
            solid["gloss"], solid["shine"] = rng.uniform(0.05, 0.5), _log_uniform(rng, 8, 100)


def _paint(rng: np.random.Generator, solid: np.void) -> None:
    """Choose colours and texture of a solid."""
    period = _log_uniform(rng, 22, 80) if solid["is_background"] else _log_uniform(rng, 14, 60)
    solid["pattern"] = rng.choice(render.RINGS + 1, p=[0.08, 0.2, 0.1, 0.1, 0.16, 0.14, 0.06, 0.08, 0.08])
    solid["colors"] = _random_colors(rng)
    solid["period"] = period
    solid["warp"] = rng.uniform(0.2, 0.8) * period if rng.random() < 0.4 else 0.0
    # Smooth objects are worth having; a smooth or strictly periodic background would leave a whole scene undecided.
    smoothest = 0.2 if solid["is_background"] else 0.05
    solid["grain"] = max(smoothest, rng.choice([0.05, 0.2, 0.35, 0.5], p=[0.1, 0.25, 0.35, 0.3]))
    solid["grain_period"] = _log_uniform(rng, 10, 60)
    solid["bare"] = rng.uniform(0.1, 0.4) if rng.random() < 0.25 else 0.0
    solid["salt"] = rng.integers(0, 1 << 20) * 64


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))

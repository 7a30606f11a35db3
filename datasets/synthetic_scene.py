"""Random scenes: what stands in them, its paint and its light. World: origin in the middle, z away from the cameras."""

import colorsys
from collections.abc import Sequence

import numpy as np

from datasets import synthetic_render as render
from datasets.io import Camera

# The depths a scene may hold, mm, inside 425 .. 902 (192 values 2.5 mm apart) with some room.
NEAREST, FARTHEST = 440.0, 890.0
MAX_TRIES = 200


class SceneError(ValueError):
    """No scene of this size fits into the depth range."""


def random_solids(rng: np.random.Generator, cameras: Sequence[Camera], width: int, height: int) -> render.Solids:
    """A background that closes every ray of the cameras within the depth range, and solids before and on it.

    Raises SceneError when no background fits, as for very long images.
    """
    shapes = _random_background(rng, cameras, width, height)
    backgrounds = len(shapes)
    ground = _assemble(rng, shapes, backgrounds)
    crowded = rng.random() < 0.3
    count = rng.integers(9, 16) if crowded else rng.integers(4, 9)
    largest = 45.0 if crowded else 85.0
    for _ in range(count):
        shape = _random_solid(rng, cameras, ground, largest)
        if shape is not None:
            shapes.append(shape)
    return _assemble(rng, shapes, backgrounds)


def random_light(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(direction to the light [3], its RGB strength [3], RGB ambient strength [3]) of one light."""
    angle, tilt = rng.uniform(0, 2 * np.pi), rng.uniform(0.35, 0.95)
    direction = np.array([np.sin(tilt) * np.cos(angle), np.sin(tilt) * np.sin(angle), -np.cos(tilt)])
    exposure = rng.uniform(0.75, 1.1)
    tint = rng.uniform(0.92, 1.06, 3)
    ambient = rng.uniform(0.3, 0.5)
    return direction, exposure * (1 - ambient) * 1.15 * tint, exposure * ambient * rng.uniform(0.95, 1.05, 3)


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


def _random_background(rng: np.random.Generator, cameras: Sequence[Camera], width: int, height: int) -> list[Shape]:
    """One slanted plane, ground and wall, a corner of three walls, or the inside of a bowl."""
    kind = rng.choice(["plane", "ground", "corner", "bowl"], p=[0.35, 0.35, 0.15, 0.15])
    for attempt in range(MAX_TRIES):
        calm = 0.98**attempt  # steep backgrounds fit rarely: become flatter until one fits
        point = np.array([rng.uniform(-20, 20), rng.uniform(-20, 20), rng.uniform(70, 150)])
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
            radii = rng.uniform(260, 500, 3)
            shapes = [(render.BOWL, _random_rotation(rng, 0.3), radii, point - [0, 0, radii[2]])]
        near, far = _depth_limits(_assemble(rng, shapes, len(shapes)), cameras, width, height)
        if near >= NEAREST and far <= FARTHEST:
            return shapes
    raise SceneError(f"no background fits the depth range for images of {width}x{height}")


def _depth_limits(
    solids: render.Solids, cameras: Sequence[Camera], width: int, height: int, steps: int = 17
) -> tuple[float, float]:
    """Smallest and largest depth over all views, mm, on a grid of pixels that holds the corners."""
    xs, ys = np.linspace(-0.5, width - 0.5, steps), np.linspace(-0.5, height - 0.5, steps)
    depths = [
        render.render_depth(solids, np.linalg.inv(camera.cam_T_world), np.linalg.inv(camera.K), xs, ys)
        for camera in cameras
    ]
    return float(np.min(depths)), float(np.max(depths))


def _random_solid(
    rng: np.random.Generator, cameras: Sequence[Camera], ground: render.Solids, largest: float
) -> Shape | None:
    """A solid that rests on the background or floats before it; None where it would come too near to a camera."""
    kind = rng.choice([render.ELLIPSOID, render.BOX, render.CYLINDER, render.CONE], p=[0.3, 0.4, 0.2, 0.1])
    size = np.exp(rng.uniform(np.log(18.0), np.log(largest))) * np.exp(rng.uniform(-0.6, 0.25, 3))
    if kind == render.ELLIPSOID and rng.random() < 0.4:
        size[:] = size[0]
    if kind in (render.CYLINDER, render.CONE):
        size[1] = size[0]
    x, y = rng.uniform(-125, 125), rng.uniform(-100, 100)
    along_z = np.eye(4)
    along_z[:3, 3] = x, y, -500.0
    floor = float(render.render_depth(ground, along_z, np.eye(3), np.array([0.0]), np.array([0.0]))[0, 0])
    lift = size.mean() * rng.uniform(0.3, 0.9) if rng.random() < 0.6 else rng.uniform(40, 160)
    centre = np.array([x, y, floor - 500.0 - lift])
    reach = float(np.linalg.norm(size)) if kind != render.ELLIPSOID else float(size.max())
    depths = [(camera.cam_T_world[:3, :3] @ centre + camera.cam_T_world[:3, 3])[2] for camera in cameras]
    if min(depths) - reach < NEAREST:
        return None
    return int(kind), _random_rotation(rng), size, centre


# ---------------------------------------------------------------- paint


def _random_colors(rng: np.random.Generator) -> np.ndarray:
    """Three RGB colours [3, 3] in 0..1; the first two contrast."""
    dark, bright = rng.uniform(0.08, 0.35), rng.uniform(0.55, 0.95)
    values = [dark, bright, rng.uniform(0.2, 0.9)]
    if rng.random() < 0.5:
        values[:2] = bright, dark
    hue, colourful = rng.random(), rng.choice([0.15, 0.5, 0.8])
    hues = hue + np.array([0, rng.choice([0.03, 0.3, 0.5]), rng.random()])
    return np.array(
        [colorsys.hsv_to_rgb(h % 1.0, rng.uniform(0, colourful), v) for h, v in zip(hues, values, strict=True)]
    )


def _assemble(rng: np.random.Generator, shapes: list[Shape], backgrounds: int) -> render.Solids:
    """Paint the shapes and gather them in arrays."""
    n = len(shapes)
    unit_T_world, texture_T_world = np.zeros((n, 3, 4)), np.zeros((n, 3, 4))
    for i, (_, world_R_unit, size, centre) in enumerate(shapes):
        unit_T_world[i, :, :3] = world_R_unit.T / size[:, None]
        unit_T_world[i, :, 3] = -unit_T_world[i, :, :3] @ centre
        # Patterns follow the shape or cut it at an angle; the offset keeps their edges off its faces.
        texture_R_unit = _random_rotation(rng) if rng.random() < 0.5 else np.eye(3)
        texture_T_world[i, :, :3] = texture_R_unit @ world_R_unit.T
        texture_T_world[i, :, 3] = -texture_T_world[i, :, :3] @ centre + rng.uniform(0, 1000, 3)
    pattern = rng.choice(render.RINGS + 1, n, p=[0.08, 0.2, 0.1, 0.1, 0.16, 0.14, 0.06, 0.08, 0.08])
    bent = rng.random(n) < 0.4
    period = np.exp(rng.uniform(np.log(14), np.log(60), n))
    return render.Solids(
        kind=np.array([shape[0] for shape in shapes], np.int64),
        unit_T_world=unit_T_world,
        texture_T_world=texture_T_world,
        pattern=pattern.astype(np.int64),
        colors=np.array([_random_colors(rng) for _ in range(n)]),
        period=period,
        warp=np.where(bent, rng.uniform(0.2, 0.8, n) * period, 0.0),
        grain=rng.choice([0.04, 0.15, 0.3, 0.45], n, p=[0.1, 0.3, 0.35, 0.25]),
        grain_period=np.exp(rng.uniform(np.log(10), np.log(60), n)),
        bare=np.where(rng.random(n) < 0.25, rng.uniform(0.1, 0.4, n), 0.0),
        salt=rng.integers(0, 1 << 20, n) * 64,
        backgrounds=backgrounds,
    )

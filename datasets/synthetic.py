"""Procedural scenes with exact depth, in the DTU training layout or the test layout (specs: formats).

For tests, and for training where no data set is at hand. A scene depends on its seed, its size, its rig and the number
of views, and on nothing else: not on how many scenes are made, nor on their order.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from datasets import synthetic_render as render
from datasets.files import DataError, PathLike, check_scan_name, write_bytes
from datasets.io import Camera, write_camera, write_image, write_pairs, write_pfm
from datasets.synthetic_scene import SceneError, random_light, random_solids

DEPTH_LINE = (425.0, 2.5)  # mm: with 192 values and interval scale 1.06 it ends at 931
DISTANCE = 600.0  # mm from the middle of the scene to a camera
RING_ANGLE = np.radians(24.0)  # 250 mm between neighbours: half a pixel per stage-1 hypothesis at 40 pixels' width
MAX_SOURCES = 10
LIGHTS = 7
SAMPLES = 2  # colours are averaged over 2 x 2 rays per pixel


@dataclasses.dataclass(frozen=True)
class Scene:
    """A rendered scene: `cameras` of V views (K for the full image), `images` per light, uint8 RGB [V, H, W, 3], and
    `depths`, float32 [V, H, W] mm along the optical axis at the pixel centres, all inside the cameras' depth range."""

    cameras: list[Camera]
    images: dict[int, np.ndarray]
    depths: np.ndarray


def render_scene(
    seed: int, width: int, height: int, views: int, lights: Sequence[int] = (3,), rig_seed: int | None = None
) -> Scene:
    """Render the scene of a seed, seen by the rig of `rig_seed` (by default a rig of its own).

    Raises DataError when the size or the lights are impossible.
    """
    if not lights or not set(lights) <= set(range(LIGHTS)):
        raise DataError(f"lights {list(lights)}: a scene needs at least one, out of 0..{LIGHTS - 1}")
    cameras = make_rig(seed if rig_seed is None else rig_seed, width, height, views)
    try:
        solids = random_solids(_generator("scene", seed), cameras, width, height)
    except SceneError as error:
        raise DataError(f"scene {seed}: {error}; use sides of similar length") from None
    # A generator for each light: its look does not depend on which others are asked for.
    lamps = np.concatenate([random_light(_generator("light", seed, light)) for light in lights])
    columns, rows = np.arange(float(width)), np.arange(float(height))
    images, depths = [], []
    for camera in cameras:
        rays = render.pixel_rays(camera)
        images.append(render.render_images(solids, lamps, rays, camera.K[0, 0], width, height, SAMPLES))
        depths.append(render.render_depth(solids, rays, columns, rows))
    stacked = np.stack(images, axis=1)
    return Scene(cameras, dict(zip(lights, stacked, strict=True)), np.array(depths, np.float32))


def _generator(purpose: str, *seeds: int) -> np.random.Generator:
    """A random generator of its own for each purpose and seed."""
    return np.random.default_rng([*purpose.encode(), 0, *seeds])


# ---------------------------------------------------------------- cameras


def make_rig(seed: int, width: int, height: int, views: int) -> list[Camera]:
    """`views` cameras that look at the origin: one in the middle and a ring about it, with more than 8 a second ring.

    Neighbours are 220 to 350 mm apart in a rig of 5 to 8 views. Intrinsics are shared, for images of width x height.
    Raises DataError when these are too small or the views too few.
    """
    if views < 2 or min(width, height) < 8:
        raise DataError(f"{views} views of {width}x{height}: a scene needs at least 2 views and images of 8x8")
    rng = _generator("rig", seed)
    inner = 0 if views <= 8 else max(3, (views - 1) // 3)
    outer = views - 1 - inner
    ring = RING_ANGLE * (1.08 if outer == 7 and not inner else 1.0)  # wider, so that neighbours on it keep apart
    tilts = np.repeat([0.0, ring / 2, ring], [1, inner, outer])
    turns = [rng.uniform(0, 2 * np.pi) + np.linspace(0, 2 * np.pi, n, endpoint=False) for n in (1, inner, outer)]
    size = max(width, height)
    focal = 1.8 * size * rng.uniform(0.99, 1.01)
    middle = [(width - 1) / 2, (height - 1) / 2] + rng.uniform(-0.01, 0.01, 2) * size
    K = np.array([[focal, 0, middle[0]], [0, focal, middle[1]], [0, 0, 1]])
    cameras = []
    for tilt, turn in zip(tilts, np.concatenate(turns), strict=True):
        tilt_x, tilt_y = tilt * np.array([np.cos(turn), np.sin(turn)]) + rng.uniform(-0.012, 0.012, 2)
        toward = np.array([np.sin(tilt_x), np.sin(tilt_y) * np.cos(tilt_x), -np.cos(tilt_x) * np.cos(tilt_y)])
        position = DISTANCE * rng.uniform(0.985, 1.015) * toward
        target = rng.uniform(-8, 8, 3)
        cameras.append(_looking_at(K, position, target, roll=rng.normal(0, 0.04)))
    return cameras


def _looking_at(K: np.ndarray, position: np.ndarray, target: np.ndarray, roll: float) -> Camera:
    """A camera at a position (mm, world) that looks at a target; the image's x axis is near the world's."""
    forward = (target - position) / np.linalg.norm(target - position)
    right = np.cross([-np.sin(roll), np.cos(roll), 0.0], forward)
    right /= np.linalg.norm(right)
    cam_T_world = np.eye(4)
    cam_T_world[:3, :3] = np.stack([right, np.cross(forward, right), forward])
    cam_T_world[:3, 3] = -cam_T_world[:3, :3] @ position
    # As precise as a camera file, so that the depth belongs to exactly the camera that is read back.
    return Camera(K.astype(np.float32).astype(float), cam_T_world.astype(np.float32).astype(float), DEPTH_LINE)


def rank_sources(cameras: Sequence[Camera]) -> list[tuple[int, list[tuple[int, float]]]]:
    """For each view its source views with scores, best first: those whose angle at the scene's middle is near 24°."""
    toward = np.array([np.linalg.inv(camera.cam_T_world)[:3, 3] for camera in cameras])
    toward /= np.linalg.norm(toward, axis=1, keepdims=True)
    excess = np.degrees(np.arccos(np.clip(toward @ toward.T, -1, 1)) - RING_ANGLE)
    # Too small an angle says little about depth; a larger one only means more occlusion.
    scores = 100 * np.exp(-0.5 * (excess / np.where(excess < 0, 5.0, 12.0)) ** 2)
    pairs = []
    for reference in range(len(cameras)):
        order = [int(source) for source in np.argsort(-scores[reference], kind="stable") if source != reference]
        pairs.append((reference, [(source, float(scores[reference, source])) for source in order[:MAX_SOURCES]]))
    return pairs


# ---------------------------------------------------------------- layouts


def _nothing(scan: str) -> None:
    """What happens after each scan when nobody wants to know."""


def write_training_layout(
    root: PathLike,
    scans: Mapping[str, int],
    width: int = 160,
    height: int = 128,
    views: int = 6,
    lights: Sequence[int] = (3, 6),
    rig_seed: int = 0,
    done: Callable[[str], None] = _nothing,
) -> None:
    """Write scans, name -> seed, in the DTU training layout with ground truth at the image size.

    All scans share the rig of `rig_seed`, as the layout wants. Camera files hold intrinsics at a quarter of the image
    size. `done` is called with a scan's name when it is complete.
    """
    root = Path(root)
    cameras = make_rig(rig_seed, width, height, views)
    write_pairs(root / "Cameras" / "pair.txt", rank_sources(cameras))
    for view, camera in enumerate(cameras):
        write_camera(root / "Cameras" / "train" / f"{view:08d}_cam.txt", camera.scaled(0.25, 0.25))
    for scan, seed in scans.items():
        check_scan_name(scan, root)
        scene = render_scene(seed, width, height, views, lights, rig_seed)
        for light, images in scene.images.items():
            for view, image in enumerate(images):
                write_image(root / "Rectified" / f"{scan}_train" / f"rect_{view + 1:03d}_{light}_r5000.png", image)
        for view, depth in enumerate(scene.depths):
            folder = root / "Depths_raw" / scan
            write_pfm(folder / f"depth_map_{view:04d}.pfm", depth)
            write_image(folder / f"depth_visual_{view:04d}.png", np.full(depth.shape, 255, np.uint8))
        done(scan)


def write_test_layout(
    root: PathLike,
    scans: Mapping[str, int],
    width: int = 160,
    height: int = 128,
    views: int = 6,
    light: int = 3,
    done: Callable[[str], None] = _nothing,
) -> None:
    """Write scans, name -> seed, in the test layout, each with a rig of its own and exact depth in `gt/%08d.pfm`.

    `done` is called with a scan's name when it is complete.
    """
    for scan, seed in scans.items():
        folder = Path(root) / check_scan_name(scan, root)
        scene = render_scene(seed, width, height, views, (light,))
        write_pairs(folder / "pair.txt", rank_sources(scene.cameras))
        for view, camera in enumerate(scene.cameras):
            write_camera(folder / "cams" / f"{view:08d}_cam.txt", camera)
            write_image(folder / "images" / f"{view:08d}.jpg", scene.images[light][view], quality=95)
            write_pfm(folder / "gt" / f"{view:08d}.pfm", scene.depths[view])
        done(scan)


def write_scan_list(path: PathLike, scans: Iterable[str]) -> None:
    """Write a scan list, one name a line."""
    write_bytes(path, "".join(f"{scan}\n" for scan in scans).encode())

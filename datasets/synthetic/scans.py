"""Procedural scenes with exact depth, in the DTU training layout or the test layout (docs/formats.md).

For tests, and for training where no data set is at hand. A scene depends on its seed, its size, its rig and the number
of views, and on nothing else: not on how many scenes are made, nor on their order.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from datasets.camera import Camera
from datasets.files import DataError, PathLike, check_scan_name, write_bytes
from datasets.formats.images import write_image
from datasets.formats.pfm import write_pfm
from datasets.io import write_camera, write_pairs
from datasets.synthetic import render
from datasets.synthetic.pictures import draw_picture, picture_pyramid
from datasets.synthetic.places import render_place
from datasets.synthetic.rig import RIGS, best_angle, generator, make_rig, rank_sources
from datasets.synthetic.scene import SceneError, Style, random_light, random_solids
from datasets.synthetic.walks import pairs_by_overlap

LIGHTS = 7
SAMPLES = 2  # colours are averaged over 2 x 2 rays per pixel
_DRAWN = 8  # pictures drawn for a rich scene


@dataclasses.dataclass(frozen=True)
class Scene:
    """A rendered scene: `cameras` of V views (K for the full image), `images` per light, uint8 RGB [V, H, W, 3], and
    `depths`, float32 [V, H, W] mm along the optical axis at the pixel centres, all inside the cameras' depth range; in
    places 0 for the sky, and a few outside the range."""

    cameras: list[Camera]
    images: dict[int, np.ndarray]
    depths: np.ndarray


@dataclasses.dataclass(frozen=True)
class Look:
    """How scenes look and are taken.

    rich: papered with pictures, glossy, with thin parts, some with hardly any texture, taken by a camera with changing
    exposure, noise and JPEG losses; otherwise plain: procedural patterns and a perfect camera. rig: a kind of
    `rig.RIGS`, or "any" for one that the scene's seed chooses. photographs: uint8 [SIZE, SIZE, 3], for rich
    scenes and places besides the pictures they draw. place: one of `kinds.PLACE_STYLES` for rooms and the open air,
    always rich, whose rig is one of `kinds.RIGS_OF_PLACES` or "any"; empty for things on a ground.
    """

    rich: bool = False
    rig: str = "ring"
    photographs: tuple[np.ndarray, ...] = ()
    place: str = ""

    def rig_of(self, seed: int) -> str:
        """The kind of rig of the scene of a seed."""
        return RIGS[generator("kind", seed).integers(len(RIGS))] if self.rig == "any" else self.rig


PLAIN = Look()


def render_scene(
    seed: int,
    width: int,
    height: int,
    views: int,
    lights: Sequence[int] = (3,),
    rig_seed: int | None = None,
    look: Look = PLAIN,
) -> Scene:
    """Render the scene of a seed, seen by the rig of `rig_seed` (by default a rig of its own).

    Raises DataError when the size or the lights are impossible.
    """
    if not lights or not set(lights) <= set(range(LIGHTS)):
        raise DataError(f"lights {list(lights)}: a scene needs at least one, out of 0..{LIGHTS - 1}")
    if look.place:
        return Scene(*render_place(seed, width, height, views, lights, look.place, look.rig, look.photographs))
    rig = look.rig_of(seed)
    cameras = make_rig(seed if rig_seed is None else rig_seed, width, height, views, rig)
    pictures = _pictures(seed, look)
    try:
        solids = random_solids(
            generator("scene", seed), cameras, width, height, _style(cameras, rig, width, height, pictures)
        )
    except SceneError as error:
        raise DataError(f"scene {seed}: {error}; use sides of similar length") from None
    # A generator for each light: its look does not depend on which others are asked for.
    lamps = np.concatenate([random_light(generator("light", seed, light)) for light in lights])
    columns, rows = np.arange(float(width)), np.arange(float(height))
    images, depths = [], []
    for camera in cameras:
        rays = camera.world_T_img()
        images.append(render.render_images(solids, pictures, lamps, rays, camera.K[0, 0], width, height, SAMPLES))
        depths.append(render.render_depth(solids, rays, columns, rows))
    by_light = dict(zip(lights, np.stack(images, axis=1), strict=True))
    if look.rich:
        for light, taken in by_light.items():
            taken[:] = _photographed(generator("camera", seed, light), taken)
    if rig != "ring":
        cameras = _with_depth_range(generator("range", seed), cameras, np.array(depths))
    return Scene(cameras, by_light, np.array(depths, np.float32))


def _pictures(seed: int, look: Look) -> tuple[np.ndarray, ...]:
    """The pyramid of a scene's pictures; two black pixels for a plain scene."""
    if not look.rich:
        return (np.zeros((0, 1, 1, 3), np.float32),) * 2
    rng = generator("pictures", seed)
    pictures = [draw_picture(rng) for _ in range(_DRAWN)]
    if look.photographs:
        pictures += [look.photographs[i] for i in rng.integers(len(look.photographs), size=_DRAWN)]
    return picture_pyramid(pictures)


def _style(cameras: Sequence[Camera], rig: str, width: int, height: int, pictures: tuple[np.ndarray, ...]) -> Style:
    """The style that fits the rig: a wide lens sees larger things and farther."""
    count = len(pictures[0])
    if rig == "ring":
        return Style(pictures=count)
    return Style(near=220.0, far=3000.0, scale=1.8 * max(width, height) / cameras[0].K[0, 0], pictures=count)


def _photographed(rng: np.random.Generator, images: np.ndarray) -> np.ndarray:
    """What a camera makes of perfect images [V, H, W, 3]: exposure and white balance of each, noise, JPEG."""
    noise, quality = rng.uniform(0.3, 3.0), int(rng.integers(70, 97))
    result = np.empty_like(images)
    for view, image in enumerate(images):
        gain = rng.uniform(0.92, 1.07) * rng.uniform(0.98, 1.02, 3)
        exposed = image * gain + rng.normal(0, noise, image.shape)
        encoded = cv2.imencode(
            ".jpg", np.clip(exposed + 0.5, 0, 255).astype(np.uint8)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality]
        )[1]
        result[view] = cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1]
    return result


def _with_depth_range(rng: np.random.Generator, cameras: Sequence[Camera], depths: np.ndarray) -> list[Camera]:
    """The cameras with a depth range of their own each, somewhat wider than what they see: 192 values."""
    result = []
    for camera, depth in zip(cameras, depths, strict=True):
        near, far = depth.min() * rng.uniform(0.6, 0.97), depth.max() * rng.uniform(1.03, 1.6)
        line = (float(np.float32(near)), float(np.float32((far - near) / 191)))
        result.append(dataclasses.replace(camera, depth_line=line))
    return result


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
    look: Look = PLAIN,
) -> None:
    """Write scans, name -> seed, in the DTU training layout with ground truth at the image size.

    All scans share the ring of `rig_seed`, as the layout wants. Camera files hold intrinsics at a quarter of the image
    size. `done` is called with a scan's name when it is complete.
    """
    if look.rig != "ring" or look.place:
        kind = f"of kind {look.rig}" + (" through a place" if look.place else "")
        raise DataError(f"the training layout's cameras are shared by all scenes; a rig {kind} is not")
    root = Path(root)
    cameras = make_rig(rig_seed, width, height, views)
    write_pairs(root / "Cameras" / "pair.txt", rank_sources(cameras))
    for view, camera in enumerate(cameras):
        write_camera(root / "Cameras" / "train" / f"{view:08d}_cam.txt", camera.scaled(0.25, 0.25))
    for scan, seed in scans.items():
        check_scan_name(scan, root)
        scene = render_scene(seed, width, height, views, lights, rig_seed, look)
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
    look: Look = PLAIN,
) -> None:
    """Write scans, name -> seed, in the test layout, each with a rig of its own and exact depth in `gt/%08d.pfm`.

    `done` is called with a scan's name when it is complete.
    """
    for scan, seed in scans.items():
        folder = Path(root) / check_scan_name(scan, root)
        scene = render_scene(seed, width, height, views, (light,), look=look)
        if look.place:
            pairs = pairs_by_overlap(scene.cameras, scene.depths, width, height)
        else:
            pairs = rank_sources(scene.cameras, best_angle(look.rig_of(seed)))
        write_pairs(folder / "pair.txt", pairs)
        for view, camera in enumerate(scene.cameras):
            write_camera(folder / "cams" / f"{view:08d}_cam.txt", camera)
            write_image(folder / "images" / f"{view:08d}.jpg", scene.images[light][view], quality=95)
            write_pfm(folder / "gt" / f"{view:08d}.pfm", scene.depths[view])
        done(scan)


def write_scan_list(path: PathLike, scans: Iterable[str]) -> None:
    """Write a scan list, one name a line."""
    write_bytes(path, "".join(f"{scan}\n" for scan in scans).encode())

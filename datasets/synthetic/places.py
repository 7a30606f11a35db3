"""Places rendered as a hand-held camera takes them: light, exposure, blur, noise."""

from collections.abc import Sequence

import cv2
import numpy as np

from datasets.camera import Camera
from datasets.files import DataError
from datasets.synthetic import render
from datasets.synthetic.kinds import PLACES, RIGS_OF_PLACES
from datasets.synthetic.outdoor import random_outdoors
from datasets.synthetic.parts import FAMILIES, Place
from datasets.synthetic.pictures import SIZE, draw_family, picture_pyramid
from datasets.synthetic.rig import generator
from datasets.synthetic.room import random_room
from datasets.synthetic.walks import WalkError, random_walk, with_seen_ranges

_SAMPLES = 2  # colours are averaged over 2 x 2 rays per pixel
_TRIES = 6  # places of a seed until one can be walked


def kind_of(seed: int, style: str) -> str:
    """The kind of place, out of PLACES, of a seed."""
    return PLACES[generator("place", seed).random() > 0.6] if style == "mixed" else style


def render_place(
    seed: int,
    width: int,
    height: int,
    views: int,
    lights: Sequence[int],
    style: str,
    walk: str = "any",
    photographs: Sequence[np.ndarray] = (),
) -> tuple[list[Camera], dict[int, np.ndarray], np.ndarray]:
    """(cameras, images per light, uint8 RGB [V, H, W, 3], depths, float32 [V, H, W] mm, 0 for the sky) of a seed.

    walk: one of RIGS_OF_PLACES, or "any" for one that suits the place. Raises DataError when no walk fits.
    """
    kind = kind_of(seed, style)
    place, cameras = _walked(seed, kind, walk, (width, height, views))
    pyramid = _pictures(seed, place.solids, photographs)
    lamps = np.concatenate([_light(generator("light", seed, light), place) for light in lights])
    columns, rows = np.arange(float(width)), np.arange(float(height))
    colors, depths = [], []
    for camera in cameras:
        rays = camera.world_T_img()
        colors.append(render.render_colors(place.solids, pyramid, lamps, rays, camera.K[0, 0], width, height, _SAMPLES))
        depth = render.render_depth(place.solids, rays, columns, rows)
        depths.append(np.where(depth < place.limit, depth, 0.0))
    images = {
        light: _taken(generator("camera", seed, light), taken, kind)
        for light, taken in zip(lights, np.stack(colors, axis=1), strict=True)
    }
    cameras = with_seen_ranges(generator("range", seed), cameras, np.array(depths))
    return cameras, images, np.array(depths, np.float32)


def _walked(seed: int, kind: str, walk: str, size: tuple[int, int, int]) -> tuple[Place, list[Camera]]:
    """The first place of the seed that can be walked, and the walk."""
    width, height, views = size
    for attempt in range(_TRIES):
        rng = generator("scene", seed, attempt)
        place = random_room(rng) if kind == "room" else random_outdoors(rng)
        suited = walk if walk != "any" else str(rng.choice(place.walks or RIGS_OF_PLACES))
        try:
            return place, random_walk(generator("walk", seed, attempt), place, width, height, views, suited)
        except WalkError as error:
            last = error
    raise DataError(f"scene {seed}: {last}; use another seed, or sides of similar length")


def _pictures(seed: int, solids: np.ndarray, photographs: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """The pyramid of a place's pictures, in the order of FAMILIES; photographs replace paintings, but for one. Those
    that no solid shows stay black."""
    shown = set(solids["picture"][solids["pattern"] == render.PICTURE].tolist())
    families = [family for family, count in FAMILIES.items() for _ in range(count)]
    pictures = []
    for k, family in enumerate(families):
        rng = generator("pictures", seed, k)  # its own: a picture does not depend on which others are drawn
        if k not in shown:
            pictures.append(np.zeros((SIZE, SIZE, 3), np.uint8))
        elif photographs and family == "leaves" and k > 0:
            pictures.append(photographs[rng.integers(len(photographs))])
        else:
            pictures.append(draw_family(rng, family))
    return picture_pyramid(pictures)


def _light(rng: np.random.Generator, place: Place) -> np.ndarray:
    """A LIGHT record [1]: sun and sky, or day through windows, lamps, and what walls throw back."""
    light = np.zeros(1, render.LIGHT)
    turn, tilt = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 1.25)
    light["direction"] = np.sin(tilt) * np.cos(turn), -np.cos(tilt), np.sin(tilt) * np.sin(turn)
    if place.open_air:
        overcast = rng.random() < 0.45
        light["strength"] = (0.1 if overcast else rng.uniform(0.6, 1.3)) * np.array([1.05, 1.0, 0.92])
        light["ambient"] = rng.uniform(0.4, 0.6) * np.array([0.93, 1.0, 1.08])
        light["above"] = rng.uniform(0.2, 0.5)
        light["corners"] = rng.uniform(0.0, 0.5)
        return light
    day = rng.random()
    light["strength"] = (0.0 if day < 0.35 else rng.uniform(0.05, 0.6)) * np.array([1.03, 1.0, 0.95])
    light["ambient"] = rng.uniform(0.15, 0.5) * rng.uniform(0.93, 1.07, 3)
    light["above"], light["corners"] = rng.uniform(0.0, 0.35), rng.uniform(0.2, 0.6)
    bulb = np.array([1.08, 1.0, rng.uniform(0.65, 0.98)]) * rng.uniform(0.1, 0.7)
    for k, lamp in enumerate(place.lamps):
        light["lamps"][0, k] = [*lamp, *bulb]
    return light


def _taken(rng: np.random.Generator, colors: np.ndarray, kind: str) -> np.ndarray:
    """What a camera makes of colours [V, H, W, 3]: exposure, tone, blur of motion and lens, vignette, noise, JPEG."""
    height, width = colors.shape[1:3]
    dim = kind == "room" and rng.random() < 0.22
    aim = rng.uniform(0.17, 0.32) if dim else rng.uniform(0.35, 0.62)  # the median brightness of the scene
    gamma, auto = rng.uniform(0.7, 1.2), rng.uniform(0.0, 0.6)
    tint, noise = rng.uniform(0.9, 1.1, 3), rng.uniform(0.5, 4.0) * (1.5 if dim else 0.7)
    soft, shaken = rng.uniform(0.0, 0.7), rng.random() < 0.4
    radius = np.hypot(*np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height)))
    vignette = (1 - rng.uniform(0.0, 0.15) * radius**2)[..., None]
    quality = int(rng.integers(60, 96))
    scene = np.median(colors.mean(axis=-1))
    result = np.empty(colors.shape, np.uint8)
    for view, color in enumerate(colors):
        metered = np.median(color.mean(axis=-1)) ** auto * scene ** (1 - auto)
        gain = aim**gamma / max(metered, 1e-3) * rng.uniform(0.95, 1.05)
        image = np.clip(color * gain * tint * rng.uniform(0.98, 1.02, 3) * vignette, 0, None)
        image = _shoulder(image ** (1 / gamma))
        image = _blurred(rng, image, soft, rng.uniform(0, 5) if shaken and rng.random() < 0.5 else 0.0)
        grain = rng.normal(0, 1, image.shape) * (0.5 + 0.5 * np.sqrt(image)) * noise / 255
        pixels = np.clip(255 * (image + grain) + 0.5, 0, 255).astype(np.uint8)
        encoded = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        result[view] = cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1]
    return result


def _shoulder(image: np.ndarray, knee: float = 0.75) -> np.ndarray:
    """Brightnesses above the knee squeezed below 1, as films and cameras do."""
    above = np.maximum(image - knee, 0) / (1 - knee)
    return np.where(image > knee, knee + (1 - knee) * (1 - np.exp(-above)), image)


def _blurred(rng: np.random.Generator, image: np.ndarray, soft: float, motion: float) -> np.ndarray:
    """The image through a lens of `soft` pixels' deviation, moved by `motion` pixels about its place meanwhile."""
    if soft > 0.2:
        image = cv2.GaussianBlur(image, (0, 0), soft)
    if motion > 1.0:
        side = 2 * int(np.ceil(motion / 2)) + 3
        turn, steps = rng.uniform(0, np.pi), np.linspace(-motion / 2, motion / 2, 33)
        trace = np.zeros((side, side), np.float32)
        middle = side // 2
        for x, y in zip(middle + steps * np.cos(turn), middle + steps * np.sin(turn), strict=True):
            u, v = int(x), int(y)
            for du, dv in ((0, 0), (1, 0), (0, 1), (1, 1)):
                trace[v + dv, u + du] += (1 - abs(x - u - du)) * (1 - abs(y - v - dv))
        image = cv2.filter2D(image, -1, trace / trace.sum(), borderType=cv2.BORDER_REFLECT)
    return image

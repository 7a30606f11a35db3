"""Pictures that scenes are papered with: drawn ones with the statistics of photographs, and the user's own photographs.

A picture is uint8 RGB [SIZE, SIZE, 3]. Drawn ones come from a random generator alone and need no files. Piles of
overlapping shapes whose sizes follow a power law ("dead leaves") have the edges, flat parts and scales of natural
images (Lee, Mumford and Huang, IJCV 2001); walls, pages and boards add what confuses matching: repetition, fine print
and surfaces with hardly any texture.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from datasets.files import DataError, PathLike
from datasets.formats.images import read_image

SIZE = 512
_SUFFIXES = (".jpg", ".jpeg", ".png")


def draw_picture(rng: np.random.Generator) -> np.ndarray:
    """A picture of a random family."""
    families = (_leaves, _wall, _page, _planks, _plaster)
    return families[rng.choice(len(families), p=[0.45, 0.2, 0.1, 0.15, 0.1])](rng)


def draw_family(rng: np.random.Generator, family: str) -> np.ndarray:
    """A picture of a family: "leaves", "masonry" (without windows), "page", "planks" or "plaster"."""
    if family == "masonry":
        return _wall(rng, windows=False)
    return {"leaves": _leaves, "page": _page, "planks": _planks, "plaster": _plaster}[family](rng)


def load_pictures(folder: PathLike) -> list[np.ndarray]:
    """The middle squares of the photographs in a folder (JPEG, PNG), by name; those under 128 pixels are left out.

    Raises DataError when there is none.
    """
    paths = sorted(path for path in Path(folder).glob("*") if path.suffix.lower() in _SUFFIXES)
    pictures = [_middle_square(image) for image in map(read_image, paths) if min(image.shape[:2]) >= 128]
    if not pictures:
        raise DataError(f"{folder}: holds no photograph (.jpg, .png) of at least 128x128 pixels")
    return pictures


def picture_pyramid(pictures: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """Level k holds the pictures at SIZE / 2^k, float32 [P, S, S, 3] in 0..1, down to one pixel."""
    levels = [np.stack(pictures).astype(np.float32) / 255]
    while levels[-1].shape[1] > 1:
        pixels = levels[-1]
        levels.append(
            0.25 * (pixels[:, ::2, ::2] + pixels[:, 1::2, ::2] + pixels[:, ::2, 1::2] + pixels[:, 1::2, 1::2])
        )
    return tuple(levels)


def _middle_square(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = image[top : top + side, left : left + side]
    return cv2.resize(square, (SIZE, SIZE), interpolation=cv2.INTER_AREA if side > SIZE else cv2.INTER_CUBIC)


# ---------------------------------------------------------------- families


def _palette(rng: np.random.Generator, count: int) -> np.ndarray:
    """Colours [count, 3] in 0..255 that share a tint, as the things in one photograph do."""
    tint, spread = rng.uniform(70, 190) + rng.normal(0, 25, 3), rng.uniform(20, 60)
    return np.clip(tint + rng.normal(0, spread, (count, 1)) + rng.normal(0, 0.4 * spread, (count, 3)), 5, 250)


def _clouds(rng: np.random.Generator, slope: float, size: int = SIZE) -> np.ndarray:
    """Noise [size, size] whose amplitude falls with frequency to the power `slope`; mean 0, deviation 1."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.rfftfreq(size), indexing="ij"))
    frequency[0, 0] = 1.0
    spectrum = np.fft.rfft2(rng.normal(size=(size, size))) * frequency**-slope
    spectrum[0, 0] = 0.0
    noise = np.fft.irfft2(spectrum, (size, size))
    return noise / noise.std()


def _finished(canvas: np.ndarray, grain: np.ndarray) -> np.ndarray:
    return np.clip(canvas + grain[..., None], 0, 255).astype(np.uint8)


def _leaves(rng: np.random.Generator) -> np.ndarray:
    """Overlapping shapes of all sizes, plain, shaded, striped or grained."""
    colors = _palette(rng, 24)
    canvas = np.full((SIZE, SIZE, 3), colors[0], np.float32)
    radii = np.sort(rng.pareto(1.6, rng.integers(250, 700)) * 7 + 4)[::-1].clip(max=150)
    ys, xs = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    for radius in radii[np.argsort(rng.random(len(radii)) + 0.7 * np.linspace(0, 1, len(radii)))]:
        mask = np.zeros((SIZE, SIZE), np.uint8)
        centre, corners = rng.uniform(0, SIZE, 2), rng.integers(3, 7)
        if rng.random() < 0.4:
            axes = (max(1, int(radius)), max(1, int(radius * rng.uniform(0.3, 1))))
            cv2.ellipse(mask, tuple(map(int, centre)), axes, rng.uniform(0, 180), 0, 360, 255, -1, cv2.LINE_AA)
        else:
            turns = rng.uniform(0, 2 * np.pi) + np.sort(rng.uniform(0, 2 * np.pi, corners))
            points = centre + radius * np.stack([np.cos(turns), rng.uniform(0.4, 1) * np.sin(turns)], axis=1)
            cv2.fillPoly(mask, [points.round().astype(np.int32)], 255, cv2.LINE_AA)
        x, y, w, h = cv2.boundingRect(mask)
        box = np.s_[y : y + h, x : x + w]
        alpha = mask[box].astype(np.float32)[..., None] / 255
        shade = _shading(rng, xs[box] - x, ys[box] - y, radius)[..., None]
        canvas[box] += alpha * (colors[rng.integers(len(colors))] * shade - canvas[box])
    return _finished(canvas, rng.uniform(0, 9) * _clouds(rng, rng.uniform(0.3, 1.2)))


def _shading(rng: np.random.Generator, xs: np.ndarray, ys: np.ndarray, radius: float) -> np.ndarray:
    """A factor about 1 for each pixel of a shape."""
    turn = rng.uniform(0, 2 * np.pi)
    along = np.cos(turn) * xs + np.sin(turn) * ys
    kind = rng.random()
    if kind < 0.35:
        return np.ones_like(along)
    if kind < 0.7:
        return 1 + rng.uniform(0.1, 0.4) * (along / (2 * radius))
    period = rng.uniform(4, 20)
    return 1 + rng.uniform(0.05, 0.3) * np.sign(np.sin(2 * np.pi * along / period))


def _wall(rng: np.random.Generator, windows: bool | None = None) -> np.ndarray:
    """Masonry in rows, with windows in a regular grid on some, on all or on none."""
    stone, joint, glass, frame = _palette(rng, 4)
    canvas = np.full((SIZE, SIZE, 3), joint, np.float32)
    row = int(rng.integers(10, 40))
    length, gap = row * rng.uniform(1.5, 3.5), max(1, row // 12)
    for j, top in enumerate(range(0, SIZE, row)):
        left = -length * (0.5 if j % 2 else 0.0)
        while left < SIZE:
            width = length * rng.uniform(0.85, 1.15)
            color = stone * rng.normal(1, 0.08) + rng.normal(0, 4, 3)
            canvas[top + gap : top + row, max(0, int(left) + gap) : max(0, int(left + width))] = color
            left += width
    if rng.random() < 0.5 if windows is None else windows:
        pitch = rng.integers(90, 180, 2)
        half = (pitch * rng.uniform(0.18, 0.3)).astype(int)
        for y in range(int(pitch[1] // 2), SIZE, int(pitch[1])):
            for x in range(int(pitch[0] // 2), SIZE, int(pitch[0])):
                outer, inner = half + 4, half
                cv2.rectangle(canvas, (x - outer[0], y - outer[1]), (x + outer[0], y + outer[1]), frame.tolist(), -1)
                cv2.rectangle(canvas, (x - inner[0], y - inner[1]), (x + inner[0], y + inner[1]), glass.tolist(), -1)
                cv2.line(canvas, (x, y - inner[1]), (x, y + inner[1]), frame.tolist(), 3)
                cv2.line(canvas, (x - inner[0], y), (x + inner[0], y), frame.tolist(), 3)
    return _finished(canvas, rng.uniform(3, 12) * _clouds(rng, rng.uniform(0.5, 1.2)))


def _page(rng: np.random.Generator) -> np.ndarray:
    """Lines of print of several sizes in an alphabet of its own, with boxes of colour between them."""
    paper, *inks = np.concatenate([rng.uniform(190, 250, (1, 3)), _palette(rng, 3) * 0.6])
    canvas = np.full((SIZE, SIZE, 3), paper, np.float32)
    alphabet = rng.random((30, 7, 5)) < 0.5
    alphabet[:3] = False  # spaces
    y = 4
    while y < SIZE:
        scale = int(rng.choice([1, 2, 3, 6], p=[0.3, 0.35, 0.25, 0.1]))
        ink = inks[rng.integers(len(inks))]
        if rng.random() < 0.12:
            canvas[y : y + 50, int(rng.integers(0, 300)) : int(rng.integers(300, SIZE))] = ink
            y += 54
            continue
        letters = np.pad(alphabet[rng.integers(len(alphabet), size=SIZE // (6 * scale))], ((0, 0), (0, 0), (0, 1)))
        line = np.hstack(letters).repeat(scale, 0).repeat(scale, 1)[: SIZE - y]
        canvas[y : y + len(line), : line.shape[1]][line] = ink
        y += 10 * scale
    return _finished(canvas, rng.uniform(0, 4) * _clouds(rng, 0.6))


def _planks(rng: np.random.Generator) -> np.ndarray:
    """Boards with grain along them: wood, cloth, brushed metal."""
    base, gap = _palette(rng, 2)
    grain = cv2.resize(_clouds(rng, 0.5)[:, : SIZE // 16], (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    canvas = np.full((SIZE, SIZE, 3), base, np.float32) * (1 + rng.uniform(0.03, 0.15) * grain[..., None])
    height = int(rng.integers(30, 130))
    for top in range(0, SIZE, height):
        canvas[top : top + height] *= rng.normal(1, 0.06)
        canvas[top : top + 2] = gap
    return _finished(canvas, rng.uniform(1, 6) * _clouds(rng, 0.7))


def _plaster(rng: np.random.Generator) -> np.ndarray:
    """Hardly any texture: a colour, slow shading, faint grain."""
    canvas = np.full((SIZE, SIZE, 3), _palette(rng, 1)[0], np.float32)
    return _finished(canvas, rng.uniform(3, 10) * _clouds(rng, 2.0) + rng.uniform(2, 5) * _clouds(rng, 0.3))

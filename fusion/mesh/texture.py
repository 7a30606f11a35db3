"""One picture with the photos of all faces, and where in it each face's corners lie (docs/method.md, 9)."""

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from scipy.sparse import coo_array, csr_array, diags_array, vstack
from scipy.sparse.linalg import cg

from fusion.mesh.labels import charts, face_labels
from fusion.mesh.maps import KeptMaps
from fusion.mesh.render import Sight, sample_colours
from fusion.mesh.surfaces import Surface, face_neighbours
from numba_cache import cached_njit

# Pixels around every chart, filled with what goes on beyond its border: so no seam shows when a viewer interpolates.
_PADDING = 2
# The side of a face that no photo shows.
_UNSEEN_SIDE = 3.0
# How stiff the correction is inside a chart, beside that colours meet at its borders.
_STIFFNESS, _ITERATIONS = 0.1, 300
_SMALLEST_SCALE = 1 / 64


class Texture(NamedTuple):
    """corners float32 [F, 3, 2]: where each face's corners lie in the image, in pixels whose centres are at whole
    numbers; image RGB uint8 [H, W, 3]."""

    corners: np.ndarray
    image: np.ndarray


class _Layout(NamedTuple):
    """Of every chart (numbers [F] per face): the view it is from, and its box in that photo, low and size [C, 2]."""

    chart: np.ndarray
    views: np.ndarray
    low: np.ndarray
    size: np.ndarray


def make_texture(
    surface: Surface, colours: np.ndarray, maps: KeptMaps, largest: int, done: Callable[[], None]
) -> Texture:
    """The texture of a surface around the maps' origin, in a square of `largest` pixels a side at most.

    Each face takes the photo that shows it best; colours uint8 [V, 3] are for faces that none shows. Where photos meet,
    their brightness is made to agree. `done` is called once for a view's first look, and once when it is drawn.
    """
    neighbours = face_neighbours(surface.faces)
    labels, sights = face_labels(surface, maps, neighbours, done)
    chart = charts(labels, neighbours)
    in_photo = _places_in_photos(surface.faces, labels, sights)
    layout = _boxes(chart, labels, in_photo)
    scale, origin, side = _packed(layout.size, largest)
    # Scaled like a picture, whose pixels cover areas: centres at whole numbers move.
    scaled = (in_photo - layout.low[chart][:, None]) * scale + _PADDING
    corners = (scaled + origin[chart][:, None]).astype(np.float32)
    change = _levelled(surface, chart, labels, sights, maps)
    change[labels < 0] = colours[surface.faces[labels < 0]]
    image = np.full((side, side, 3), 128, np.uint8)
    black = np.zeros((2, 2, 3), np.float32)
    for view in (-1, *maps.views):
        own = np.flatnonzero(labels == view)
        photo = black if view < 0 else _shrunk(maps.image(view), scale)
        place = in_photo[own] if view < 0 else (in_photo[own] + 0.5) * scale - 0.5
        for margin in (float(_PADDING), 0.0):
            _bake(image, photo, corners[own], place, change[own], margin)
        if view >= 0:
            done()
    return Texture(corners, image)


def _shrunk(image: np.ndarray, scale: float) -> np.ndarray:
    """The photo at a scale of 1 or less, float32."""
    if scale == 1:
        return image.astype(np.float32)
    size = (max(2, round(image.shape[1] * scale)), max(2, round(image.shape[0] * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.float32)


def _places_in_photos(faces: np.ndarray, labels: np.ndarray, sights: dict[int, Sight]) -> np.ndarray:
    """Where the corners of each face lie in its photo, float64 [F, 3, 2]; a small triangle where there is none."""
    places = np.empty((len(faces), 3, 2))
    places[:] = np.array([[0, 0], [_UNSEEN_SIDE, 0], [0, _UNSEEN_SIDE]])
    for view, seen in sights.items():
        own = labels == view
        places[own] = np.stack([seen.u, seen.v], axis=-1)[faces[own]]
    return places


def _boxes(chart: np.ndarray, labels: np.ndarray, in_photo: np.ndarray) -> _Layout:
    count = int(chart.max()) + 1
    low, high = np.full((count, 2), np.inf), np.full((count, 2), -np.inf)
    np.minimum.at(low, chart, in_photo.min(axis=1))
    np.maximum.at(high, chart, in_photo.max(axis=1))
    views = np.full(count, -1, np.int32)
    views[chart] = labels
    return _Layout(chart, views, low, high - low)


def _packed(size: np.ndarray, largest: int) -> tuple[float, np.ndarray, int]:
    """A scale of 1 or less at which boxes [C, 2] fit into a square, their places int [C, 2] there, and its side.

    The side is a multiple of 4; it is `largest` at most unless even specks do not fit.
    """
    scale = 1.0
    while True:
        boxes = np.ceil(size * scale).astype(np.int64) + 1 + 2 * _PADDING
        side = int(np.ceil(np.sqrt(boxes.prod(axis=1).sum()) / 4) * 4)
        side = max(side, int(boxes.max()))
        while side <= largest:
            places, height = _shelves(boxes, side)
            if height <= side:
                return scale, places, -(-side // 4) * 4
            side = min(int(side * 1.03) + 4, largest) if side < largest else largest + 1
        if scale < _SMALLEST_SCALE:
            places, height = _shelves(boxes, max(largest, int(boxes[:, 0].max())))
            return scale, places, -(-max(height, largest) // 4) * 4
        scale *= 0.93


def _shelves(boxes: np.ndarray, width: int) -> tuple[np.ndarray, int]:
    """Places of boxes [C, 2] (width, height) side by side on shelves, the highest first, and the height of it all."""
    places = np.empty_like(boxes)
    order = np.argsort(-boxes[:, 1], kind="stable")
    return places, _place(boxes, order, width, places)


@cached_njit()
def _place(boxes, order, width, places):
    x, y, height = 0, 0, 0
    for index in order:
        if x + boxes[index, 0] > width:
            x, y, height = 0, y + height, 0
        places[index, 0], places[index, 1] = x, y
        x += boxes[index, 0]
        height = max(height, boxes[index, 1])
    return y + height


# ---------------------------------------------------------------- photos that meet


def _levelled(
    surface: Surface, chart: np.ndarray, labels: np.ndarray, sights: dict[int, Sight], maps: KeptMaps
) -> np.ndarray:
    """What to add to the photos' colours at each face's corners, float64 [F, 3, 3], so that they agree at seams.

    Lempitsky and Ivanov 2007: at a corner that charts share their corrected colours shall be one, and inside a chart
    the correction shall change little from corner to corner.
    """
    count = len(surface.vertices)
    keys = chart.astype(np.int64)[:, None] * count + surface.faces
    known = labels >= 0
    nodes, numbers = np.unique(keys[known], return_inverse=True)
    change = np.zeros((len(labels), 3, 3))
    if not len(nodes):
        return change
    numbers = numbers.reshape(-1, 3)
    colours = _photo_colours(nodes, count, chart, labels, sights, maps)
    meet, wanted = _seams(nodes % count, colours)
    ends = np.stack([numbers, np.roll(numbers, -1, axis=1)], axis=-1).reshape(-1, 2)
    inside = _differences(ends, len(nodes)) * _STIFFNESS
    system = vstack([meet, inside]).tocsr()
    normal = (system.T @ system + diags_array(np.full(len(nodes), 1e-4))).tocsr()
    right = meet.T @ wanted
    solved = np.stack([cg(normal, right[:, k], rtol=1e-4, maxiter=_ITERATIONS)[0] for k in range(3)], axis=1)
    change[known] = solved[numbers]
    return change


def _photo_colours(
    nodes: np.ndarray,
    count: int,
    chart: np.ndarray,
    labels: np.ndarray,
    sights: dict[int, Sight],
    maps: KeptMaps,
) -> np.ndarray:
    """The colour [N, 3] of each (chart, corner) in its chart's photo."""
    views = np.full(int(chart.max()) + 1, -1, np.int32)
    views[chart] = labels
    of_chart, of_corner = views[nodes // count], nodes % count
    colours = np.zeros((len(nodes), 3))
    for view, seen in sights.items():
        own = np.flatnonzero(of_chart == view)
        found = np.empty((len(own), 3))
        # A little blurred: what matters is brightness, not detail that photos show at places a pixel apart.
        image = cv2.GaussianBlur(maps.image(view), (0, 0), 1.5)
        sample_colours(image, seen.u[of_corner[own]], seen.v[of_corner[own]], found)
        colours[own] = found
    return colours


def _seams(corners: np.ndarray, colours: np.ndarray) -> tuple[csr_array, np.ndarray]:
    """Equations [S, N] and their right sides [S, 3]: two nodes of one corner shall have one colour."""
    order = np.argsort(corners, kind="stable")
    same = corners[order][1:] == corners[order][:-1]
    ends = np.stack([order[:-1][same], order[1:][same]], axis=1)
    return _differences(ends, len(corners)), colours[ends[:, 1]] - colours[ends[:, 0]]


def _differences(ends: np.ndarray, count: int) -> csr_array:
    """The matrix [E, N] that gives the first end's value minus the second's."""
    rows = np.repeat(np.arange(len(ends)), 2)
    signs = np.tile([1.0, -1.0], len(ends))
    return coo_array((signs, (rows, ends.ravel())), shape=(len(ends), count)).tocsr()


# ---------------------------------------------------------------- drawing


@cached_njit(error_model="numpy")
def _bake(image, photo, corners, place, change, margin):
    """Draw faces into image [H, W, 3]: corners, place [F, 3, 2] there and in the photo [h, w, 3], change [F, 3, 3].

    With a margin they reach so many pixels beyond their edges; colours go on as inside.
    """
    height, width = image.shape[:2]
    for f in range(len(corners)):
        ax, ay = np.float64(corners[f, 0, 0]), np.float64(corners[f, 0, 1])
        bx, by = corners[f, 1, 0] - ax, corners[f, 1, 1] - ay
        cx, cy = corners[f, 2, 0] - ax, corners[f, 2, 1] - ay
        area = bx * cy - by * cx
        if area == 0:
            area = 1e-12
        x0, x1 = ax + min(0.0, bx, cx) - margin, ax + max(0.0, bx, cx) + margin
        y0, y1 = ay + min(0.0, by, cy) - margin, ay + max(0.0, by, cy) + margin
        for y in range(max(int(np.ceil(y0)), 0), min(int(np.floor(y1)), height - 1) + 1):
            for x in range(max(int(np.ceil(x0)), 0), min(int(np.floor(x1)), width - 1) + 1):
                of_b = ((x - ax) * cy - (y - ay) * cx) / area
                of_c = (bx * (y - ay) - by * (x - ax)) / area
                of_a = 1 - of_b - of_c
                outside = min(of_a, of_b, of_c) < 0
                if outside and margin == 0:
                    continue
                # The change stays what it is at the edge; the photo goes on.
                inner_a, inner_b, inner_c = max(of_a, 0.0), max(of_b, 0.0), max(of_c, 0.0)
                total = inner_a + inner_b + inner_c
                u = of_a * place[f, 0, 0] + of_b * place[f, 1, 0] + of_c * place[f, 2, 0]
                v = of_a * place[f, 0, 1] + of_b * place[f, 1, 1] + of_c * place[f, 2, 1]
                for k in range(3):
                    value = inner_a * change[f, 0, k] + inner_b * change[f, 1, k] + inner_c * change[f, 2, k]
                    value = value / total + _bilinear(photo, u, v, k)
                    image[y, x, k] = np.uint8(min(max(value + 0.5, 0.0), 255.0))


@cached_njit(inline="always", error_model="numpy")
def _bilinear(photo, u, v, k):
    """A channel's value at pixel (u, v); the border goes on outside."""
    height, width = photo.shape[:2]
    x, y = min(max(u, 0.0), width - 1.0), min(max(v, 0.0), height - 1.0)
    left, top = min(int(x), width - 2), min(int(y), height - 2)
    right, down = x - left, y - top
    above = photo[top, left, k] * (1 - right) + photo[top, left + 1, k] * right
    below = photo[top + 1, left, k] * (1 - right) + photo[top + 1, left + 1, k] * right
    return above * (1 - down) + below * down

"""Points that go because of what the views show (fusion.options.Cleaning); fusion.outliers judges points alone."""

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from datasets.camera import Camera
from fusion.clouds import Points, ViewPoints
from fusion.options import Cleaning, CloudOptions
from fusion.rims import beyond_edges
from fusion.see_through import AgreedDepth
from fusion.store import PointStore

_DISTANCES = 20_000  # of the points of a view, at most, for the median


def needed_columns(options: CloudOptions) -> CloudOptions:
    """The options with the columns that their cleaning looks at."""
    if options.cleaning is None or not options.cleaning.looks_at_views:
        return options
    return dataclasses.replace(options, normals=True, agreement=True)


def cleaned_points(
    views: Iterable[ViewPoints], options: CloudOptions, folder: Path, removed: Counter | None = None
) -> Iterator[Points]:
    """The points of views with `needed_columns`, view by view: those that the options' cleaning leaves, with the
    columns that the options ask for. `removed` counts what each rule took."""
    if options.cleaning is None or not options.cleaning.looks_at_views:
        parts = (view.points for view in views)
    else:
        parts = _clean_views(views, options.cleaning, folder, Counter() if removed is None else removed)
    for part in parts:
        yield part.bare(options.normals, options.agreement)


def _clean_views(views: Iterable[ViewPoints], cleaning: Cleaning, folder: Path, removed: Counter) -> Iterator[Points]:
    """The points of views that stay, view by view.

    Two passes: what a view shows of its own points first; then what the others show of them, of which all must be
    known. In between points and depths wait in temporary files in `folder`. `removed` counts what each rule took.
    """
    with PointStore(folder) as store, AgreedDepth(folder) as agreed:
        bounds, distances, others = [0], [], []
        for view in views:
            pixels = _kept_pixels(view, cleaning, removed)
            kept = pixels.ravel()[view.pix]
            agreed.append(view.depth, pixels, view.camera)
            store.append(view.points[kept])
            bounds.append(len(store))
            others.append(view.others)
            step = max(1, len(view.pix) // _DISTANCES)
            distances.append(np.linalg.norm(view.points.xyz[kept][::step] - view.camera.centre, axis=1))
        farthest = math.inf
        if cleaning.region and distances:
            farthest = cleaning.region * float(np.median(np.concatenate(distances) if len(store) else [math.inf]))
        for reference in range(len(bounds) - 1):
            points = store.part(bounds[reference], bounds[reference + 1])
            kept = np.ones(len(points), bool)
            if cleaning.through:
                looked_through = agreed.counts(points.xyz, reference, others[reference])
                _drop(kept, looked_through > cleaning.through * points.views, "through", removed)
            if cleaning.region:
                _drop(kept, _all_far(points.xyz, agreed.cameras, reference, farthest), "region", removed)
            yield points[kept]


def _drop(kept: np.ndarray, gone: np.ndarray, rule: str, removed: Counter) -> None:
    """Take what goes out of what is kept, and count it for its rule."""
    removed[rule] += int(np.count_nonzero(kept & gone))
    kept &= ~gone


def _kept_pixels(view: ViewPoints, cleaning: Cleaning, removed: Counter) -> np.ndarray:
    """The pixels [H, W] whose points stay by what their own view shows."""
    pixels = np.zeros(view.depth.shape, bool)
    pixels.ravel()[view.pix] = True
    if cleaning.views:
        few = np.zeros(pixels.shape, bool)
        few.ravel()[view.pix] = view.points.views < cleaning.views
        _drop(pixels, few, "views", removed)
    if cleaning.grazing:
        flat = np.zeros(pixels.shape, bool)
        flat.ravel()[view.pix] = _slant(view) < math.sin(math.radians(cleaning.grazing))
        _drop(pixels, flat, "grazing", removed)
    if cleaning.rim:
        reach = round(cleaning.rim * max(pixels.shape))
        _drop(pixels, beyond_edges(pixels, view.image, reach), "rim", removed)
    return pixels


def _slant(view: ViewPoints) -> np.ndarray:
    """The sine of the angle between each point's line of sight and its surface; 0 where there is no surface."""
    sight = view.camera.centre - view.points.xyz
    length = np.linalg.norm(sight, axis=1)
    return np.abs(np.einsum("ij,ij->i", view.points.normals, sight)) / np.maximum(length, np.finfo(np.float64).tiny)


def _all_far(xyz: np.ndarray, cameras: Sequence[Camera], own: int, distance: float) -> np.ndarray:
    """Whether points [N, 3] are farther than a distance from all cameras, bool [N]; most are near to their own."""
    far = np.linalg.norm(xyz - cameras[own].centre, axis=1) > distance
    for camera in cameras if far.any() else ():
        far[far] = np.linalg.norm(xyz[far] - camera.centre, axis=1) > distance
    return far

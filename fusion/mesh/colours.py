"""Colours at a mesh's corners, from the photos that see them."""

from collections.abc import Callable

import numpy as np
from scipy.sparse import coo_array

from fusion.mesh.maps import KeptMaps
from fusion.mesh.render import sample_colours, sight
from fusion.mesh.surfaces import Surface

# Corners that no photo sees get their neighbours' colours, so many steps far; beyond that, the mean of all.
_SPREADING = 200
_LEAST_WEIGHT = 1e-12


def vertex_colours(surface: Surface, maps: KeptMaps, done: Callable[[], None]) -> np.ndarray:
    """RGB uint8 [V, 3] of a surface around the maps' origin; `done` after every view.

    The mean of the photos, each with a weight that grows with how near it was and how straight it looked, steeply, so
    that the sharpest ones rule. What none sees takes its neighbours' colours.
    """
    sums, weights = np.zeros((len(surface.vertices), 3)), np.zeros(len(surface.vertices))
    colours = np.empty_like(sums)
    for view in maps.views:
        image = maps.image(view)
        seen = sight(surface, maps.cameras[view], maps.seen_depth(view))
        sample_colours(image, np.nan_to_num(seen.u), np.nan_to_num(seen.v), colours)
        with np.errstate(divide="ignore", invalid="ignore"):
            weight = np.where(seen.visible, (seen.trust * seen.facing * (maps.median_depth / seen.z) ** 2) ** 2, 0)
        sums += colours * weight[:, None]
        weights += weight
        done()
    known = weights > _LEAST_WEIGHT
    means = sums / np.where(known, weights, 1)[:, None]
    return np.rint(spread(surface, means, known)).clip(0, 255).astype(np.uint8)


def spread(surface: Surface, values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Values [V, C], in which those that are not known (bool [V]) are means of their neighbours', from near to far."""
    values, known = values.copy(), known.copy()
    if not known.any():
        return np.full_like(values, 128)
    count = len(values)
    starts, ends = surface.faces.ravel(), np.roll(surface.faces, -1, axis=1).ravel()
    links = coo_array((np.ones(2 * len(starts)), (np.r_[starts, ends], np.r_[ends, starts])), shape=(count, count))
    links = links.tocsr()
    for _ in range(_SPREADING):
        if known.all():
            return values
        around = links @ known.astype(np.float64)
        reached = ~known & (around > 0)
        if not reached.any():
            break
        means = links[reached] @ np.where(known[:, None], values, 0) / around[reached, None]
        values[reached] = means
        known |= reached
    values[~known] = values[known].mean(axis=0)
    return values

"""Bridges: what a depth map puts between a thing and what lies behind it, where there is nothing."""

from collections.abc import Iterator

import numpy as np

from fusion.mesh.maps import KeptView

# A bridge is crossed within so many pixels to each side; by so many pixels the surfaces that it joins are reached.
_INNER, _OUTER = 2, 6
# It is so many times as steep as both of them, and spans so many widths of a pixel in depth at least.
_STEEPER, _LEAST = 2.0, 8.0
_DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))  # rows, columns


def without_bridges(views: Iterator[KeptView]) -> Iterator[KeptView]:
    """The views without the pixels of bridges, of which a mesh would make webs."""
    for view in views:
        yield view.without(bridges(view.depth, view.camera.shorter_focal))


def bridges(depth: np.ndarray, focal: float) -> np.ndarray:
    """Which pixels of a depth map [H, W], 0 where there is none, lie on a bridge, bool [H, W].

    Inverse depth changes evenly along a line of pixels over a plane, however slanted. Where it changes much faster than
    on both sides the pixel belongs to neither. A side without depth tells nothing. focal: length in pixels.
    """
    known = depth > 0
    inverse = np.where(known, 1 / np.where(known, depth, 1), np.nan)
    padded = np.pad(inverse, _OUTER, constant_values=np.nan)
    found = np.zeros(depth.shape, bool)
    for down, right in _DIRECTIONS:
        before_far, before, after, after_far = (
            _shifted(padded, down * step, right * step, depth.shape) for step in (-_OUTER, -_INNER, _INNER, _OUTER)
        )
        across = np.abs(after - before)
        sides = np.fmax(np.abs(before - before_far), np.abs(after_far - after)) * (2 * _INNER / (_OUTER - _INNER))
        found |= (across > _STEEPER * sides) & (across > _LEAST / focal * inverse)  # false where one is NaN
    return found


def _shifted(padded: np.ndarray, down: int, right: int, shape: tuple[int, int]) -> np.ndarray:
    """The padded map so many pixels further on, [H, W]."""
    top, left = _OUTER + down, _OUTER + right
    return padded[top : top + shape[0], left : left + shape[1]]

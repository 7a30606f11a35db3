"""Which photo each face takes its texture from: the best one, or its neighbours' where that costs little."""

from collections.abc import Callable

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from fusion.mesh.maps import KeptMaps
from fusion.mesh.render import Sight, sight
from fusion.mesh.surfaces import Surface
from numba_cache import cached_njit

# The best so many photos of a face are candidates.
_CANDIDATES = 6
# What a neighbour of the same photo is worth, as a share of the face's best score; and how often all faces choose anew.
_NEIGHBOUR, _SWEEPS = 0.25, 12


def face_labels(
    surface: Surface, maps: KeptMaps, neighbours: np.ndarray, done: Callable[[], None]
) -> tuple[np.ndarray, dict[int, Sight]]:
    """The view number int32 [F] of each face's photo, -1 where no photo shows all of it; and how each view sees.

    neighbours int32 [F, 3] as `face_neighbours` gives them; `done` after every view.
    """
    best = np.full((len(surface.faces), _CANDIDATES), -1, np.int32)
    scores = np.zeros(best.shape, np.float32)
    sights = {}
    for view in maps.views:
        sights[view] = sight(surface, maps.cameras[view], maps.seen_depth(view))
        _insert(best, scores, view, _areas(surface, sights[view]))
        done()
    choice = np.where(best[:, 0] >= 0, 0, -1)
    _choose(best, scores, neighbours, choice)
    return np.where(choice >= 0, best[np.arange(len(best)), choice], -1).astype(np.int32), sights


def _areas(surface: Surface, seen: Sight) -> np.ndarray:
    """The pixels float32 [F] that each face covers in a view, times its trust; 0 unless all its corners are visible."""
    u, v = seen.u[surface.faces], seen.v[surface.faces]
    area = (u[:, 1] - u[:, 0]) * (v[:, 2] - v[:, 0]) - (v[:, 1] - v[:, 0]) * (u[:, 2] - u[:, 0])
    shown = seen.visible[surface.faces].all(axis=1)
    trust = seen.trust[surface.faces].min(axis=1)
    return np.where(shown, trust * np.abs(np.nan_to_num(area)) / 2, 0).astype(np.float32)


def _insert(best: np.ndarray, scores: np.ndarray, view: int, areas: np.ndarray) -> None:
    """Put a view where it belongs in each face's list [F, C], which falls from its first score on."""
    rank = (scores >= areas[:, None]).sum(axis=1)
    for place in range(scores.shape[1] - 1, -1, -1):
        shifted, own = (rank < place) & (areas > 0), (rank == place) & (areas > 0)
        if place:
            best[shifted, place], scores[shifted, place] = best[shifted, place - 1], scores[shifted, place - 1]
        best[own, place], scores[own, place] = view, areas[own]


@cached_njit(error_model="numpy")
def _choose(best, scores, neighbours, choice):
    """Let each face [F] choose among its candidates [F, C] by score and by its neighbours' choices, in turn."""
    for _ in range(_SWEEPS):
        changed = False
        for f in range(len(best)):
            if choice[f] < 0:
                continue
            most, chosen = -1.0, choice[f]
            for c in range(best.shape[1]):
                if best[f, c] < 0:
                    break
                worth = scores[f, c] / scores[f, 0]
                for k in range(3):
                    other = neighbours[f, k]
                    if other >= 0 and choice[other] >= 0 and best[other, choice[other]] == best[f, c]:
                        worth += _NEIGHBOUR
                if worth > most:
                    most, chosen = worth, c
            changed = changed or chosen != choice[f]
            choice[f] = chosen
        if not changed:
            break


def charts(labels: np.ndarray, neighbours: np.ndarray) -> np.ndarray:
    """The number int32 [F] of each face's chart: faces of one label that hang together; unlabelled ones are alone."""
    faces = np.repeat(np.arange(len(labels)), 3)
    others = neighbours.ravel()
    linked = (others >= 0) & (labels[faces] >= 0) & (labels[faces] == labels[others])
    links = coo_array(
        (np.ones(linked.sum(), np.int8), (faces[linked], others[linked])), shape=(len(labels), len(labels))
    )
    return connected_components(links, directed=False)[1].astype(np.int32)

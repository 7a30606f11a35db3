"""Which photos are compared with which: all, or of large sets those that are alike and those that follow each other.

How alike photos are is told by their features alone (VLAD, Jegou et al., CVPR 2010): the set's own descriptors are put
into clusters, and a photo is described by how far its descriptors lie from the clusters' centres. Nothing has to be
loaded. The pairs grow with the number of photos, not with its square.
"""

from collections.abc import Callable

import numpy as np

_CLUSTERS, _ROUNDS = 64, 10
_SAMPLED = 400  # descriptors of a photo from which clusters are made
_USED = 2000  # descriptors of a photo that describe it
_ALIKE = 20  # photos that each photo is compared with for being alike
_NEXT = (1, 2, 3, 4, 6, 8, 12, 16)  # and so many places away in the order of names

Pair = tuple[int, int]


def all_pairs(count: int) -> list[Pair]:
    """Every pair of so many photos."""
    return [(a, b) for a in range(count) for b in range(a + 1, count)]


def following_pairs(count: int) -> list[Pair]:
    """The pairs of photos that lie near each other in their order; the last is next to the first."""
    pairs = {tuple(sorted((a, (a + step) % count))) for a in range(count) for step in _NEXT if step < count}
    return sorted(pairs)


def alike_pairs(count: int, descriptors: Callable[[int], np.ndarray], seed: int) -> list[Pair]:
    """The pairs of photos that look most alike, by their descriptors [n, 128] uint8."""
    vectors = describe_photos(count, descriptors, seed)
    likeness = vectors @ vectors.T
    np.fill_diagonal(likeness, -np.inf)
    most = min(_ALIKE, count - 1)
    best = np.argpartition(-likeness, most - 1, axis=1)[:, :most]
    return sorted({(min(a, int(b)), max(a, int(b))) for a in range(count) for b in best[a]})


def describe_photos(count: int, descriptors: Callable[[int], np.ndarray], seed: int) -> np.ndarray:
    """A vector of length 1 for each photo, float32 [N, clusters * 128]; they are asked for twice, one at a time."""
    rng = np.random.default_rng(seed)
    samples = [_evenly(descriptors(k), _SAMPLED) for k in range(count)]
    centres = _clusters(np.concatenate(samples).astype(np.float32), rng)
    vectors = np.zeros((count, centres.size), np.float32)
    for k in range(count):
        found = _evenly(descriptors(k), _USED).astype(np.float32)
        if len(found):
            vectors[k] = _vector(found, centres)
    return vectors


def _evenly(descriptors: np.ndarray, most: int) -> np.ndarray:
    """At most so many of them, spread over all, which are in the order of their places or sizes."""
    return descriptors[np.linspace(0, len(descriptors) - 1, min(most, len(descriptors))).astype(int)]


def _clusters(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Centres [C, 128] of clusters of samples [n, 128], by k-means."""
    count = min(_CLUSTERS, len(samples))
    centres = samples[rng.choice(len(samples), count, replace=False)]
    for _ in range(_ROUNDS):
        nearest = _nearest(samples, centres)
        order = np.argsort(nearest, kind="stable")
        kept, starts = np.unique(nearest[order], return_index=True)
        sums = np.add.reduceat(samples[order], starts) if len(samples) else samples
        centres[kept] = sums / np.bincount(nearest, minlength=count)[kept, None]
    return centres


def _nearest(samples: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """The number of the nearest centre of each sample."""
    return (0.5 * (centres**2).sum(axis=1) - samples @ centres.T).argmin(axis=1)


def _vector(descriptors: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """How far descriptors lie from their centres: the sum for each centre at length 1, all of it at length 1."""
    sums = np.zeros_like(centres)
    nearest = _nearest(descriptors, centres)
    np.add.at(sums, nearest, descriptors - centres[nearest])
    sums /= np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    return (sums / max(np.linalg.norm(sums), 1e-12)).ravel()

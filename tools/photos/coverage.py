"""How well photos see what the others see: which stand apart, whether the camera moved, and what the set allows.

All of it is told by the points of structure from motion: of the points that a photo sees, the share that another one
sees too, and the angle between them there.
"""

import dataclasses
import math

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import minimum_spanning_tree

from datasets.photos.posed import PosedPhotos

# A partner of a photo shares this share of its points, under an angle that depth can be found with, degrees.
_SHARED, _LEAST_ANGLE, _LARGEST_ANGLE = 0.15, 1.5, 35.0
_THIN = 0.25  # a photo that shares less with every other stands apart
_WIDE = 20.0  # as does one that sees the same from farther round, degrees
_GOOD_ANGLE = 10.0  # between photos of a dense set, degrees
_LEAST_PARALLAX = 1.0  # degrees between the places from which the middle point of a set is seen
_FEW = 3  # partners with which a point can be asked of two others
_MOST_LISTED, _MOST_BETWEEN = 8, 8


@dataclasses.dataclass(frozen=True)
class Step:
    """From a photo to another, which no third one joins by smaller steps: places of both, the share of the first one's
    points that the other sees, degrees between them."""

    photo: int
    other: int
    shared: float
    angle: float

    @property
    def between(self) -> int:
        """Photos to take between the two."""
        return min(_MOST_BETWEEN, max(1, math.ceil(self.angle / _GOOD_ANGLE) - 1))

    @property
    def is_gap(self) -> bool:
        """Whether too little is shared, or it is seen from too far round."""
        return self.shared < _THIN or self.angle > _WIDE


@dataclasses.dataclass(frozen=True)
class Coverage:
    """Of posed photos with points in common: their names, the smallest steps that join them, how many partners each has
    (median), and degrees between the places from which a middle point is seen at most."""

    names: list[str]
    steps: list[Step]
    partners: float
    parallax: float

    @property
    def only_turned(self) -> bool:
        """Whether the camera stood still: nothing tells depth then."""
        return self.parallax < _LEAST_PARALLAX

    @property
    def is_thin(self) -> bool:
        """Whether most photos have too few partners for a depth to be asked of two others."""
        return self.partners < _FEW

    def gaps(self) -> list[Step]:
        """The steps that are too large: those that share the least first, then the widest."""
        gaps = [step for step in self.steps if step.is_gap]
        return sorted(gaps, key=lambda step: (step.shared if step.shared < _THIN else 1.0, -step.angle))

    def advice(self) -> list[str]:
        """What photos to take, in sentences."""
        sentences = []
        for step in self.gaps():
            photo, other = self.names[step.photo], self.names[step.other]
            count = "one photo" if step.between == 1 else f"{step.between} photos"
            if step.shared < _THIN:
                why = f"{photo} shares {step.shared:.0%} of its points with any other"
                sentences.append(f"{why}: take {count} between it and {other}")
            else:
                why = f"{photo} and {other} are {step.angle:.0f} degrees apart with no photo between"
                sentences.append(f"{why}: take {count} there")
        more = len(sentences) - _MOST_LISTED
        return sentences[:_MOST_LISTED] + ([f"{more} more gaps are like these"] if more > 0 else [])


def measure_coverage(scene: PosedPhotos) -> Coverage | None:
    """The coverage of photos; None where no points are known that two of them see."""
    count, points = len(scene.photos), len(scene.points)
    if points == 0 or len(scene.tracks) == 0:
        return None
    sights = csr_matrix((np.ones(len(scene.tracks)), scene.tracks.T), (points, count))
    shared = (sights.T @ sights).toarray()
    seen = np.maximum(shared.diagonal(), 1)
    np.fill_diagonal(shared, 0)
    shares = shared / seen[:, None]
    angles = _angles(scene, sights, shared)
    usable = (shares >= _SHARED) & (angles >= _LEAST_ANGLE) & (angles <= _LARGEST_ANGLE)
    names = [photo.name for photo in scene.photos]
    return Coverage(names, _steps(shares, angles), float(np.median(usable.sum(axis=1))), _parallax(scene, sights))


def _steps(shares: np.ndarray, angles: np.ndarray) -> list[Step]:
    """The smallest steps that join the photos (a minimum spanning tree): by the angle where enough is shared."""
    both = np.maximum(shares, shares.T)
    lengths = np.where(both >= _THIN, angles + 0.01, 360 * (2 - both))  # 0 would be no step
    tree = minimum_spanning_tree(np.where(both > 0, lengths, 0)).tocoo()
    steps = []
    for a, b in zip(tree.row.tolist(), tree.col.tolist(), strict=True):
        photo, other = sorted((a, b), key=lambda k: (round(float(shares[k].max()), 2), k))
        steps.append(Step(photo, other, float(both[a, b]), float(angles[a, b])))
    return steps


def _angles(scene: PosedPhotos, sights: csr_matrix, shared: np.ndarray) -> np.ndarray:
    """Degrees [N, N] between two photos as the middle (median) of what both see sees them; 0 where they share none."""
    centres = np.array([photo.centre for photo in scene.photos])
    columns = sights.tocsc()
    points_of = [columns.indices[columns.indptr[k] : columns.indptr[k + 1]] for k in range(len(centres))]
    found = np.zeros(shared.shape)
    for a, others in enumerate(np.triu(shared)):
        sees = np.zeros(sights.shape[0], bool)
        sees[points_of[a]] = True
        for b in np.flatnonzero(others).tolist():
            middle = np.median(scene.points[points_of[b][sees[points_of[b]]]], axis=0)
            found[a, b] = found[b, a] = _between(middle - centres[a], middle - centres[b])
    return found


def _between(a: np.ndarray, b: np.ndarray) -> float:
    """Degrees between two directions."""
    cosine = a @ b / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-30)
    return math.degrees(math.acos(min(1.0, max(-1.0, cosine))))


def _parallax(scene: PosedPhotos, sights: csr_matrix) -> float:
    """The median over the points of the largest angle between the first photo that sees one and the others, degrees."""
    centres = np.array([photo.centre for photo in scene.photos])
    order, photos = np.repeat(np.arange(sights.shape[0]), np.diff(sights.indptr)), sights.indices
    first = photos[np.minimum(sights.indptr[:-1], len(photos) - 1)][order]
    rays = [scene.points[order] - centres[which] for which in (photos, first)]
    lengths = np.maximum(np.prod([np.linalg.norm(ray, axis=1) for ray in rays], axis=0), 1e-30)
    angles = np.degrees(np.arccos(np.clip((rays[0] * rays[1]).sum(axis=1) / lengths, -1, 1)))
    largest = np.zeros(sights.shape[0])
    np.maximum.at(largest, order, angles)
    return float(np.median(largest[np.diff(sights.indptr) > 1])) if (np.diff(sights.indptr) > 1).any() else 0.0

"""What depth ranges hold: of a view's own points, and with its neighbours'."""

import dataclasses
from typing import NamedTuple

import numpy as np

from datasets.photos.depth_ranges import DepthRange, depth_ranges
from datasets.photos.posed import PosedPhotos


class RangeRow(NamedTuple):
    """A photo's ranges, None where it has none: of its own points, and with its neighbours'; and the shares of the
    points that it sees in the whole model which lie in them."""

    photo: str
    own: DepthRange | None
    ours: DepthRange | None
    own_share: float
    our_share: float


def range_rows(scene: PosedPhotos, every: int = 1) -> list[RangeRow]:
    """The ranges with every so many-th of the photos alone: what points the others would add is known, and counts."""
    kept = list(range(0, len(scene.photos), every))
    fewer = _with_shared_points(scene.without(set(range(len(scene.photos))) - set(kept)))
    own, ours = depth_ranges(fewer, neighbours=False), depth_ranges(fewer)
    rows = []
    for place, k in enumerate(kept):
        depth, inside = scene.photos[k].project(scene.points)
        seen = scene.seen_by(k)
        seen = depth[seen[inside[seen]]]
        shares = [_share(seen, limits) for limits in (own[place], ours[place])]
        rows.append(RangeRow(scene.photos[k].name, own[place], ours[place], *shares))
    return rows


def _with_shared_points(scene: PosedPhotos) -> PosedPhotos:
    """Without the sights of points that one photo alone sees: no model would have them."""
    shared = np.bincount(scene.tracks[:, 0], minlength=len(scene.points))[scene.tracks[:, 0]] > 1
    return dataclasses.replace(scene, tracks=scene.tracks[shared])


def _share(depths: np.ndarray, limits: DepthRange | None) -> float:
    if limits is None or len(depths) == 0:
        return 0.0
    return float(((depths >= limits[0]) & (depths <= limits[1])).mean())


def format_ranges(rows: list[RangeRow]) -> str:
    """The rows as an aligned table, with means and the least shares below."""
    width = max(12, *(len(row.photo) + 2 for row in rows))
    titles = "".join(f"{title:>24}{'inside':>9}" for title in ("own points", "with neighbours'"))
    lines = ["photo".ljust(width) + titles]
    for row in rows:
        cells = [_words(row.own).rjust(24), f"{row.own_share:.1%}".rjust(9)]
        cells += [_words(row.ours).rjust(24), f"{row.our_share:.1%}".rjust(9)]
        lines.append(row.photo.ljust(width) + "".join(cells))
    for name, reduce in (("mean", np.mean), ("least", np.min)):
        shares = [reduce([getattr(row, kind) for row in rows]) for kind in ("own_share", "our_share")]
        lines.append(name.ljust(width) + "".join(f"{share:.1%}".rjust(33) for share in shares))
    return "\n".join(lines)


def _words(limits: DepthRange | None) -> str:
    return "-" if limits is None else f"{limits[0]:.4g} to {limits[1]:.4g}"

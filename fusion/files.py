"""Cloud files as points: what is read of any PLY, block by block."""

import dataclasses
from collections import Counter
from collections.abc import Iterator

import numpy as np

from datasets.files import PathLike
from datasets.formats.ply_clouds import read_cloud_blocks
from fusion.clouds import Points


def read_parts(
    path: PathLike, least_views: int = 0, least_confidence: float = 0.0, removed: Counter | None = None
) -> Iterator[Points]:
    """The points of a PLY in blocks, with what it has of normals, and of views with confidence; grey without colours.

    Points of fewer views, or of less confidence, are left out, and counted in `removed`; the PLY must tell them then.
    """
    for block in read_cloud_blocks(path):
        part = Points(block.xyz, block.colors, block.normals, block.views, block.confidence)
        kept = np.ones(len(part), bool)
        if least_views:
            kept &= part.views >= least_views
        if least_confidence:
            kept &= part.confidence >= least_confidence
        if removed is not None:
            removed["views, confidence"] += len(part) - int(kept.sum())
        part = part[kept]
        alone = part.views is None or part.confidence is None
        yield dataclasses.replace(part, views=None, confidence=None) if alone else part

"""Reading further numbers of a cloud's points from its PLY (docs/formats.md)."""

from collections.abc import Sequence

import numpy as np

from datasets.files import PathLike
from datasets.formats.ply_records import open_ply, read_header, vertex_blocks


def read_ply_numbers(path: PathLike, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Those of the vertices' numbers that the file has, by name in lower case, float32 [N]; errors as `read_ply`."""
    with open_ply(path) as file:
        header = read_header(file)
        found = {name: np.empty(header.vertex.count, np.float32) for name in names if name in header.vertex.scalars}
        start = 0
        for block in vertex_blocks(file, header) if found else ():
            for name, values in found.items():
                values[start : start + len(block)] = block[name]
            start += len(block)
    return found

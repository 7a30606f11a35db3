"""Further numbers of a cloud's points."""

import numpy as np
import pytest
from plyfile import PlyData, PlyElement

from datasets.files import DataError
from datasets.formats.ply_numbers import read_ply_numbers


@pytest.mark.parametrize("layout", [{"text": True}, {"byte_order": "<"}, {"byte_order": ">"}])
def test_numbers_are_read_by_name(tmp_path, layout):
    """Those that there are, of any type and case; a file of other numbers has none."""
    points = np.zeros(3, [("x", "f4"), ("y", "f4"), ("z", "f4"), ("Views", "u1"), ("confidence", "f8")])
    points["Views"], points["confidence"] = [2, 3, 4], [0.25, 0.5, 1]
    PlyData([PlyElement.describe(points, "vertex")], **layout).write(tmp_path / "a.ply")
    found = read_ply_numbers(tmp_path / "a.ply", ("views", "confidence", "normal"))
    assert {name: values.tolist() for name, values in found.items()} == {
        "views": [2, 3, 4],
        "confidence": [0.25, 0.5, 1],
    }
    assert read_ply_numbers(tmp_path / "a.ply", ("nx",)) == {}


def test_a_damaged_file(tmp_path):
    (tmp_path / "a.ply").write_bytes(b"ply\nformat ascii 1.0\n")
    with pytest.raises(DataError, match=r"a\.ply"):
        read_ply_numbers(tmp_path / "a.ply", ("views",))

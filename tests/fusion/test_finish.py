"""The files that a cloud ends as: the PLY, all points beside a thinned one, other formats, where it stands."""

import json
import struct
from collections import Counter

import numpy as np
import pytest

from datasets.files import DataError
from datasets.formats.ply import read_ply
from datasets.formats.ply_clouds import read_cloud_blocks, read_cloud_columns
from datasets.units import similarity
from fusion.clouds import Points, write_cloud
from fusion.finish import FinishedCloud, finish_cloud
from fusion.options import FOR_PHOTOS, Cleaning, CloudOptions

CLEAN = CloudOptions(normals=True, agreement=True, thinning="even", max_points=500, cleaning=Cleaning(island=0))


def surface(count: int = 60, lone: int = 3) -> Points:
    """A square of count x count points, and some that float above it, the last ones."""
    rng = np.random.default_rng(0)
    x, y = np.mgrid[:count, :count]
    xyz = np.stack([x.ravel(), y.ravel(), 0 * x.ravel()], axis=1).astype(np.float32)
    xyz = np.concatenate([xyz, np.float32([[10 + 10 * k, 30, 15] for k in range(lone)]).reshape(-1, 3)])
    normals = np.tile(np.float32([0, 0, 1]), (len(xyz), 1))
    views = rng.integers(2, 9, len(xyz)).astype(np.uint8)
    colors = rng.integers(0, 256, (len(xyz), 3), dtype=np.uint8)
    return Points(xyz, colors, normals, views, rng.random(len(xyz)).astype(np.float32))


def parts(points: Points) -> list[Points]:
    return [points[start : start + 1000] for start in range(0, len(points), 1000)]


def read(path) -> Points:
    """A PLY with all its columns."""
    (block,) = read_cloud_blocks(path)
    return Points(block.xyz, block.colors, block.normals, block.views, block.confidence)


def test_a_clean_cloud_and_all_of_it(tmp_path):
    """Lone points are in neither file; the PLY has few, the other all, with every column."""
    points = surface()
    report = finish_cloud(tmp_path / "a.ply", parts(points), CLEAN)
    whole, few = read(tmp_path / "a_all.ply"), read(tmp_path / "a.ply")
    assert (len(whole), len(few)) == (report.whole, report.points) and report.removed == {"isolation": 3}
    assert report.whole == 3600 and 400 < report.points <= 500
    for name in ("xyz", "colors", "normals", "views", "confidence"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(points, name)[:-3])
    assert few.views.min() >= 2 and 0 < few.confidence.min() < few.confidence.max() < 1
    assert report.remarks == ", of 3600 spread evenly; removed before: isolation 3"


@pytest.mark.parametrize("after", [CloudOptions(cleaning=Cleaning(island=0)), CloudOptions()])
def test_a_cloud_that_is_small_enough_is_written_once(tmp_path, after):
    """And what an earlier run left beside it goes: nothing stale, also where points are written as they come."""
    before = CloudOptions(max_points=100, thinning="even", formats=("ply", "glb"))
    finish_cloud(tmp_path / "a.ply", parts(surface()), before)
    assert {path.name for path in tmp_path.iterdir()} == {"a.ply", "a_all.ply", "a.glb"}
    report = finish_cloud(tmp_path / "a.ply", parts(Points(surface().xyz, surface().colors)), after)
    assert {path.name for path in tmp_path.iterdir()} == {"a.ply"} and report.points in (3600, 3603)


def test_plain_options_write_the_bytes_of_before(tmp_path):
    """The official clouds: no column, no order, no point changes."""
    bare = Points(surface().xyz, surface().colors)
    write_cloud(tmp_path / "a.ply", parts(bare), CloudOptions())
    report = finish_cloud(tmp_path / "b.ply", parts(bare), CloudOptions())
    assert (tmp_path / "a.ply").read_bytes() == (tmp_path / "b.ply").read_bytes() and report.points == len(bare)


def test_thinning_at_random_draws_the_points_of_before(tmp_path):
    """Cleaned first, by the same seed."""
    options = CloudOptions(max_points=50, seed=3, cleaning=Cleaning(isolation=0, island=0))
    bare = Points(surface().xyz, surface().colors)
    write_cloud(tmp_path / "a.ply", parts(bare), CloudOptions(max_points=50, seed=3))
    assert finish_cloud(tmp_path / "b.ply", parts(bare), options).remarks == ", of 3603 drawn at random"
    np.testing.assert_array_equal(read_ply(tmp_path / "a.ply")[0], read_ply(tmp_path / "b.ply")[0])


def test_a_similarity_takes_the_cloud_where_it_stands(tmp_path):
    """Places and normals; the one who places it sees the clean cloud, evenly spread, in the scan's coordinates."""
    seen = []
    T = similarity(2.0, np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]), np.array([1.0, 2, 3]))
    finish_cloud(tmp_path / "a.ply", parts(surface()), CLEAN, lambda places: seen.append(places) or T)
    assert len(seen[0]) > 400 and seen[0][:, 2].max() == 0
    found = read(tmp_path / "a_all.ply")
    expected = surface().xyz[:-3] @ np.float32([[0, 2, 0], [-2, 0, 0], [0, 0, 2]]) + np.float32([1, 2, 3])
    np.testing.assert_allclose(found.xyz, expected, atol=1e-4)
    np.testing.assert_allclose(found.normals, [[0, 0, 1]] * len(found), atol=1e-6)


def test_glb(tmp_path):
    """Sizes of chunks, bounds and places as the standard has them; z up became y up around the node's translation."""
    finish_cloud(tmp_path / "a.ply", parts(surface()), CloudOptions(formats=("ply", "glb")))
    content = (tmp_path / "a.glb").read_bytes()
    magic, version, length, json_length, kind = struct.unpack("<4s4I", content[:20])
    assert (magic, version, length, kind) == (b"glTF", 2, len(content), 0x4E4F534A)
    description = json.loads(content[20 : 20 + json_length])
    size, kind = struct.unpack("<2I", content[20 + json_length : 28 + json_length])
    binary = content[28 + json_length :]
    assert kind == 0x004E4942 and size == len(binary) == description["buffers"][0]["byteLength"]
    place, color = description["accessors"]
    count = place["count"]
    found = np.frombuffer(binary, "<f4", 3 * count).reshape(-1, 3)
    np.testing.assert_array_equal([found.min(axis=0), found.max(axis=0)], [place["min"], place["max"]])
    world = found + description["nodes"][0]["translation"]
    x, y, z = surface().xyz.T
    np.testing.assert_allclose(world, np.stack([x, z, -y], axis=1), atol=1e-4)
    rgba = np.frombuffer(binary, np.uint8, 4 * count, 12 * count).reshape(-1, 4)
    assert color["normalized"] and (rgba[:, 3] == 255).all()
    assert (np.diff(rgba[np.argsort(surface().colors[:, 0], kind="stable"), 0].astype(int)) >= 0).all()


def test_laz(tmp_path):
    """laspy reads back places to a thousandth of the spacing, colours, and the extra columns."""
    laspy = pytest.importorskip("laspy", reason="laspy is not installed: pip install -r requirements-laz.txt")
    points = surface()
    options = CloudOptions(normals=True, agreement=True, formats=("laz", "ply"))
    finish_cloud(tmp_path / "a.ply", parts(points), options)
    found = laspy.read(tmp_path / "a.laz")
    np.testing.assert_allclose(found.xyz, points.xyz, atol=1e-3)
    np.testing.assert_array_equal(np.stack([found.red, found.green, found.blue], axis=1) // 257, points.colors)
    np.testing.assert_array_equal(found["views"], points.views)
    np.testing.assert_array_equal(found["confidence"], points.confidence)
    np.testing.assert_array_equal(found["nz"], points.normals[:, 2])


@pytest.mark.parametrize("formats", [("ply",), ("ply", "glb")])
def test_clouds_without_a_point(tmp_path, formats):
    """They are valid files too."""
    report = finish_cloud(tmp_path / "a.ply", [], CloudOptions(cleaning=Cleaning(), formats=formats, max_points=5))
    assert report.points == 0 and read_cloud_columns(tmp_path / "a.ply").count == 0


def test_a_cloud_that_is_not_kept_leaves_nothing(tmp_path):
    """What goes wrong on the way leaves the old file, and no other."""
    (tmp_path / "a.ply").write_bytes(b"old")

    def broken():
        yield surface()
        raise DataError("broken")

    with pytest.raises(DataError):
        finish_cloud(tmp_path / "a.ply", broken(), FOR_PHOTOS)
    assert [path.name for path in tmp_path.iterdir()] == ["a.ply"] and (tmp_path / "a.ply").read_bytes() == b"old"


def test_what_went_before_is_counted_too(tmp_path):
    """Rules that look at views hand their numbers over."""
    with FinishedCloud(parts(surface()), CLEAN, tmp_path, Counter(rim=7)) as cloud:
        assert cloud.removed == {"rim": 7, "isolation": 3} and len(cloud) == 3600

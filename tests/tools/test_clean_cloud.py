"""tools/clean_cloud.py: any PLY in, a clean one out."""

import numpy as np
import pytest
from helpers import error_line, run_program, succeed

from datasets.formats.ply import ply_writer, read_ply, write_ply
from datasets.formats.ply_clouds import read_cloud_blocks, read_cloud_columns


@pytest.fixture
def cloud(tmp_path):
    """A square of 80 x 80 points with every column, the last of which floats above it; seen by 2 or 5 views."""
    x, y = np.mgrid[:80, :80]
    xyz = np.stack([x.ravel(), y.ravel(), 0 * x.ravel()], axis=1).astype(np.float32)
    xyz[-1] = [40, 40, 20]
    views = np.where(x.ravel() < 40, 2, 5).astype(np.uint8)
    normals = np.tile(np.float32([0, 0, 1]), (len(xyz), 1))
    with ply_writer(tmp_path / "in.ply", normals=True, agreement=True) as writer:
        writer.append(xyz, np.full(xyz.shape, 90, np.uint8), normals, views, np.full(len(xyz), 0.5, np.float32))
    return tmp_path / "in.ply"


def test_a_clean_cloud(cloud, tmp_path):
    """The lone point is gone, columns are kept, and the line says what went and why."""
    out = succeed(run_program("tools/clean_cloud.py", "--cloud", cloud, "--out", tmp_path / "out.ply"))
    assert f"{tmp_path / 'out.ply'}: 6399 points; removed before: isolation 1 (of 6400 in {cloud})\n" == out
    columns = read_cloud_columns(tmp_path / "out.ply")
    assert (columns.count, columns.normals, columns.views, columns.confidence) == (6399, True, True, True)


def test_a_smaller_cloud_beside_the_whole(cloud, tmp_path):
    succeed(run_program("tools/clean_cloud.py", "--cloud", cloud, "--out", tmp_path / "out.ply", "--max_points", 500))
    assert 400 < len(read_ply(tmp_path / "out.ply")[0]) <= 500 and len(read_ply(tmp_path / "out_all.ply")[0]) == 6399


def test_few_views(cloud, tmp_path):
    """Where the cloud tells them; where it does not, a sentence."""
    flags = ("--out", tmp_path / "out.ply", "--least_views", 3)
    succeed(run_program("tools/clean_cloud.py", "--cloud", cloud, *flags))
    (block,) = read_cloud_blocks(tmp_path / "out.ply")
    assert (block.views == 5).all() and len(block.xyz) == 3199
    write_ply(tmp_path / "bare.ply", np.zeros((5, 3), np.float32), np.zeros((5, 3), np.uint8))
    line = error_line(run_program("tools/clean_cloud.py", "--cloud", tmp_path / "bare.ply", *flags))
    assert "bare.ply: does not tell its points' views; leave out --least_views" in line


def test_nothing_is_cleaned_where_it_is_switched_off(cloud, tmp_path):
    succeed(run_program("tools/clean_cloud.py", "--cloud", cloud, "--out", tmp_path / "out.ply", "--no-clean"))
    assert len(read_ply(tmp_path / "out.ply")[0]) == 6400


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--out", "x.laz"), "--out x.laz: must end with .ply; --formats adds others beside it"),
        (("--out", "x.ply", "--formats", "obj"), "--formats obj: must be some of ply,laz,glb"),
        (
            ("--out", "x.ply", "--clean_isolation", -1),
            "--clean_isolation -1: must be 0, which switches",
        ),
        (("--out", "x.ply", "--cloud", "none.ply"), "none.ply: no such file"),
    ],
)
def test_mistakes(cloud, flags, message):
    """One line each, before anything is written."""
    assert message in error_line(run_program("tools/clean_cloud.py", "--cloud", cloud, *flags))

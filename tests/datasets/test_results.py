"""Results of a scan: what stays in memory, what clouds are called, what maps hold."""

import gc
import weakref

import numpy as np
import pytest
from fusion_scenes import camera, plane_depth, write_scan

from datasets.files import DataError
from datasets.formats.pfm import write_pfm
from datasets.predictions import Predictions
from datasets.records import map_digest, write_marker
from datasets.results import ViewFiles, check_cloud_names, cloud_name, mesh_files, mesh_path


def test_maps_are_kept_while_the_object_lives(tmp_path):
    """They are read once, and freed at once with it: the next scan needs the memory."""
    depth = plane_depth(camera(), (0.2, 0.1, 1.0), 600.0)
    write_scan(tmp_path, [depth], [camera()], [np.ones_like(depth)])
    predictions = Predictions(tmp_path)
    kept = weakref.ref(predictions.view(0).depth)
    assert predictions.view(0).depth is kept()
    gc.disable()
    try:
        del predictions
        assert kept() is None
    finally:
        gc.enable()


def test_official_names_are_for_plain_numbers():
    """Every scan has a name of its own, unless one is called like another's cloud."""
    names = {
        "scan1": "mvsnet001_l3.ply",
        "scan1024": "mvsnet1024_l3.ply",
        "scan01": "scan01.ply",
        "scan0": "mvsnet000_l3.ply",
    }
    assert {scan: cloud_name(scan) for scan in names} == names
    check_cloud_names(["scan1", "scan01", "scan001", "Family"])
    with pytest.raises(DataError, match=r"scans scan1 and mvsnet001_l3: both clouds would be mvsnet001_l3\.ply"):
        check_cloud_names(["scan1", "mvsnet001_l3"])


def test_records_tell_what_maps_hold_until_these_are_changed(tmp_path, monkeypatch):
    """Digests are those of the content, whether it is read or taken from the record."""
    depth = plane_depth(camera(), (0.2, 0.1, 1.0), 600.0)
    write_scan(tmp_path, [depth], [camera()], [np.ones_like(depth)])
    read, files = Predictions(tmp_path).digests(0), ViewFiles(tmp_path, 0)
    record = {"depth": map_digest(depth), "confidence": map_digest(np.ones_like(depth))}
    write_marker(files.depth, depth, files.record, record)
    monkeypatch.setattr(Predictions, "confidence", None)  # nothing is read
    assert Predictions(tmp_path).digests(0) == read
    monkeypatch.undo()
    write_pfm(files.depth, depth + 1)
    changed = Predictions(tmp_path).digests(0)
    assert changed.depth != read.depth and changed[1:] == read[1:]


def test_meshes_lie_beside_their_clouds(tmp_path):
    """Under names of their own; no cloud may have the name of another scan's mesh."""
    ply = tmp_path / "garden.ply"
    assert mesh_path(ply) == tmp_path / "garden_mesh.ply" and mesh_path(ply, "glb").name == "garden_mesh.glb"
    assert mesh_path(ply, "stl") in mesh_files(ply)
    check_cloud_names(["garden", "garden mesh", "mesh"])
    with pytest.raises(DataError, match=r"scans Garden and garden_mesh: the mesh of one and the cloud of the other"):
        check_cloud_names(["garden_mesh", "Garden"])

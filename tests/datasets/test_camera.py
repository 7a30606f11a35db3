"""The camera: projecting, lifting, and worlds whose coordinates float32 cannot hold."""

import numpy as np
import pytest
import torch
from fusion_scenes import WORLDS, camera, moved, plane_depth

from datasets.camera import fits_float32, local_origin, src_T_ref
from datasets.io import read_camera, write_camera
from datasets.sample import STAGE_SCALES, stage_projections
from models.plane_sweep.definition import source_transforms

SIZE = (24, 32)
CAMERAS = [camera((-20, 3, 0), 0.03), camera((0, 2, 0), 0.01), camera((25, 3, 7), -0.04)]


def pixels_of(cameras, depth: float = 600.0) -> np.ndarray:
    """Where the plane sweep of stage 3 looks in the sources of the first camera, [N - 1, H, W, 2], at a depth."""
    projections = torch.from_numpy(stage_projections(cameras)["stage3"])[None]
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    rays = np.stack([x * depth, y * depth, np.full(SIZE, depth), np.ones(SIZE)], axis=-1)
    places = [rays @ transform[0].double().numpy().T for transform in source_transforms(projections)]
    return np.stack([place[..., :2] / place[..., 2:3] for place in places])


@pytest.mark.parametrize("world", [None, *WORLDS])
def test_lifting_inverts_projecting(world):
    view = camera((3, -4, 5), 0.2)
    depth = plane_depth(view, (0.2, 0.1, 1.0), 600.0)
    view = view if world is None else moved(view, world)
    kept = np.zeros(SIZE, bool)
    kept[5, 7] = kept[20, 30] = True
    u, v, z = view.project(view.lift(depth, kept))
    expected = np.array([[7, 30], [5, 20], [depth[5, 7], depth[20, 30]]])
    np.testing.assert_allclose([u, v, z], expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(view.project(view.centre[None])[2], 0, atol=1e-8)


def test_the_first_pixels_ray_starts_at_the_centre():
    view = camera((3, -4, 5), 0.2)
    world_T_img = view.world_T_img()
    np.testing.assert_allclose(world_T_img @ view.projection(), np.eye(4), atol=1e-12)
    np.testing.assert_array_equal(world_T_img[:3, 3], view.centre)


def test_src_T_ref_takes_pixels_of_the_reference_to_the_source():
    reference, source = CAMERAS[:2]
    depth = plane_depth(reference, (0.2, 0.1, 1.0), 600.0)
    u, v, z = source.project(reference.lift(depth, np.ones(SIZE, bool)))
    y, x = np.mgrid[: SIZE[0], : SIZE[1]].reshape(2, -1)
    d = depth.ravel().astype(float)
    found = src_T_ref(source, reference) @ np.stack([x * d, y * d, d, np.ones_like(d)])
    np.testing.assert_allclose(found[:3], [u * z, v * z, z], rtol=1e-9, atol=1e-8)


# ---------------------------------------------------------------- large worlds


def test_small_coordinates_are_used_as_they_are():
    """To the bit, as the official code does."""
    assert fits_float32(CAMERAS) and not local_origin(CAMERAS).any()
    for stage, scale in STAGE_SCALES.items():
        for matrices, view in zip(stage_projections(CAMERAS)[stage], CAMERAS, strict=True):
            np.testing.assert_array_equal(matrices[0], view.cam_T_world.astype(np.float32))
            np.testing.assert_array_equal(matrices[1, :3, :3], view.scaled(1 / scale, 1 / scale).K.astype(np.float32))


@pytest.mark.parametrize("world", WORLDS)
def test_the_networks_see_the_same_scene_in_any_world(world):
    far = [moved(view, world) for view in CAMERAS]
    assert not fits_float32(far)
    assert np.abs(pixels_of(far) - pixels_of(CAMERAS)).max() < 0.001


@pytest.mark.parametrize("world", WORLDS)
def test_camera_files_hold_any_world(tmp_path, world):
    """To a hundredth of a pixel; a world that float32 holds is written as the official programs do."""
    far = moved(CAMERAS[0], world)
    write_camera(tmp_path / "far_cam.txt", far)
    read = read_camera(tmp_path / "far_cam.txt")
    points = far.lift(np.full(SIZE, 600, np.float32), np.ones(SIZE, bool))
    np.testing.assert_allclose(read.project(points)[:2], far.project(points)[:2], atol=0.01)
    write_camera(tmp_path / "near_cam.txt", CAMERAS[0])
    first = (tmp_path / "near_cam.txt").read_text().splitlines()[1]
    assert first == " ".join(str(value) for value in CAMERAS[0].cam_T_world[0].astype(np.float32))

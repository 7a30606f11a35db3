"""The procedural scenes: exact geometry, the parallax the networks need, and files that our readers take."""

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import run_program, succeed

from datasets.camera import Camera
from datasets.files import DataError, read_scan_list
from datasets.formats.images import read_image
from datasets.formats.pfm import read_pfm
from datasets.io import read_camera, read_pairs
from datasets.synthetic import render
from datasets.synthetic.rig import make_rig, rank_sources
from datasets.synthetic.scans import Scene, render_scene, write_scan_list, write_test_layout, write_training_layout

WIDTH, HEIGHT, VIEWS = 160, 128, 6
SEEDS = (1, 2, 3, 4)


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [render_scene(seed, WIDTH, HEIGHT, VIEWS, (3, 6)) for seed in SEEDS]


def warp(source: np.ndarray, cameras: tuple[Camera, Camera], depth: np.ndarray) -> tuple[np.ndarray, ...]:
    """Look up `source` [H, W, ...] where the reference's pixels fall; (values, depth in the source, inside)."""
    reference_camera, source_camera = cameras
    height, width = depth.shape
    v, u = np.mgrid[:height, :width].astype(float)
    points = np.stack([u * depth, v * depth, depth, np.ones_like(depth)]).reshape(4, -1)
    x, y, z, _ = source_camera.projection() @ np.linalg.inv(reference_camera.projection()) @ points
    x, y, z = ((a / b).reshape(height, width) for a, b in ((x, z), (y, z), (z, 1.0)))
    inside = (x > 1) & (x < width - 2) & (y > 1) & (y < height - 2)
    values = cv2.remap(source, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR)
    return values, z, inside


def residuals(scene: Scene, source: int, light: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Photometric residual [n] in grey levels on co-visible pixels with depth times `scale`, and co-visible [H, W]."""
    cameras = scene.cameras[0], scene.cameras[source]
    source_depth, z, inside = warp(scene.depths[source], cameras, scene.depths[0])
    covisible = inside & (np.abs(source_depth - z) < 0.003 * z)
    image = scene.images[light].astype(np.float32)
    warped, _, inside = warp(image[source], cameras, scene.depths[0] * scale)
    return np.abs(warped - image[0]).mean(axis=-1)[covisible & inside], covisible


@pytest.mark.parametrize("light", [3, 6])
def test_exact_depth_aligns_the_images(scenes: list[Scene], light: int) -> None:
    for scene in scenes:
        for source in range(1, VIEWS):
            exact, _ = residuals(scene, source, light, 1.0)
            wrong, _ = residuals(scene, source, light, 1.05)
            assert np.median(exact) < 4
            assert wrong.mean() > 2.5 * exact.mean()


def test_small_depth_errors_show(scenes: list[Scene]) -> None:
    """Half a per cent either way is already worse: no systematic shift hides in the pixel convention."""
    for factor in (0.995, 1.005):
        for scene in scenes:
            exact = np.mean([residuals(scene, source, 3, 1.0)[0].mean() for source in range(1, VIEWS)])
            wrong = np.mean([residuals(scene, source, 3, factor)[0].mean() for source in range(1, VIEWS)])
            assert wrong > 1.3 * exact


def test_depths_of_views_agree(scenes: list[Scene]) -> None:
    for scene in scenes:
        for source in range(1, VIEWS):
            cameras = scene.cameras[0], scene.cameras[source]
            source_depth, z, inside = warp(scene.depths[source], cameras, scene.depths[0])
            agree = np.abs(source_depth - z) < 0.003 * z
            occluded = source_depth < z * 0.997
            assert inside.mean() > 0.5
            assert agree[inside].mean() > 0.7
            # What does not agree is hidden behind something, but for pixels interpolated across an edge.
            assert (agree | occluded)[inside].mean() > 0.94


def test_depth_is_inside_the_range() -> None:
    for seed in range(20):
        scene = render_scene(seed, 40, 32, VIEWS, (0,))
        values = scene.cameras[0].depth_values(192, 1.0, "camera")
        assert scene.depths.dtype == np.float32 and scene.depths.shape == (VIEWS, 32, 40)
        assert scene.depths.min() > values[0] and scene.depths.max() < values[-1]
        assert np.ptp(scene.depths) > 60, "a scene without relief teaches nothing"


@pytest.mark.parametrize("views", [5, 6, 7, 8, 12, 20])
def test_neighbouring_hypotheses_move_by_half_a_pixel(views: int) -> None:
    step = 2.5 * 1.06 * 191 / 47
    for seed in range(5):
        cameras = make_rig(seed, WIDTH, HEIGHT, views)
        positions = [np.linalg.inv(camera.cam_T_world)[:3, 3] for camera in cameras]
        for reference, sources in rank_sources(cameras):
            focal = cameras[reference].K[0, 0] / 4
            depth = np.linalg.norm(positions[reference])
            for source, _ in sources[:2]:
                baseline = np.linalg.norm(positions[reference] - positions[source])
                assert focal * baseline * step / depth**2 > 0.45
                assert baseline < 370


NO_PICTURES = (np.zeros((0, 1, 1, 3), np.float32),) * 2


def front_view(kind: int, size: float) -> tuple[np.ndarray, np.ndarray]:
    """(one solid with white stripes 30 mm wide about x = 0, rays), seen from 600 mm; pixel (20, 16) sees its middle."""
    solid = np.zeros(1, render.SOLID)
    solid["kind"], solid["pattern"], solid["period"], solid["grain_period"] = kind, render.STRIPES, 60.0, 1e-3
    solid["unit_T_world"][0, :, :3] = np.eye(3) / size
    solid["texture_T_world"][0, :, :3] = np.eye(3)
    solid["colors"][0, 1], solid["reach"] = 1.0, np.inf
    cam_T_world = np.eye(4)
    cam_T_world[2, 3] = 600.0
    return solid, Camera(np.array([[100.0, 0, 20], [0, 100, 16], [0, 0, 1]]), cam_T_world).world_T_img()


@pytest.mark.parametrize("samples", [1, 2, 3])
def test_pixel_centres_are_at_integers(samples: int) -> None:
    solid, rays = front_view(render.PLANE, 1.0)
    light = np.zeros(1, render.LIGHT)
    light["direction"][0, 2], light["ambient"] = -1, 1.0
    row = render.render_images(solid, NO_PICTURES, light, rays, 100.0, 41, 33, samples)[0, 16, :, 0].astype(int)
    np.testing.assert_array_equal(row, row[::-1])
    # 6 mm per pixel: the middle stripe covers 17.5 to 22.5.
    assert row[20] == 255 and row[16] == 0 and row[18] > 200 and row[17] < 50


def test_depth_of_a_sphere_and_a_box() -> None:
    solid, rays = front_view(render.ELLIPSOID, 50.0)
    x = np.arange(16.0, 25.0)
    depth = render.render_depth(solid, rays, x, np.array([16.0]))[0]
    d = np.stack([(x - 20) / 100, np.ones(9)])
    b = 600 * d[1]
    expected = (b - np.sqrt(b * b - (d * d).sum(0) * (600**2 - 50**2))) / (d * d).sum(0)
    np.testing.assert_allclose(depth, expected, rtol=1e-12)
    solid, rays = front_view(render.BOX, 50.0)
    depth = render.render_depth(solid, rays, np.array([5.0, 12.0, 20.0, 29.0]), np.array([16.0]))[0]
    np.testing.assert_allclose(depth, [np.inf, 550, 550, 550])


def test_pairs_are_complete_and_sorted() -> None:
    pairs = rank_sources(make_rig(3, WIDTH, HEIGHT, VIEWS))
    assert [reference for reference, _ in pairs] == list(range(VIEWS))
    for reference, sources in pairs:
        scores = [score for _, score in sources]
        assert sorted([reference, *(source for source, _ in sources)]) == list(range(VIEWS))
        assert scores == sorted(scores, reverse=True) and min(scores) >= 0
        assert sum(score > 1 for score in scores) >= 4


def test_images_have_texture_and_are_well_exposed(scenes: list[Scene]) -> None:
    for scene in scenes:
        for images in scene.images.values():
            grey = images.mean(axis=-1).astype(np.float32)
            for image in grey:
                variance = cv2.blur(image * image, (7, 7)) - cv2.blur(image, (7, 7)) ** 2
                assert (variance > 4).mean() > 0.8
            assert 25 < grey.mean() < 200
            assert (images == 255).mean() < 0.1


def test_lights_differ_but_show_the_same_scene(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert np.abs(scene.images[3].astype(float) - scene.images[6]).mean() > 2
    alone = render_scene(SEEDS[0], WIDTH, HEIGHT, VIEWS, (6,))
    np.testing.assert_array_equal(alone.images[6], scenes[0].images[6])
    np.testing.assert_array_equal(alone.depths, scenes[0].depths)


def test_impossible_requests_are_refused() -> None:
    for width, height, views, lights in ((160, 128, 1, (3,)), (160, 128, 6, (7,)), (4, 4, 6, (3,)), (160, 128, 6, ())):
        with pytest.raises(DataError):
            render_scene(1, width, height, views, lights)


def hashes(root: Path) -> dict[str, str]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    """Files depend on neither the number nor the order of the scenes."""
    size = {"width": 40, "height": 32, "views": 3}
    write_training_layout(tmp_path / "a", {"scan1": 1, "scan2": 2}, **size)
    write_training_layout(tmp_path / "b", {"scan2": 2, "scan7": 7, "scan1": 1}, **size)
    a, b = hashes(tmp_path / "a"), hashes(tmp_path / "b")
    assert a and a.items() <= b.items()
    assert a["Depths_raw/scan1/depth_map_0000.pfm"] != a["Depths_raw/scan2/depth_map_0000.pfm"]
    write_test_layout(tmp_path / "c", {"scan1": 1}, **size)
    write_test_layout(tmp_path / "d", {"scan5": 5, "scan1": 1}, **size)
    c, d = hashes(tmp_path / "c"), hashes(tmp_path / "d")
    assert c and c.items() <= d.items()


def test_training_layout(tmp_path: Path) -> None:
    write_training_layout(tmp_path, {"scan4": 4}, 40, 32, 5, (3, 6), rig_seed=9)
    scene = render_scene(4, 40, 32, 5, (3, 6), rig_seed=9)
    pairs = read_pairs(tmp_path / "Cameras" / "pair.txt")
    assert [reference for reference, _ in pairs] == list(range(5))
    for view in range(5):
        camera = read_camera(tmp_path / "Cameras" / "train" / f"{view:08d}_cam.txt")
        np.testing.assert_allclose(camera.scaled(4, 4).K, scene.cameras[view].K, rtol=1e-7)
        np.testing.assert_allclose(camera.cam_T_world, scene.cameras[view].cam_T_world, rtol=1e-7)
        assert camera.depth_line == (425.0, 2.5)
        for light in (3, 6):
            image = read_image(tmp_path / "Rectified" / "scan4_train" / f"rect_{view + 1:03d}_{light}_r5000.png")
            np.testing.assert_array_equal(image, scene.images[light][view])
        depth = read_pfm(tmp_path / "Depths_raw" / "scan4" / f"depth_map_{view:04d}.pfm")
        np.testing.assert_array_equal(depth, scene.depths[view])
        mask = read_image(tmp_path / "Depths_raw" / "scan4" / f"depth_visual_{view:04d}.png")
        assert mask.shape[:2] == depth.shape and (mask == 255).all()


def test_test_layout(tmp_path: Path) -> None:
    done = []
    write_test_layout(tmp_path, {"scan4": 4, "scan5": 5}, 40, 32, 5, light=2, done=done.append)
    assert done == ["scan4", "scan5"]
    scene = render_scene(4, 40, 32, 5, (2,))
    folder = tmp_path / "scan4"
    assert len(read_pairs(folder / "pair.txt")) == 5
    for view in range(5):
        camera = read_camera(folder / "cams" / f"{view:08d}_cam.txt")
        np.testing.assert_allclose(camera.K, scene.cameras[view].K, rtol=1e-7)
        image = read_image(folder / "images" / f"{view:08d}.jpg").astype(float)
        assert np.abs(image - scene.images[2][view]).mean() < 8, "only JPEG's loss may stand between them"
        np.testing.assert_array_equal(read_pfm(folder / "gt" / f"{view:08d}.pfm"), scene.depths[view])
    rigs = [read_camera(tmp_path / scan / "cams" / "00000001_cam.txt").cam_T_world for scan in ("scan4", "scan5")]
    assert not np.allclose(*rigs), "test scenes have rigs of their own"


def test_scan_list_reads_back(tmp_path: Path) -> None:
    write_scan_list(tmp_path / "scans.txt", ["scan3", "scan1"])
    assert read_scan_list(tmp_path / "scans.txt") == ["scan3", "scan1"]


def test_scan_name_stays_in_its_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        write_test_layout(tmp_path / "out", {"../elsewhere": 1}, 40, 32, 3)
    assert not (tmp_path / "elsewhere").exists()


def test_program_writes_scenes_and_their_list(tmp_path: Path) -> None:
    flags = ["--scenes", "2", "--first_seed", "5", "--views", "3", "--width", "40", "--height", "32", "--lights", "3"]
    succeed(run_program("tools/make_synthetic.py", "--outdir", tmp_path / "train", *flags))
    assert read_scan_list(tmp_path / "train" / "scans.txt") == ["scan5", "scan6"]
    assert len(list((tmp_path / "train" / "Rectified" / "scan6_train").iterdir())) == 3
    paths = ["--outdir", str(tmp_path / "test"), "--list", str(tmp_path / "list.txt"), "--layout", "test"]
    succeed(run_program("tools/make_synthetic.py", *paths, *flags))
    assert read_scan_list(tmp_path / "list.txt") == ["scan5", "scan6"]
    assert (tmp_path / "test" / "scan6" / "pair.txt").is_file()

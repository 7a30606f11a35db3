"""Rich scenes: pictures on surfaces, highlights, a camera with faults, and rigs of every kind, all with exact depth."""

import numpy as np
import pytest
from PIL import Image

from datasets.camera import Camera
from datasets.files import DataError
from datasets.layouts.general import GeneralScans
from datasets.synthetic import render
from datasets.synthetic.pictures import SIZE, draw_picture, load_pictures, picture_pyramid
from datasets.synthetic.rig import RIGS, best_angle, make_rig, rank_sources
from datasets.synthetic.scans import Look, render_scene, write_test_layout, write_training_layout

RICH = Look(rich=True)


@pytest.mark.parametrize("rig", RIGS)
def test_depth_is_exact_and_inside_the_range_for_every_rig(rig: str) -> None:
    """A view's depth, moved to its neighbour, is the neighbour's own depth unless something stands before it."""
    scene = render_scene(7, 96, 64, 4, look=Look(rich=True, rig=rig))
    for camera, depth in zip(scene.cameras, scene.depths, strict=True):
        low, high = camera.depth_range(192)
        assert low < depth.min() and depth.max() < high
    reference, source = scene.cameras[1], scene.cameras[2]
    rows, columns = np.mgrid[:64, :96].astype(float)
    depth = scene.depths[1]
    points = np.stack([columns * depth, rows * depth, depth, np.ones_like(depth)]).reshape(4, -1)
    x, y, z, _ = source.projection() @ np.linalg.inv(reference.projection()) @ points
    u, v = np.rint(x / z).astype(int), np.rint(y / z).astype(int)
    inside = (u >= 0) & (u < 96) & (v >= 0) & (v < 64)
    found = scene.depths[2][v[inside], u[inside]]
    assert inside.mean() > 0.3
    assert (np.abs(found - z[inside]) < 0.02 * z[inside]).mean() > 0.7


def test_a_rig_of_any_kind_is_the_seeds_own() -> None:
    kinds = [Look(rig="any").rig_of(seed) for seed in range(30)]
    assert set(kinds) == set(RIGS) and kinds == [Look(rig="any").rig_of(seed) for seed in range(30)]


@pytest.mark.parametrize("rig", ["arc", "path"])
def test_the_best_sources_are_neighbours(rig: str) -> None:
    pairs = rank_sources(make_rig(3, 96, 64, 8, rig), best_angle(rig))
    assert all(abs(sources[0][0] - reference) <= 4 for reference, sources in pairs)


def test_exposure_and_noise_differ_from_view_to_view_but_not_from_run_to_run() -> None:
    scene, again = (render_scene(5, 64, 64, 3, (3, 6), look=RICH) for _ in range(2))
    alone = render_scene(5, 64, 64, 3, (6,), look=RICH)
    np.testing.assert_array_equal(scene.images[6], again.images[6])
    np.testing.assert_array_equal(scene.images[6], alone.images[6])
    noise = scene.images[3].astype(float).var(axis=(1, 2)).mean()
    assert noise > 0 and not np.array_equal(scene.images[3], scene.images[6])


def plane(pattern: int) -> tuple[np.ndarray, np.ndarray]:
    """(the plane z = 0, rays of 64 x 64 pixels of 4 mm each from 400 mm before it; pixel (32, 32) sees the origin)."""
    solid = np.zeros(1, render.SOLID)
    solid["kind"], solid["pattern"], solid["grain_period"], solid["reach"] = render.PLANE, pattern, 10.0, np.inf
    solid["unit_T_world"][0, :, :3] = solid["texture_T_world"][0, :, :3] = np.eye(3)
    cam_T_world = np.eye(4)
    cam_T_world[2, 3] = 400.0
    return solid, Camera(np.array([[100.0, 0, 32], [0, 100, 32], [0, 0, 1]]), cam_T_world).world_T_img()


def frontal_light(strength: float, ambient: float) -> np.ndarray:
    light = np.zeros(1, render.LIGHT)
    light["direction"][0, 2], light["strength"], light["ambient"] = -1, strength, ambient
    return light


def test_a_picture_keeps_its_place_and_its_mean() -> None:
    """Left half black, right half white, 128 mm wide: its middle lies 64 mm from the origin, mirrored at 128 mm."""
    picture = np.zeros((SIZE, SIZE, 3), np.uint8)
    picture[:, SIZE // 2 :] = 255
    solid, rays = plane(render.PICTURE)
    solid["period"] = 128.0
    pyramid = picture_pyramid([picture])
    image = render.render_images(solid, pyramid, frontal_light(0.0, 1.0), rays, 100.0, 64, 64, 2)[0, ..., 0]
    row = image[40].astype(int)
    assert row[33] == 0 and row[47] < 30 and row[49] > 225 and row[63] == 255
    np.testing.assert_array_equal(image[5], image[60])
    solid["period"] = 1e-3  # far smaller than a pixel: only the mean is left
    grey = render.render_images(solid, pyramid, frontal_light(0.0, 1.0), rays, 100.0, 64, 64, 2)
    assert np.abs(grey.astype(int) - 128).max() <= 1


def test_gloss_adds_a_highlight_where_the_light_is_mirrored() -> None:
    solid, rays = plane(render.PLAIN)
    solid["colors"][:] = 0.3
    arguments = (
        picture_pyramid([np.zeros((SIZE, SIZE, 3), np.uint8)]),
        frontal_light(0.5, 0.2),
        rays,
        100.0,
        64,
        64,
        1,
    )
    dull = render.render_images(solid, *arguments)[0, ..., 0].astype(int)
    solid["gloss"], solid["shine"] = 0.5, 50.0
    glossy = render.render_images(solid, *arguments)[0, ..., 0].astype(int)
    gain = glossy - dull
    assert gain[32, 32] > 50 and gain[32, 32] == gain.max() and gain[0, 0] < gain[32, 32] / 2 and gain.min() >= 0


def test_drawn_pictures_are_pictures() -> None:
    """Of full size, none like another, and every pyramid ends in the mean."""
    pictures = [draw_picture(np.random.default_rng(seed)) for seed in range(40)]
    assert all(picture.shape == (SIZE, SIZE, 3) and picture.dtype == np.uint8 for picture in pictures)
    assert len({picture.tobytes() for picture in pictures}) == 40
    assert min(picture.std() for picture in pictures) > 1
    pyramid = picture_pyramid(pictures)
    means = np.stack([picture.mean(axis=(0, 1)) for picture in pictures]) / 255
    np.testing.assert_allclose(pyramid[-1][:, 0, 0], means, atol=1e-4)


def test_photographs_are_cut_to_squares(tmp_path) -> None:
    values = np.zeros((200, 300, 3), np.uint8)
    values[:, 50:250] = 200
    Image.fromarray(values).save(tmp_path / "photo.png")
    Image.fromarray(values[:100]).save(tmp_path / "small.png")
    (picture,) = load_pictures(tmp_path)
    assert picture.shape == (SIZE, SIZE, 3) and picture.min() == 200
    with pytest.raises(DataError, match="holds no photograph"):
        load_pictures(tmp_path / "nothing")


def test_layouts(tmp_path) -> None:
    """The test layout takes any rig with a depth range per view; the training layout shares its ring."""
    look = Look(rich=True, rig="arc")
    write_test_layout(tmp_path, {"scan9": 9}, 64, 64, 4, look=look)
    layout = GeneralScans(tmp_path)
    lines = {layout.camera("scan9", view).depth_line for view in range(4)}
    assert len(lines) == 4
    with pytest.raises(DataError, match="shared by all scenes"):
        write_training_layout(tmp_path, {"scan9": 9}, 64, 64, 4, look=look)

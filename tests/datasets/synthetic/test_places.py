"""Rooms and the open air: exact depth, ranges that photos would give, colours that fit, and nothing but the seed."""

import dataclasses

import numpy as np
import pytest

from datasets.camera import Camera
from datasets.files import DataError
from datasets.io import read_pairs
from datasets.layouts.general import GeneralScans
from datasets.synthetic import render
from datasets.synthetic.kinds import PLACES, RIGS_OF_PLACES
from datasets.synthetic.parts import Paint, ball, box, plane, shades, solids_of
from datasets.synthetic.places import kind_of
from datasets.synthetic.scans import Look, Scene, render_scene, write_test_layout, write_training_layout
from tools import make_synthetic

WIDTH, HEIGHT, VIEWS = 96, 64, 5
SEEDS = (3, 4)


@pytest.fixture(scope="module", params=[(place, seed) for place in PLACES for seed in SEEDS], ids=str)
def scene(request: pytest.FixtureRequest) -> Scene:
    place, seed = request.param
    return render_scene(seed, WIDTH, HEIGHT, VIEWS, look=Look(place=place, rig="any"))


def test_depth_ranges_are_a_views_own_and_hold_what_it_sees(scene: Scene) -> None:
    """At least 98 % of the known pixels lie inside; the far end is 1.6 to 25 times as far as the near one."""
    lines = {camera.depth_line for camera in scene.cameras}
    assert len(lines) == VIEWS
    for camera, depth in zip(scene.cameras, scene.depths, strict=True):
        near, far = camera.depth_range(192)
        known = depth[depth > 0]
        assert ((near <= known) & (known <= far)).mean() >= 0.98
        assert 1.6 < far / near < 25
        assert known.size > 0.5 * depth.size, "mostly sky"


def seen_by(scene: Scene, reference: int, source: int, scale: float = 1.0) -> tuple[np.ndarray, ...]:
    """The reference's known pixels with depth times `scale`, moved to the source: rows, columns, depth there, and
    which of the reference's pixels (boolean [H, W]) they are."""
    depth = scene.depths[reference].astype(float) * scale
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    points = np.stack([columns * depth, rows * depth, depth, np.ones_like(depth)]).reshape(4, -1)
    cameras = scene.cameras
    x, y, z, _ = cameras[source].projection() @ np.linalg.inv(cameras[reference].projection()) @ points
    with np.errstate(invalid="ignore", divide="ignore"):
        u, v = x / z, y / z
    inside = (depth.ravel() > 0) & (z > 0) & (u > 0) & (u < WIDTH - 1) & (v > 0) & (v < HEIGHT - 1)
    u, v = np.rint(u[inside]).astype(int), np.rint(v[inside]).astype(int)
    return v, u, z[inside], inside.reshape(HEIGHT, WIDTH)


def test_views_agree_on_depth_and_colour(scene: Scene) -> None:
    """What one view sees, its neighbour sees at the same depth, or something before it, in nearly the same colour;
    with a wrong depth the colours fit worse."""
    exact, wrong, agreeing, hidden, count = [], [], 0, 0, 0
    for reference in range(VIEWS - 1):
        for scale, residuals in ((1.0, exact), (1.12, wrong)):
            v, u, z, inside = seen_by(scene, reference, reference + 1, scale)
            found = scene.depths[reference + 1][v, u]
            agree = np.abs(found - z) < 0.02 * z
            kept = agree if scale == 1.0 else np.ones_like(agree)
            colors = scene.images[3][reference][inside].astype(float)
            residuals.append(np.abs(colors - scene.images[3][reference + 1][v, u])[kept].ravel())
            if scale == 1.0:
                agreeing, hidden, count = agreeing + agree.sum(), hidden + (found < z).sum(), count + len(z)
    assert agreeing > 0.5 * count
    assert (agreeing + hidden) > 0.9 * count
    assert np.median(np.concatenate(exact)) < 14
    assert np.concatenate(wrong).mean() > 1.1 * np.concatenate(exact).mean()


@pytest.mark.parametrize("place", PLACES)
def test_a_scene_is_its_seeds(place: str) -> None:
    look = Look(place=place, rig="any")
    scene, other = (render_scene(seed, 64, 32, 3, (2,), look=look) for seed in (8, 9))
    both = render_scene(8, 64, 32, 3, (5, 2), look=look)
    np.testing.assert_array_equal(scene.images[2], both.images[2])
    np.testing.assert_array_equal(scene.depths, both.depths)
    assert not np.array_equal(scene.depths, other.depths) and not np.array_equal(both.images[2], both.images[5])


@pytest.mark.parametrize("walk", RIGS_OF_PLACES)
def test_every_walk_fits_a_room(walk: str) -> None:
    scene = render_scene(12, 32, 32, 3, look=Look(place="room", rig=walk))
    assert scene.depths.shape == (3, 32, 32) and scene.images[3].shape == (3, 32, 32, 3)
    assert scene.depths.min() > 300, "a thing before the lens"
    assert len({tuple(camera.cam_T_world[:3, 3]) for camera in scene.cameras}) == 3


def test_mixed_scenes_are_rooms_and_the_open_air() -> None:
    kinds = [kind_of(seed, "mixed") for seed in range(60)]
    assert set(kinds) == set(PLACES) and kinds.count("room") > kinds.count("outdoor")
    assert kind_of(5, "outdoor") == "outdoor"


def test_layouts(tmp_path) -> None:
    """The test layout takes places, sources by overlap; the training layout, whose cameras are shared, refuses them."""
    look = Look(place="room", rig="video")
    write_test_layout(tmp_path, {"scan6": 6}, 64, 32, 5, look=look)
    for reference, sources in read_pairs(tmp_path / "scan6" / "pair.txt"):
        assert reference not in sources and len(set(sources)) == len(sources) >= 2
    depth = GeneralScans(tmp_path).ground_truth("scan6", 0, (64, 32))
    np.testing.assert_array_equal(depth, render_scene(6, 64, 32, 5, look=look).depths[0])
    with pytest.raises(DataError, match="shared by all scenes"):
        write_training_layout(tmp_path, {"scan6": 6}, 64, 64, 4, look=dataclasses.replace(look, rig="ring"))


@pytest.mark.parametrize("flags", [["--style", "room"], ["--layout", "test", "--style", "room", "--rig", "arc"]])
def test_program_refuses_what_does_not_fit(flags: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr("sys.argv", ["make_synthetic", "--outdir", str(tmp_path / "out"), *flags])
    with pytest.raises(SystemExit):
        make_synthetic.main()
    assert not (tmp_path / "out").exists()


# ---------------------------------------------------------------- what the ray caster knows for places

GREY = Paint(shades(np.full(3, 0.5), 0.0))
NO_PICTURES = (np.zeros((0, 1, 1, 3), np.float32),) * 2


def view(solids: np.ndarray, light: np.ndarray) -> np.ndarray:
    """Colours [48, 64] of red, seen along z from the origin."""
    camera = Camera(np.array([[60.0, 0, 31.5], [0, 60, 23.5], [0, 0, 1]]), np.eye(4))
    return render.render_colors(solids, NO_PICTURES, light, camera.world_T_img(), 60.0, 64, 48, 1)[0, ..., 0]


def light(ambient: float = 0.0, lamp: tuple[float, float, float] | None = None) -> np.ndarray:
    record = np.zeros(1, render.LIGHT)
    record["direction"], record["ambient"] = (0, -1, 0), ambient
    if lamp is not None:
        record["lamps"][0, 0] = [*lamp, 1.0, 1.0, 1.0]
    return record


def wall_and(*parts: object) -> np.ndarray:
    """A grey wall 2 m away, and parts before it."""
    return solids_of(np.random.default_rng(0), [plane([0, 0, 2000], np.eye(3), GREY)], [list(parts)] if parts else [])


def test_a_lamp_lights_what_is_near_and_casts_shadows() -> None:
    lit = view(wall_and(), light(lamp=(0, 0, 1000)))
    assert lit[24, 32] == lit.max() and lit[0, 0] < 0.5 * lit.max()
    shaded = view(wall_and(ball([400, 0, 1500], [100, 100, 100], GREY)), light(lamp=(0, 0, 1000)))
    # The ball's shadow falls on the wall at x = 800 mm, behind and beside it: pixel 31.5 + 24.
    assert shaded[24, 55] < 0.2 * lit[24, 55] and shaded[24, 8] == lit[24, 8]


def test_what_glows_needs_no_light_and_casts_no_shadow() -> None:
    bulb = ball([400, 0, 1500], [100, 100, 100], dataclasses.replace(GREY, glow=3.0))
    image, lit = (view(wall_and(*parts), light(lamp=(0, 0, 1000))) for parts in ([bulb], []))
    assert image[24, 47] == pytest.approx(1.5)
    assert image[24, 55] == lit[24, 55]


def test_a_mirror_shows_what_stands_behind_it() -> None:
    """A glowing box over a floor appears again below it, upside down."""
    floor = plane([0, 400, 0], np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]), dataclasses.replace(GREY, mirror=1.0))
    glowing = box([0, 250, 1500], [200, 200, 200], dataclasses.replace(GREY, glow=2.0))
    wall = plane([0, 0, 5000], np.eye(3), GREY)
    image = view(solids_of(np.random.default_rng(0), [floor, wall], [[glowing]]), light(0.1))
    dull = dataclasses.replace(floor, paint=GREY)
    without = view(solids_of(np.random.default_rng(0), [dull, wall], [[glowing]]), light(0.1))
    gain = image - without
    row, column = np.unravel_index(gain.argmax(), gain.shape)
    # The mirrored box has its middle 150 mm below the floor, at y = 550 mm and about 1400 mm away.
    assert abs(column - 31.5) < 5 and abs(row - (23.5 + 60 * 520 / 1400)) < 5 and gain.max() > 0.1


def test_groups_only_save_time() -> None:
    rng = np.random.default_rng(3)
    parts = [ball(rng.normal((0, 0, 1500), 300), rng.uniform(30, 150, 3), GREY) for _ in range(20)]
    grouped = wall_and(*parts)
    single = grouped.copy()
    single["members"] = 0
    lamp = light(0.2, (0, -200, 500))
    assert grouped["members"].max() == 20
    np.testing.assert_array_equal(view(grouped, lamp), view(single, lamp))


def test_corners_are_darker() -> None:
    side = plane([800, 0, 0], np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]]), GREY)
    corner = light(0.5)
    corner["corners"] = 0.5
    image = view(solids_of(np.random.default_rng(0), [plane([0, 0, 2000], np.eye(3), GREY), side], []), corner)
    assert image[24, 54] < 0.8 * image[24, 10] and np.ptp(image[24, :20]) < 0.05


def test_old_styles_stay_as_they_were() -> None:
    """Means of images and depth, as the first version of the styles gave them."""
    for look, brightness, depth in OLD:
        scene = render_scene(7, 96, 64, 3, (3,), look=look)
        np.testing.assert_allclose(scene.images[3].mean(axis=(1, 2, 3)), brightness, atol=0.02)
        np.testing.assert_allclose(scene.depths.mean(axis=(1, 2)), depth, rtol=1e-5)


OLD = (
    (Look(), (80.604, 75.292, 85.834), (633.439, 637.580, 646.809)),
    (Look(rich=True), (76.722, 72.180, 89.082), (641.791, 646.617, 645.376)),
    (Look(rich=True, rig="arc"), (99.703, 109.114, 108.672), (545.370, 635.807, 629.512)),
)

"""The table of depth ranges: of a view's own points, and with its neighbours'."""

import numpy as np
import pytest
from colmap_models import small_model, write_model
from helpers import error_line, run_program, succeed

from datasets.photos.posed import PosedPhotos
from tools.photos.ranges import format_ranges, range_rows


def scene_of_two_depths() -> PosedPhotos:
    """Four photos; the first shares with the third only the far points, all see the near ones."""
    from datasets.photos.posed import Lens, PosedPhoto

    rng = np.random.default_rng(0)
    points = np.concatenate([rng.uniform(-1, 1, (40, 3)), rng.uniform(-1, 1, (40, 3)) + np.array([0, 0, 30])])
    lens = Lens((80, 60), np.array([[60, 0, 40], [0, 60, 30], [0, 0, 1.0]]))
    photos = []
    for k in range(4):
        cam_T_world = np.eye(4)
        cam_T_world[:3, 3] = -0.2 * k, 0, 10
        photos.append(PosedPhoto(f"{k}.jpg", lens, cam_T_world))
    near = [(point, photo) for point in range(40) for photo in (0, 1)]
    far = [(point, photo) for point in range(40, 80) for photo in range(4)]
    return PosedPhotos(photos, points, np.unique(near + far, axis=0))


def test_what_fewer_photos_lose_is_told():
    """With every second photo no other sees the near points: the first photo's range begins behind them."""
    first, *_ = range_rows(scene_of_two_depths())
    assert first.own_share == first.our_share == 1 and first.own[0] < 9
    first, *_ = range_rows(scene_of_two_depths(), every=2)
    assert first.own[0] > 20 and first.own_share == pytest.approx(0.5)
    printed = format_ranges(range_rows(scene_of_two_depths(), every=2)).splitlines()
    assert printed[1].startswith("0.jpg") and "50.0%" in printed[1] and printed[-1].startswith("least")


def test_program(tmp_path):
    model = write_model(tmp_path / "sparse", small_model(), text=True)
    assert "with neighbours'" in succeed(run_program("tools/depth_ranges.py", "--model", model))
    (model / "points3D.txt").write_text("")
    assert "does not say which photo sees which point" in error_line(
        run_program("tools/depth_ranges.py", "--model", model)
    )

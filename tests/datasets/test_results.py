"""Predictions of a scan: what stays in memory."""

import gc
import weakref

import numpy as np
from fusion_scenes import camera, plane_depth, write_scan

from datasets.results import Predictions


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

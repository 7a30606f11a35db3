"""Labels from exact depth: their deviation is a share of the student's own intervals, in either spacing."""

import dataclasses

import numpy as np
import pytest
import torch

from datasets.io import read_camera, write_camera
from datasets.mvs import Settings, open_dataset
from datasets.synthetic.scans import write_test_layout
from fusion.labels import exact_label
from models.hypotheses import refined_hypotheses

SIGMA = 0.4


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """One scan whose range is ten to one, as indoors."""
    root = tmp_path_factory.mktemp("labels")
    write_test_layout(root, {"room": 3}, 64, 64, 3)
    path = root / "room" / "cams" / "00000000_cam.txt"
    camera = read_camera(path)
    near = camera.depth_line[0] / 4
    write_camera(path, dataclasses.replace(camera, depth_line=(near, 9 * near / 192, 192.0, 10 * near)))
    return open_dataset("general_eval", root, "all", Settings(views=2, ground_truth=True))


@pytest.mark.parametrize("spacing", ["linear", "inverse"])
def test_the_deviation_follows_the_hypotheses(dataset, spacing):
    """At every depth it is the same share of the step between the last stage's hypotheses around it."""
    mu, sigma = exact_label(dataset, 0, SIGMA, spacing == "inverse")
    known = mu > 0
    assert known.mean() > 0.1
    values = torch.from_numpy(dataset[0]["depth_values"])[None]
    depth = torch.from_numpy(np.where(known, mu, values[0, 50].item()))[None]
    count = 9
    hypotheses = refined_hypotheses(depth, count, 1, values, mu.shape, mu.shape, spacing)[0].numpy()
    steps = (hypotheses[count // 2 + 1] - hypotheses[count // 2 - 1]) / 2 * (count - 1) / count  # ends count, too
    np.testing.assert_allclose(sigma[known], SIGMA * steps[known], rtol=0.05)
    assert (sigma[~known] == 0).all()

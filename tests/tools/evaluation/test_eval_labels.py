"""Pseudo-labels against exact depth."""

import numpy as np
import pytest
from helpers import error_line, run_program, succeed

from datasets.files import DataError
from datasets.layouts.general import GeneralScans
from datasets.synthetic.scans import write_test_layout
from fusion.labels import write_label
from tools.evaluation.labels import label_metrics


@pytest.fixture
def scenes(tmp_path):
    """A scan, and labels of two of its three views: the upper half, of it the left half wrong by 2 %."""
    write_test_layout(tmp_path / "scenes", {"scan1": 1}, width=64, height=64, views=3)
    layout = GeneralScans(tmp_path / "scenes")
    for view in range(2):
        mean = layout.ground_truth("scan1", view, (64, 64)).copy()
        mean[:, :32] *= 1.02
        mean[32:] = 0
        write_label(tmp_path / "labels" / "scan1", view, mean, np.where(mean > 0, 1e-3 * mean, 0), "test")
    return layout, tmp_path / "labels"


def test_share_and_errors(scenes):
    """A third of the pixels: half of two of three views; half of these within 1 %, as their deviation says."""
    layout, labels = scenes
    metrics = label_metrics(layout, labels, ["scan1"], (0.01, 0.05))
    known = [layout.ground_truth("scan1", view, (64, 64)) > 0 for view in range(3)]
    upper = sum(mask[:32].sum() for mask in known[:2])
    assert metrics["labelled"] == pytest.approx(upper / sum(mask.sum() for mask in known))
    left = sum(mask[:32, :32].sum() for mask in known[:2]) / upper
    assert metrics["mean_relative"] == pytest.approx(0.02 * left, rel=1e-3)
    assert metrics["within_1%"] == metrics["within_sigma"] == pytest.approx(1 - left)
    assert metrics["within_5%"] == 1


def test_the_program_prints_a_table(scenes, tmp_path):
    layout, labels = scenes
    printed = succeed(run_program("tools/eval_labels.py", "--testpath", layout.root, "--labels", f"mine={labels}"))
    assert "labelled" in printed and "in 2 sigma" in printed and "\nmine " in printed
    (tmp_path / "empty").mkdir()
    printed = succeed(run_program("tools/eval_labels.py", "--testpath", layout.root, "--labels", tmp_path / "empty"))
    assert "0.0%" in printed


def test_without_truth(scenes):
    layout, labels = scenes
    for path in (layout.root / "scan1" / "gt").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="no ground truth"):
        label_metrics(layout, labels, ["scan1"], (0.01,))
    result = run_program("tools/eval_labels.py", "--testpath", layout.root, "--labels", labels)
    assert "no ground truth" in error_line(result)

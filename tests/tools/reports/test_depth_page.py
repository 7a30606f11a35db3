"""The page that compares depth: its table, and the errors of the most confident pixels."""

import re

import numpy as np
import pytest
from helpers import run_program, succeed

from datasets.formats.pfm import write_pfm
from datasets.layouts.general import GeneralScans
from datasets.synthetic.scans import write_test_layout
from tools.evaluation.depth import Pixels
from tools.reports.depth_page import depth_page, errors_of_confident


def pixels(errors: list[float], confidence: list[float]) -> Pixels:
    """Pixels at depth 100 with errors in per cent."""
    errors, confidence = np.array(errors, np.float32), np.array(confidence, np.float32)
    return Pixels(np.full_like(errors, 100), 100 + errors, confidence)


def test_the_curve_takes_the_most_confident_first():
    """Its last point is the error of all."""
    series = errors_of_confident("a", pixels([4, 1, 2, 3], [0.1, 0.9, 0.8, 0.5]))
    np.testing.assert_allclose(series.points, [[25, 1], [50, 1.5], [75, 2], [100, 2.5]], rtol=1e-5)
    series = errors_of_confident("a", pixels([4, 1, 2, 3], [0.1, 0.9, 0.8, 0.5]), "median")
    np.testing.assert_allclose(series.points[:, 1], [1, 1.5, 2, 2.5], rtol=1e-5)


def test_equal_confidence_tells_no_order():
    """Pixels without depth come last, whatever their confidence."""
    series = errors_of_confident("a", pixels([4, 1, 2, 3], [1, 1, 1, 1]))
    np.testing.assert_allclose(series.points, [[100, 2.5]], rtol=1e-5)
    series = errors_of_confident("a", pixels([-100, 1, 2, 3], [1, 0.5, 0.5, 0.2]))
    np.testing.assert_allclose(series.points, [[50, 1.5], [75, 2], [100, 26.5]], rtol=1e-5)


def test_every_scene_has_its_table_and_charts():
    """More predictions than a chart can tell apart get several; names are escaped."""
    predictions = {f"net <{k}>": pixels([1, 2], [0.5, 0.6]) for k in range(7)}
    page = depth_page("A title", {"garden": predictions, "house": {"zncc": pixels([7, 7], [1, 1])}}, (0.01,)).decode()
    assert page.count("<h2>") == 2 and page.count("<svg") == 4 + 2
    assert "net &lt;6&gt;" in page and "<6>" not in page
    assert re.search(r"7\.00%.*0\.0%", page, re.DOTALL)


@pytest.mark.parametrize("flag", ["--relative", "--by_scan"])
def test_program_writes_the_page(tmp_path, flag):
    write_test_layout(tmp_path / "scenes", {"scan1": 1}, width=64, height=64, views=3)
    layout = GeneralScans(tmp_path / "scenes")
    for view, _ in layout.pairs("scan1"):
        for folder in ("depth_est", "confidence"):
            depth = layout.ground_truth("scan1", view, (64, 64))
            write_pfm(tmp_path / "out" / "scan1" / folder / f"{view:08d}.pfm", depth)
    flags = ("--testpath", tmp_path / "scenes", "--predictions", f"exact={tmp_path / 'out'}", flag)
    flags += ("0.01",) if flag == "--relative" else ()
    succeed(run_program("tools/eval_depth.py", *flags, "--page", tmp_path / "page.html"))
    assert "exact" in (tmp_path / "page.html").read_text()

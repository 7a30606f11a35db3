"""What is said after the work: which share of the pixels became points, why others did not, and how good it is."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from fusion_scenes import camera, plane_depth, write_scan

from datasets.predictions import Predictions
from fusion.builtin import fuse_scan
from tools.photos.coverage import Coverage, Step
from tools.photos.outcome import PixelShares, judge, pixel_shares
from tools.prediction.settings import FusionSettings

SIZE = (64, 96)
FUSION = FusionSettings(disp_threshold=0.25, num_consistent=2)
PAIRS = [(view, [other for other in range(4) if other != view]) for view in range(4)]


@pytest.fixture
def scan(tmp_path) -> Path:
    """Four views of a plane at 1000 mm, from places side by side; a band of each has another flaw.

    Of 64 rows: 16 of no confidence, 8 at the range's end, 8 that the mask has emptied, 32 exact.
    """
    cameras = [camera((20.0 * k, 0, 0), size=SIZE) for k in range(4)]
    cameras = [dataclasses.replace(each, depth_line=(500.0, 10.0, 192.0, 2420.0)) for each in cameras]
    depths = [plane_depth(each, (0, 0, 1), 1000.0, SIZE) for each in cameras]
    confidences = [np.ones(SIZE, np.float32) for _ in cameras]
    for k, (depth, confidence) in enumerate(zip(depths, confidences, strict=True)):
        confidence[:16] = 0
        depth[16:24] = (501, 2419)[k % 2]
        depth[24:32] = confidence[24:32] = 0
    return write_scan(tmp_path / "scan", depths, cameras, confidences)


def test_why_pixels_did_not_become_points(scan):
    """Each reason has its share of the pixels that are not masked."""
    shares = pixel_shares(Predictions(scan), PAIRS, FUSION)
    assert sum(dataclasses.astuple(shares)) == pytest.approx(1)
    assert shares.confidence == pytest.approx(16 / 56, abs=0.01)
    assert shares.range == pytest.approx(8 / 56, abs=0.03)
    assert shares.kept == pytest.approx(32 / 56, abs=0.06)  # at the sides too few see the plane


def test_shares_are_those_of_the_cloud(scan, tmp_path):
    """What is counted on every second row and column is what fusion keeps of all."""
    count = fuse_scan(scan, [0, 1, 2, 3], tmp_path / "cloud.ply", FUSION.prob_threshold, 0.25, 2)
    shares = pixel_shares(Predictions(scan), PAIRS, FUSION)
    assert shares.kept * 4 * 56 * 96 == pytest.approx(count, rel=0.1)


def test_pixels_that_one_view_alone_sees(scan):
    """Views that look past each other confirm nothing."""
    shares = pixel_shares(Predictions(scan), PAIRS[:1], FUSION)
    assert shares.kept == 0 and shares.alone == pytest.approx(32 / 56, abs=0.01)


def test_the_other_checks_are_counted_too(scan):
    """normal and dynamic, by the sources of each view."""
    fusion = FusionSettings(method="normal", thres_view=2, conf=0.05)
    shares = pixel_shares(Predictions(scan), PAIRS, fusion)
    assert shares.kept == pytest.approx(32 / 56, abs=0.1)
    assert shares.confidence == pytest.approx(16 / 56, abs=0.01)


# ---------------------------------------------------------------- the verdict

GOOD = PixelShares(0.6, 0.05, 0.1, 0.15, 0.1)
POOR = PixelShares(0.05, 0.05, 0.1, 0.5, 0.3)
APART = Coverage(["a.jpg", "b.jpg"], [Step(0, 1, 0.12, 31.0)], 1.0, 20.0)


def test_a_good_result():
    """Plain words, and nothing to do."""
    verdict = judge(11, 11, 820_000, GOOD, None)
    assert verdict.verdict == "good" and verdict.advice == ()
    assert verdict.sentences[:2] == (
        "All 11 photos found their place.",
        "60% of their pixels became points, 820,000 in all.",
    )


def test_a_poor_result_says_what_to_do():
    """The reasons, the largest first, and which photos to take."""
    verdict = judge(13, 12, 900, POOR, APART)
    assert verdict.verdict == "poor" and "12 of 13 photos" in verdict.sentences[0]
    assert "50%: no other photo confirms their depth; 30%: too few" in verdict.sentences[-1]
    assert any(each.startswith("a.jpg shares 12% of its points") and "take 3 photos" in each for each in verdict.advice)
    assert any("one every few steps" in each for each in verdict.advice)


@pytest.mark.parametrize(("placed", "points"), [(4, 1000), (11, 0)])
def test_a_result_that_lacks_photos_or_points_is_not_good(placed, points):
    """However many of the pixels that there are became points."""
    assert judge(11, placed, points, GOOD, None).verdict == "poor"


def test_a_verdict_is_kept_as_json():
    """As pages read it."""
    kept = judge(11, 9, 820_000, GOOD, APART).as_json()
    assert kept.keys() == {"verdict", "sentences", "advice"} and isinstance(kept["sentences"], list)

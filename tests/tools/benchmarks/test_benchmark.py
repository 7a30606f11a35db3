"""The benchmark: measuring in processes of their own, its flags, and that plain and fast compute the same."""

import json
import os
import shutil

import numpy as np
import pytest
from fusion_scenes import sources_of
from helpers import run_program, succeed

from datasets.files import DataError
from datasets.formats.pfm import read_pfm
from datasets.synthetic.scans import write_test_layout
from models.blocks import fold
from models.cascade import build_model
from tools.benchmarks import clouds, networks
from tools.benchmarks.measure import Case, Comparison, compare, in_process, repeated
from tools.benchmarks.roofline import prediction_work


def seconds_of(value, variable="") -> tuple[list[float], dict]:
    """A case that measures what it is told, and tells an environment variable."""
    return [value, 3 * value], {"variable": os.environ.get(variable)}


def failing() -> None:
    """A case that breaks."""
    raise ValueError("no such luck")


def dying() -> None:
    """A case whose process is gone."""
    os._exit(7)


def test_medians_and_ratios():
    """The median over all repetitions, and how many times faster than the first case."""
    cases = (Case("plain", seconds_of, {"value": 2.0}), Case("fast", seconds_of, {"value": 0.5}))
    plain, fast = compare(Comparison("section", "setting", "unit", cases), rounds=1)
    assert (plain.seconds, plain.least, plain.most, plain.times_faster) == (4.0, 2.0, 6.0, 1.0)
    assert fast.seconds == 1.0 and fast.times_faster == 4.0 and fast.peak_gb > 0.01


def test_environment_of_a_case():
    """It reaches the case's process and stays out of this one."""
    case = Case("case", seconds_of, {"value": 1.0, "variable": "KDMVS_TEST"}, {"KDMVS_TEST": "there"})
    (_, figures), _ = in_process(case)
    assert figures == {"variable": "there"} and "KDMVS_TEST" not in os.environ


@pytest.mark.parametrize(("function", "message"), [(failing, "no such luck"), (dying, "ended by itself")])
def test_a_case_that_fails_is_named(function, message):
    """An error in a case, or the end of its process, ends the benchmark with its name."""
    with pytest.raises(DataError, match=f"benchmark case: .*{message}"):
        in_process(Case("case", function))


def test_warm_up_is_left_out():
    """One call more than repetitions, and seconds per unit."""
    calls = []
    assert len(repeated(lambda: calls.append(1), 3, per=10)) == 3 and len(calls) == 4


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    """A root with one small scan of eleven views."""
    root = tmp_path_factory.mktemp("scan")
    write_test_layout(root, {"scan1": 1}, 64, 64, 11)
    return root


def test_plain_check_agrees(scan):
    """The NumPy and OpenCV way finds the same pixels and means as fusion/consistency.py."""
    views = clouds.read_depth_views(scan)
    ours = clouds.check_view(views[0], views[1:], clouds.normal_check())
    passed, mean, sigma = clouds._check_with_arrays(views[0], views[1:])
    assert (passed == ours.passed).mean() > 0.99
    both = passed & ours.passed
    assert both.sum() > 1000
    # OpenCV samples at 1/32 pixel, so a source at a threshold may count for one and not for the other.
    assert (np.abs(mean - ours.mean)[both] < 0.1).mean() > 0.98
    assert (np.abs(sigma - ours.sigma)[both] < 0.1).mean() > 0.98


def test_plain_refinement_agrees(scan):
    """The NumPy way chooses the depths that fusion/consensus.py chooses."""
    views = clouds.read_depth_views(scan)
    arguments = views[0].depth, sources_of(views, [np.ones_like(view.depth) for view in views[1:]])
    ours, plain = clouds.supported_depth(*arguments), clouds.supported_depth_with_arrays(*arguments)
    moved = (ours != views[0].depth) | (plain != views[0].depth)
    assert moved.mean() > 0.01
    assert (ours == plain)[moved].mean() > 0.97  # a projection may lie half-way between two pixels


def test_plain_prediction_agrees(scan, tmp_path, monkeypatch):
    """What is timed as plain writes the depth maps that the project's way writes."""
    checkpoint = tmp_path / "student.ckpt"
    networks.write_random_checkpoint(checkpoint)
    monkeypatch.setattr(networks.tempfile, "TemporaryDirectory", lambda: _Folder(tmp_path / "out"))
    maps = []
    for run in (networks.predict_plainly, lambda *a: networks.predict_scan(*a, "off")):
        run(scan, checkpoint, (64, 64), 3)
        maps.append([read_pfm(tmp_path / "out" / "scan1" / "depth_est" / f"{view:08d}.pfm") for view in range(11)])
        (tmp_path / "out").rename(tmp_path / f"out{len(maps)}")
    assert (np.abs(np.array(maps[0]) - maps[1]) < 1e-2).mean() > 0.99


class _Folder:
    """Stands in for temporary folders, of which the last one stays."""

    def __init__(self, path):
        self.path = path

    def __enter__(self):
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.mkdir()
        return str(self.path)

    def __exit__(self, *_):
        pass


def test_work_of_a_depth_map():
    """Four times the pixels are four times the work; the folded network has the convolutions that were counted."""
    small, large = (prediction_work(size, 5)["gflop"] for size in ((64, 64), (128, 128)))
    assert large == pytest.approx(4 * small, rel=1e-6)
    model = fold(build_model("student").eval())
    weights = sum(module.weight.numel() for module in model.modules() if hasattr(module, "geometry"))
    assert 2e5 < weights < 1e6


def test_program(tmp_path):
    """A table on the terminal and everything in JSON."""
    flags = ("--sections", "labels", "--sizes", "64x64", "--scan_views", "11", "--rounds", "1")
    output = succeed(run_program("tools/benchmark.py", *flags, "--json", tmp_path / "out.json"))
    assert "labels: 10 sources" in output and "x " in output
    content = json.loads((tmp_path / "out.json").read_text())
    assert {row["label"] for row in content["rows"]} == {"plain", "compiled"}
    assert content["machine"]["cores"] >= 1


@pytest.mark.parametrize(
    ("flags", "message"), [(("--sections", "speed"), "choose from"), (("--sizes", "640x500"), "multiples of 32")]
)
def test_wrong_flags(flags, message):
    """argparse names what would be right."""
    result = run_program("tools/benchmark.py", *flags)
    assert result.returncode == 2 and message in result.stderr

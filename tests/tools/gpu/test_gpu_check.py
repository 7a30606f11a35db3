"""The check of a GPU, on a machine that need not have one: its stages in miniature, and how they end."""

import dataclasses
import importlib.util
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import PATIENCE, ROOT, error_line, run_program, wait_until
from stages_in_small import dying, failing, hanging, passing, wrong

from datasets.files import read_json
from datasets.formats.images import read_image
from datasets.layouts.general import GeneralScans
from datasets.synthetic.scans import render_scene
from tools.benchmarks import clouds, networks
from tools.benchmarks.measure import repeated
from tools.gpu import options, ranks
from tools.gpu.clouds import measure_clouds
from tools.gpu.machine import check_machine, missing_packages
from tools.gpu.measures import measure_curves, measure_prediction, measure_training, measure_volumes, with_goal
from tools.gpu.runner import run_stage
from tools.gpu.scans import small_scan
from tools.gpu.settings import CheckSettings, Found, Outcome, quick
from tools.gpu.tests import read_report, workers
from tools.reports.gpu_page import gpu_page


@pytest.fixture
def settings(tmp_path) -> CheckSettings:
    """The check in miniature, on the CPU."""
    return quick(CheckSettings("cpu", tmp_path))


# ---------------------------------------------------------------- stages in processes


def run(stage, settings: CheckSettings, limit: float = 60) -> Outcome:
    """A stage's outcome, with a variable in its environment."""
    return run_stage("stage", stage, settings, limit, settings.outdir / "log.txt", {"KDMVS_TEST": "there"})


def test_a_stage_that_passes(settings):
    """What it finds arrives, what it prints is in its log, and its environment is its own."""
    outcome = run(passing, settings)
    assert (outcome.status, outcome.reason) == ("passed", "") and outcome.seconds > 0
    assert outcome.found == (Found("table", {"variable": "there"}),) and "KDMVS_TEST" not in os.environ
    assert (settings.outdir / "log.txt").read_text() == "hello\n"


@pytest.mark.parametrize(
    ("stage", "reason"), [(failing, "no such luck"), (dying, "ended with status 7"), (wrong, "too slow")]
)
def test_a_stage_that_fails(settings, stage, reason):
    """What it found until then is kept, and why it failed is one line."""
    outcome = run(stage, settings)
    assert outcome.status == "failed" and reason in outcome.reason and "\n" not in outcome.reason
    assert outcome.found[0].cells == {"found": 1}


def test_a_stage_that_hangs(settings):
    """It is ended with the processes that it has started."""
    outcome = run(hanging, settings, limit=10)
    assert outcome.status == "stopped" and outcome.reason == "took longer than 10 s"
    wait_until(lambda: has_ended(outcome.found[0].cells["child"]))


def test_a_stage_that_is_interrupted(settings):
    """Its time had not run out, and nobody says so."""
    stop = threading.Event()
    threading.Timer(8, stop.set).start()
    outcome = run_stage("stage", hanging, settings, 60, settings.outdir / "log.txt", {}, stop)
    assert (outcome.status, outcome.reason) == ("stopped", "interrupted") and outcome.seconds < 40


def has_ended(pid: int) -> bool:
    """Whether a process is gone, or only waits to be buried."""
    try:
        return not Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return True


# ---------------------------------------------------------------- what stages find


def test_packages_that_are_missing(tmp_path):
    """All of them, under the names that pip knows."""
    (tmp_path / "requirements.txt").write_text("torch>=99.1,<100\nopencv-python>=4\nnosuchthing>=1,<2\n")
    (tmp_path / "requirements-dev.txt").write_text("pytest>=8\nruff>=0.17\nnosuchthing-for-style\n")
    old, unknown = missing_packages(tmp_path)
    assert old.startswith("torch>=99.1,<100 (there is ") and unknown == "nosuchthing>=1,<2"
    assert missing_packages(ROOT) == []


def rows(found: Iterator[Found]) -> dict[str, list[dict]]:
    """The cells of every table; nothing is wrong with them."""
    tables: dict[str, list[dict]] = {}
    for row in found:
        assert not row.wrong
        tables.setdefault(row.table, []).append(row.cells)
    return tables


def test_machine(settings):
    """What the machine is, and its peaks."""
    tables = rows(check_machine(settings))
    assert {"cpu", "torch", "CUDA of torch", "driver"} <= {row[""] for row in tables["machine"]}
    assert all(row["measured"] > 0 for row in tables["peaks"])


def test_cost_volumes(settings):
    """Three implementations, with a ratio to the plain one."""
    tables = rows(measure_volumes(settings))
    assert list(tables) == ["64x64, 3 views, forward", "64x64, 3 views, forward and backward"]
    for table in tables.values():
        assert [row["way"] for row in table] == ["plain", "streamed", "auto"]
        assert table[0]["times as fast"] == 1 and table[2]["seconds"] > 0


def test_scans(settings):
    """Large ones are enlarged: a pixel of the exact depth stays where the camera sees it."""
    root = small_scan(settings, (256, 288))
    layout = GeneralScans(root)
    camera, depth = layout.camera("scan1", 0), layout.ground_truth("scan1", 0, (256, 288))
    assert read_image(layout.image_path("scan1", 0)).shape == (288, 256, 3) and depth.shape == (288, 256)
    rendered = render_scene(1, 64, 72, settings.scan_views, (3,))
    np.testing.assert_allclose(camera.K, np.diag([4, 4, 1]) @ rendered.cameras[0].K, rtol=1e-5)
    assert np.median(np.abs(depth[2::4, 2::4] - rendered.depths[0])) < 1
    assert small_scan(settings, (256, 288)) == root


def measured(losses: list[float], **memory: float):
    """A measurement that takes no time: half a second for the plain way, a quarter for others."""

    def work(**arguments) -> tuple[list[float], dict]:
        seconds = 0.25 if "amp" in arguments else 0.5
        return [seconds, 2 * seconds], {"losses": losses, **memory}

    return work


def test_prediction(settings, monkeypatch):
    """A scan in every precision, with its share of the peak."""
    monkeypatch.setattr(networks, "predict_plainly", measured([], gpu_peak_gb=2, gpu_driver_gb=3))
    monkeypatch.setattr(networks, "predict_scan", measured([], gpu_peak_gb=0.5, gpu_driver_gb=1))
    (table,) = rows(measure_prediction(settings)).values()
    assert [row["way"] for row in table] == ["plain", "float32", "bf16"]
    assert [(row["per second"], row["times as fast"], row["share of memory"]) for row in table] == [
        (2, 1, 1),
        (4, 2, 0.25),
        (4, 2, 0.25),
    ]
    assert all(row["share of peak"].endswith("%") for row in table)


def test_too_little_memory(settings, monkeypatch):
    """One way that does not fit is a note, and the others are measured."""

    def greedy(**arguments):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(networks, "train_plainly", greedy)
    monkeypatch.setattr(networks, "train", measured([]))
    for kind, table in rows(measure_training(settings)).items():
        assert kind.split(", ")[1] in ("teacher", "student")
        assert table[0] == {"way": "plain", "note": "out of memory"} and table[1]["seconds"] == 0.25


def test_the_goal(settings, monkeypatch):
    """Twice as fast at half of the memory, of float32 at one size, on GPUs."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for speed, memory, misses in ((2.0, 0.5, False), (1.9, 0.4, True), (3.0, 0.6, True)):
        found = Found("1152x864", {"way": "float32", "times as fast": speed, "share of memory": memory})
        assert bool(with_goal(found, (1152, 864)).wrong) == misses
        assert not with_goal(found, (640, 512)).wrong


def test_curves(settings, monkeypatch):
    """Ten means of losses, which must fall where there were steps enough."""
    losses = [3.0, 2.0]
    monkeypatch.setattr(networks, "train", lambda *arguments: ([0.5], {"losses": losses}))
    (table,) = rows(measure_curves(settings, "teacher")).values()
    assert [(row["way"], row["losses"]) for row in table] == [("float32", losses), ("bf16", losses)]
    losses.reverse()
    found = list(measure_curves(dataclasses.replace(settings, curve_steps=300), "teacher"))
    assert found[0].wrong == "the teacher's loss does not fall in float32"


def test_clouds(settings, monkeypatch):
    """Both implementations of the refinement and of the fusion find the same."""
    monkeypatch.setattr(clouds, "score", lambda millions: ([0.5], {"acc": 0.1}))
    tables = rows(measure_clouds(settings))
    assert [name.split(",")[0] for name in tables] == ["labels of a view", "last pass of a view", "fusion", "DTU score"]


def test_options(settings, monkeypatch):
    """What is in use first; a way that this device does not know is a note, and the others are measured."""

    def unknown(network, predict):
        raise RuntimeError("no such thing\nhere")

    monkeypatch.setattr(options, "repeated", lambda work, count: repeated(work, 1))
    ways = {name: options._WAYS[name] for name in ("as used", "cudnn.benchmark")}
    monkeypatch.setattr(options, "_WAYS", ways | {"torch.compile": unknown, "another": options._as_used})
    in_float32, in_bf16 = rows(options.measure_options(settings)).values()
    assert [row["way"] for row in in_float32] == ["as used", "another"]
    assert in_bf16[0]["times as fast"] == 1 and in_bf16[2]["seconds"] > 0
    assert in_bf16[1] == {"way": "torch.compile", "note": "no such thing"}


def test_ranks(settings, monkeypatch):
    """The ranks' gradient is compared with that of both samples; what needs a GPU says so."""
    expected: list[torch.Tensor] = []
    gradient_of = ranks._gradient

    def recorded(*arguments) -> torch.Tensor:
        expected.append(gradient_of(*arguments))
        return expected[-1]

    monkeypatch.setattr(ranks, "_gradient", recorded)
    monkeypatch.setattr(ranks, "_from_ranks", lambda *arguments: sum(expected) / 2)
    two, *others = rows(ranks.check_ranks(settings))["gradients"]
    assert two["result"] == "as expected" and float(two["apart"]) < 1e-6
    assert {row["result"] for row in others} == {"not run: needs a GPU"}
    monkeypatch.setattr(ranks, "_from_ranks", lambda *arguments: expected[0])
    assert "two ranks, gloo: the gradient is " in next(ranks.check_ranks(settings)).wrong


REPORT = """<testsuites><testsuite>
<testcase classname="tests.a" name="test_golden_depth[x]"><properties>
<property name="deviation" value='{"quantity": "depth", "what": "stage1", "found": 0.1, "allowed": 0.5}'/>
<property name="deviation" value='{"quantity": "depth", "what": "stage1", "found": 0.2, "allowed": 0.5}'/>
</properties></testcase>
<testcase classname="tests.a" name="test_other"><properties>
<property name="deviation" value='{"quantity": "depth", "what": "", "found": 9, "allowed": 10}'/>
</properties></testcase>
<testcase classname="tests.a" name="test_skipped"><skipped/></testcase>
<testcase classname="tests.a" name="test_bad"><failure message="assert 1 == 2&#10;more"/></testcase>
</testsuite></testsuites>"""


def test_report_of_tests(tmp_path):
    """Counts, failures, and the largest deviation of every quantity from golden files."""
    (tmp_path / "report.xml").write_text(REPORT)
    tables: dict[str, list[dict]] = {}
    for row in read_report(tmp_path / "report.xml"):
        tables.setdefault(row.table, []).append(row.cells)
    assert tables["tests"] == [{"passed": 2, "failed": 1, "skipped": 1}]
    assert tables["failed"] == [{"test": "tests.a::test_bad", "message": "assert 1 == 2"}]
    assert [(row["quantity"], row["found"]) for row in tables["golden files"]] == [("depth", 0.2)]


@pytest.mark.parametrize(("cores", "flags"), [(2, []), (8, ["-n", "2"]), (64, ["-n", "4"])])
def test_tests_are_shared_out(monkeypatch, cores, flags):
    """Among processes, where there are cores, and pytest-xdist to share them."""
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert workers() == flags
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert workers() == []


# ---------------------------------------------------------------- the program and its page


def test_page():
    """Tables with all their columns, curves, and stages that were not run."""
    found = [
        {"table": "64x64", "cells": {"way": "plain", "seconds": 0.51234, "losses": [3.0, 2.0]}, "wrong": ""},
        {"table": "64x64", "cells": {"way": "<bf16>", "note": "out of memory", "losses": [3.0, 1.0]}, "wrong": ""},
    ]
    stages = [
        {"stage": "curves", "shows": "Losses", "status": "passed", "seconds": 3.2, "reason": "", "found": found},
        {"stage": "ranks", "shows": "Ranks", "status": "not run", "seconds": 0.0, "reason": "no card", "found": []},
        {"stage": "options", "shows": "More", "status": "failed", "seconds": 0.0, "reason": "no card", "found": []},
    ]
    check = {"device": "cpu", "started": "now", "seconds": 90.0, "stages": stages}
    page = gpu_page(check).decode()
    for text in ("0.5123", "&lt;bf16&gt;", "out of memory", "<svg", "1.5"):
        assert text in page
    assert "No card. (not run: ranks; failed: options)" in page and "Not passed" in page
    assert "All that was run passed" in gpu_page(check | {"stages": stages[:1]}).decode()


@pytest.mark.slow
def test_program_without_a_gpu(tmp_path, monkeypatch):
    """It says what is missing, runs what can be run, and leaves page and JSON."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    result = run_program("tools/gpu_check.py", "--quick", "--stages", "ranks", "--outdir", tmp_path)
    assert error_line(result).startswith("error: not passed: machine, ranks; the first: there is no CUDA device: ")
    machine, ranks, fake = read_json(tmp_path / "check.json")["stages"]
    assert machine["reason"].startswith("there is no CUDA device: ") and machine["found"]
    assert ranks["status"] == "not run" and ranks["reason"] == machine["reason"]
    assert fake["stage"] == "tests fake" and fake["status"] == "passed", fake
    page = (tmp_path / "check.html").read_text()
    assert "There is no CUDA device" in page and "(failed: machine; not run: ranks)" in page and "no GPU" in page
    assert "tests fake" in page


@pytest.mark.slow
def test_program_on_a_cpu(tmp_path):
    """Whether the check itself works: stages side by side and one after the other, told in their own order."""
    flags = ("--device", "cpu", "--quick", "--stages", "cost volume,tests float16,tests float32", "--outdir", tmp_path)
    result = run_program("tools/gpu_check.py", *flags)
    assert result.returncode == 0, result.stderr
    stages = read_json(tmp_path / "check.json")["stages"]
    assert [stage["stage"] for stage in stages] == ["machine", "tests float32", "tests float16", "cost volume"]
    assert all(stage["status"] == "passed" and stage["found"] for stage in stages)


def test_a_stage_that_is_told_to_stop(settings):
    """Long before its limit."""
    stop = threading.Event()
    stop.set()
    outcome = run_stage("stage", hanging, settings, 600, settings.outdir / "log.txt", {}, stop)
    assert outcome.status == "stopped" and outcome.seconds < 60


@pytest.mark.parametrize("flags", [("--stages", "speed"), ("--device", "tpu"), ("--minutes", "0")])
def test_wrong_flags(flags):
    """argparse names what would be right."""
    result = run_program("tools/gpu_check.py", *flags)
    assert result.returncode == 2 and f"argument {flags[0]}" in result.stderr


def test_driver():
    """It takes any Python, and hands flags on."""
    command = ["bash", ROOT / "scripts" / "run_gpu_check.sh", "--help"]
    environment = {**os.environ, "PYTHON_BIN": sys.executable}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert result.returncode == 0 and "--quick" in result.stdout, result.stderr

"""Speed and memory of the cost volume, prediction and training beside the plain definition, in one process."""

import contextlib
import gc
import os
from collections.abc import Callable, Iterator
from typing import Any

import torch

from models.plane_sweep import IMPLEMENTATION_VARIABLE
from tools.benchmarks import networks
from tools.benchmarks.measure import Figures
from tools.benchmarks.roofline import prediction_work
from tools.gpu.machine import peaks
from tools.gpu.scans import named, small_scan
from tools.gpu.settings import GOAL_MEMORY, GOAL_SIZE, GOAL_SPEED, CheckSettings, Found, Size

# Trainings of fewer steps need not learn anything.
_TELLING_STEPS = 100


def measure_volumes(settings: CheckSettings) -> Iterator[Found]:
    """The plain definition, the same streamed, and the device's kernels; forward, and with the gradient."""
    for size in settings.sizes:
        for backward in (False, True):
            table = f"{named(size)}, {settings.num_view} views, {'forward and backward' if backward else 'forward'}"
            ways = {name: {"implementation": name} for name in ("plain", "streamed", "auto")}
            common = {"size": size, "views": settings.num_view, "backward": backward}
            yield from _compared(table, {name: (networks.sweep, common | way, False) for name, way in ways.items()})


def measure_prediction(settings: CheckSettings) -> Iterator[Found]:
    """A scan in float32, TF32 and bf16, and what share of the device's peak that is."""
    best = peaks(settings)
    checkpoint = settings.outdir / "data" / "student.ckpt"
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    networks.write_random_checkpoint(checkpoint)
    for size in settings.sizes:
        scans = small_scan(settings, size)
        common = {"scans": scans, "checkpoint": checkpoint, "size": size, "views": settings.num_view}
        ways = {"plain": (networks.predict_plainly, common, False)}
        for way, amp in _precisions():
            ways[way] = (networks.predict_scan, common | {"amp": amp}, way == "tf32")
        work = prediction_work(size, settings.num_view)["gflop"]
        for found in _compared(f"{named(size)}, {settings.num_view} views", ways):
            yield with_goal(_with_share(found, work, best), size)


def measure_training(settings: CheckSettings) -> Iterator[Found]:
    """Steps of teacher and student."""
    for size in settings.training_sizes:
        scans = small_scan(settings, size)
        for kind in ("teacher", "student"):
            common = {"scans": scans, "size": size, "kind": kind}
            ways = {"plain": (networks.train_plainly, common, False)}
            for way, amp in _precisions():
                ways[way] = (networks.train, common | {"amp": amp}, way == "tf32")
            yield from _compared(f"{named(size)}, {kind}, 5 views", ways)


def measure_curves(settings: CheckSettings, kind: str) -> Iterator[Found]:
    """Mean losses of the tenths of trainings from one start on the same samples: they must fall alike."""
    scans = small_scan(settings, settings.curve_size)
    for way, amp in (("float32", "off"), ("bf16", "bf16")):
        with _rounding(False):
            _, figures = networks.train(scans, settings.curve_size, kind, amp, settings.curve_steps)
        losses = figures["losses"]
        falls = losses[-1] < losses[0] or settings.curve_steps < _TELLING_STEPS
        wrong = "" if falls else f"the {kind}'s loss does not fall in {way}"
        table = f"{kind}, {named(settings.curve_size)}, {settings.curve_steps} steps"
        yield Found(table, {"way": way, "losses": losses}, wrong)


def _precisions() -> list[tuple[str, str]]:
    """Ways to compute, with their --amp; CPUs know no TF32."""
    rounded = [("tf32", "off")] if torch.cuda.is_available() else []
    return [("float32", "off"), *rounded, ("bf16", "bf16")]


def _compared(table: str, ways: dict[str, tuple[Callable[..., Figures], dict[str, Any], bool]]) -> Iterator[Found]:
    """Measure ways, given by function, arguments and whether factors are rounded to TF32; the first is plain."""
    plain: dict[str, Any] = {}
    for way, (function, arguments, tf32) in ways.items():
        cells = {"way": way, **_measured(function, arguments, way == "plain", tf32)}
        plain = plain or cells
        for name, key in (("times as fast", "seconds"), ("share of memory", "memory, GB")):
            if cells.get(key) and plain.get(key):
                ratio = plain[key] / cells[key] if key == "seconds" else cells[key] / plain[key]
                cells[name] = _rounded(ratio)
        yield Found(table, cells)


def _measured(function: Callable[..., Figures], arguments: dict, plain: bool, tf32: bool) -> dict[str, Any]:
    """Seconds, their inverse, and the device's memory; or a note that it has too little."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    try:
        with _rounding(tf32), _plane_sweep("plain" if plain else None):
            seconds, figures = function(**arguments)
    except torch.OutOfMemoryError:
        return {"note": "out of memory"}
    best = min(seconds)
    cells: dict[str, Any] = {"seconds": _rounded(best), "per second": _rounded(1 / best)}
    if "gpu_peak_gb" in figures:
        cells |= {
            "memory, GB": _rounded(figures["gpu_peak_gb"]),
            "of the driver, GB": _rounded(figures["gpu_driver_gb"]),
        }
    return cells


@contextlib.contextmanager
def _rounding(tf32: bool) -> Iterator[None]:
    """Whether a GPU's convolutions round their factors to TF32, as torch lets them."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = tf32
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


@contextlib.contextmanager
def _plane_sweep(implementation: str | None) -> Iterator[None]:
    """Within it this implementation computes cost volumes, the device's own one where none is named."""
    before = os.environ.pop(IMPLEMENTATION_VARIABLE, None)
    if implementation:
        os.environ[IMPLEMENTATION_VARIABLE] = implementation
    try:
        yield
    finally:
        os.environ.pop(IMPLEMENTATION_VARIABLE, None)
        if before is not None:
            os.environ[IMPLEMENTATION_VARIABLE] = before


def _with_share(found: Found, gflop: float, best: dict[str, float]) -> Found:
    """A depth map's row with the share of the measured peak that its arithmetic reaches."""
    peak = best.get({"tf32": "tf32_gflops", "bf16": "bf16_gflops"}.get(found.cells["way"], "float32_gflops"))
    if not found.cells.get("seconds"):
        return found
    share = gflop / found.cells["seconds"] / peak
    return Found(found.table, {**found.cells, "share of peak": f"{share:.1%}"})


def with_goal(found: Found, size: Size) -> Found:
    """The row that has a goal to meet, with what it misses; only GPUs have one."""
    if size != GOAL_SIZE or found.cells["way"] != "float32" or not torch.cuda.is_available():
        return found
    speed, memory = found.cells.get("times as fast", 0), found.cells.get("share of memory", 1)
    if speed >= GOAL_SPEED and memory <= GOAL_MEMORY:
        return found
    wrong = (
        f"{speed:g} times as fast as plain at {memory:g} of its memory; the goal is {GOAL_SPEED:g} and {GOAL_MEMORY:g}"
    )
    return Found(found.table, found.cells, wrong)


def _rounded(value: float) -> float:
    """Four digits, which is more than repeats."""
    return float(f"{value:.4g}")

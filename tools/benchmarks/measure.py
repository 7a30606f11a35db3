"""Measuring: alternatives in turn, each in a process of its own, so that memory and threads stay apart.

An alternative is a function of a module that returns the seconds of its repetitions per unit of work, warm-up left out,
and figures of its own by name.
"""

import dataclasses
import multiprocessing
import os
import platform
import resource
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numba
import numpy as np
import torch

from datasets.files import DataError
from tools.runtime.devices import has_amx

Figures = tuple[list[float], dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Case:
    """One alternative: its label, the function and its arguments, and environment variables of its process."""

    label: str
    function: Callable[..., Figures]
    arguments: dict[str, Any] = dataclasses.field(default_factory=dict)
    environment: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Alternatives of one piece of work; the first is the plain definition, which ratios refer to."""

    section: str
    setting: str
    unit: str
    cases: tuple[Case, ...]


@dataclasses.dataclass(frozen=True)
class Row:
    """What was measured of one case: seconds per unit (median, least, most), the process's peak memory, own figures."""

    section: str
    setting: str
    unit: str
    label: str
    seconds: float
    least: float
    most: float
    peak_gb: float
    times_faster: float
    figures: dict[str, Any]


def compare(comparison: Comparison, rounds: int) -> list[Row]:
    """Run all cases in turn, `rounds` times, and sum up each one's repetitions."""
    seconds: dict[str, list[float]] = {case.label: [] for case in comparison.cases}
    peaks: dict[str, float] = dict.fromkeys(seconds, 0.0)
    figures: dict[str, dict[str, Any]] = {}
    for _ in range(rounds):
        for case in comparison.cases:
            (repetitions, own), peak = in_process(case)
            seconds[case.label] += repetitions
            peaks[case.label] = max(peaks[case.label], peak)
            figures[case.label] = own
    plain = median(seconds[comparison.cases[0].label])
    return [
        Row(
            comparison.section,
            comparison.setting,
            comparison.unit,
            label,
            median(values),
            min(values),
            max(values),
            peaks[label],
            plain / median(values),
            figures[label],
        )
        for label, values in seconds.items()
    ]


def in_process(case: Case) -> tuple[Figures, float]:
    """Run a case in a fresh process; its figures and its peak memory in GB (the interpreter and libraries included)."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    before = dict(os.environ)
    # Libraries read it when the process starts. OpenMP's threads wait as in the drivers (scripts/common.sh).
    os.environ.update({"GOMP_SPINCOUNT": "10000", **before, **case.environment})
    process = context.Process(target=_serve, args=(case, sender))
    try:
        process.start()
    finally:
        os.environ.clear()
        os.environ.update(before)
    sender.close()
    try:
        result = receiver.recv()
    except EOFError:
        result = f"the process ended by itself with status {process.exitcode}"
    process.join()
    if isinstance(result, str):
        raise DataError(f"benchmark {case.label}: {result}")
    return result


def _serve(case: Case, sender: Any) -> None:
    try:
        figures = case.function(**case.arguments)
        sender.send((figures, peak_gb()))
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        sender.send(str(error) or repr(error))


def peak_gb() -> float:
    """The most memory this process has held so far, in GB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def repeated(work: Callable[[], Any], repeats: int, per: float = 1.0) -> list[float]:
    """Seconds of each repetition of `work` after one for warm-up, divided by the units of work that it does."""
    work()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        seconds.append((time.perf_counter() - started) / per)
    return seconds


def machine() -> dict[str, str | int]:
    """Hardware, thread counts and versions."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        cpu = next((line.split(":")[1].strip() for line in info.open() if line.startswith("model name")), cpu)
    return {
        "cpu": cpu,
        "cores": os.cpu_count() or 1,
        "instructions": torch.backends.cpu.get_cpu_capability() + (" AMX" if has_amx() else ""),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "torch_threads": torch.get_num_threads(),
        "numba_threads": numba.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numba": numba.__version__,
        "numpy": np.__version__,
    }

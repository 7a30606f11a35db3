"""Prove a GPU in one call: tests, golden files, speed and memory beside the plain definition, several ranks, curves.

    bash scripts/run_gpu_check.sh                            everything, in under ten minutes
    bash scripts/run_gpu_check.sh --stages prediction        one stage
    bash scripts/run_gpu_check.sh --device cpu --quick       whether the check itself works, on any machine

Every stage runs in a process of its own with a time limit: first, side by side, what is not timed, then one after the
other what is. After each, <outdir>/check.html and check.json tell what was found so far; what a stage printed is in
logs/. Without a GPU the page says what is missing, and the tests run on a GPU that is none. Run nothing beside it.
"""

import argparse
import dataclasses
import os
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import _checkout  # noqa: F401

from datasets.files import DataError, write_bytes, write_json
from tools.gpu.machine import missing_packages
from tools.gpu.runner import run_stage
from tools.gpu.settings import STAGES, UNTIMED, WITHOUT_DEVICE, CheckSettings, Outcome, quick
from tools.gpu.stages import stage_of
from tools.runtime.program import Formatter, positive_float, run_program

ROOT = Path(__file__).resolve().parents[1]
# Seconds below which no stage is begun.
_TOO_LITTLE = 5.0
# That a stage of tests keeps busy: it compiles, and passes small things on.
_CORES_OF_A_STAGE = 2


def stage_list(text: str) -> tuple[str, ...]:
    """A flag such as `prediction,ranks`; the stages come in their own order."""
    names = [name.strip() for name in text.split(",")]
    if text == "all":
        names = list(STAGES)
    if unknown := set(names) - STAGES.keys():
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))!r}: choose from {', '.join(STAGES)}")
    return tuple(name for name in STAGES if name in names)


def parse(argv: Sequence[str] | None = None) -> CheckSettings:
    """The settings that the flags say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Formatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="what to check")
    parser.add_argument("--outdir", type=Path, default=ROOT / "outputs" / "gpu_check", help="for the page and the logs")
    parser.add_argument("--stages", type=stage_list, default="all", help=f"of {', '.join(STAGES)}")
    parser.add_argument("--minutes", type=positive_float, default=10.0, help="what everything may take")
    parser.add_argument("--quick", action="store_true", help="small sizes and few tests: whether the check works")
    args = parser.parse_args(argv)
    settings = CheckSettings(args.device, args.outdir, args.stages, args.minutes)
    return quick(settings) if args.quick else settings


class Stages:
    """Runs the stages of a check within its minutes."""

    def __init__(self, settings: CheckSettings) -> None:
        self.settings, self.stop = settings, threading.Event()
        self.deadline = time.monotonic() + 60 * settings.minutes
        self.environment = {"GOMP_SPINCOUNT": "10000"}
        if settings.device == "cpu":
            self.environment["CUDA_VISIBLE_DEVICES"] = ""  # on a machine with a GPU, too

    def outcomes(self) -> Iterator[Outcome]:
        """Of all stages, as they end; those that a missing device or the time leaves out are named."""
        yield (machine := self._within("machine"))
        others = [name for name in self.settings.stages if name != "machine"]
        if machine.status != "passed":  # what the device is decides about the others
            yield from (Outcome(name, "not run", reason=machine.reason) for name in others)
            for name, (_, seconds) in WITHOUT_DEVICE.items():
                yield self._run(name, min(seconds, self.deadline - time.monotonic()))
            return
        yield from self._side_by_side([name for name in others if name in UNTIMED])
        yield from map(self._within, [name for name in others if name not in UNTIMED])

    def _side_by_side(self, names: list[str]) -> Iterator[Outcome]:
        at_once = max(1, (os.cpu_count() or 1) // _CORES_OF_A_STAGE)
        with ThreadPoolExecutor(at_once) as pool:
            try:
                for future in as_completed([pool.submit(self._within, name) for name in names]):
                    yield future.result()
            except BaseException:  # Ctrl-C, which only this thread hears of
                self.stop.set()
                raise

    def _within(self, name: str) -> Outcome:
        """A stage's outcome within its limit and what is left."""
        minutes = self.settings.minutes
        limit = min(STAGES[name][1] * minutes / 10, self.deadline - time.monotonic())
        if limit < _TOO_LITTLE or self.stop.is_set():
            return Outcome(name, "not run", reason=f"the {minutes:g} minutes are over")
        return self._run(name, limit)

    def _run(self, name: str, limit: float) -> Outcome:
        log = self.settings.outdir / "logs" / f"{name.replace(' ', '_')}.txt"
        return run_stage(name, stage_of(name), self.settings, limit, log, self.environment, self.stop)


def told(outcome: Outcome) -> dict[str, Any]:
    """A stage for the JSON."""
    shows = (STAGES | WITHOUT_DEVICE)[outcome.stage][0]
    return {"shows": shows, **dataclasses.asdict(outcome), "seconds": round(outcome.seconds, 1)}


def main() -> None:
    """Parse the flags, run the stages, write what they found after each."""
    settings = parse()
    if missing := missing_packages(ROOT):
        raise DataError(f"this Python lacks packages; install them: pip install {' '.join(map(repr, missing))}")

    from tools.reports.gpu_page import gpu_page

    settings.outdir.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    check: dict[str, Any] = {"device": settings.device, "started": time.strftime("%Y-%m-%d %H:%M:%S")}
    check |= {"seconds": 0.0, "stages": []}
    try:
        for outcome in Stages(settings).outcomes():
            check["stages"].append(told(outcome))
            check["stages"].sort(key=lambda stage: list(STAGES | WITHOUT_DEVICE).index(stage["stage"]))
            check["seconds"] = round(time.monotonic() - started, 1)
            check["device"] = device_name(check["stages"], settings)
            write_json(settings.outdir / "check.json", check)
            write_bytes(settings.outdir / "check.html", gpu_page(check))
            line = f"{outcome.stage:<15} {outcome.status:<8} {outcome.seconds:5.0f} s  {outcome.reason}"
            print(line.rstrip(), flush=True)
    finally:
        shutil.rmtree(settings.outdir / "data", ignore_errors=True)
    print(f"{settings.outdir / 'check.html'}, check.json, logs/: in {check['seconds'] / 60:.1f} minutes")
    bad = [stage for stage in check["stages"] if stage["status"] != "passed"]
    if bad:
        raise DataError(f"not passed: {', '.join(stage['stage'] for stage in bad)}; the first: {bad[0]['reason']}")


def device_name(stages: list[dict[str, Any]], settings: CheckSettings) -> str:
    """The GPU's name, "no GPU" where there is none; the processor's where that is what is checked."""
    facts = {found["cells"].get(""): found["cells"].get("is") for found in stages[0]["found"]}
    if settings.device == "cpu":
        return facts.get("cpu", "CPU")
    gpu = facts.get("gpu", "none")
    return "no GPU" if gpu == "none" else gpu


if __name__ == "__main__":
    run_program(main)

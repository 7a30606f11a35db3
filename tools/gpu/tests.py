"""The numerical tests on the device, by pytest, and how far from the golden files they found its results."""

import importlib.util
import json
import math
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

from datasets.files import DataError
from tools.gpu.settings import CheckSettings, Found

ROOT = Path(__file__).resolve().parents[2]
# Processes among which a stage's tests are shared out, at most, and cores for each: four such stages run side by side.
_MOST_WORKERS, _CORES_OF_A_WORKER = 4, 4


def run_tests(settings: CheckSettings, dtype: str, tf32: bool = False, device: str | None = None) -> Iterator[Found]:
    """Run the tests in a precision, with `tf32` only those against golden files; DataError when one fails."""
    device = device or settings.device
    report = settings.outdir / "logs" / f"tests_{device}_{'tf32' if tf32 else dtype}.xml"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report.resolve()}"]
    command += [*workers(), "--device", device, "--dtype", dtype]
    command += [*(["--tf32", "-k", "golden"] if tf32 else []), *settings.tests]
    status = subprocess.run(command, cwd=ROOT).returncode
    if not report.is_file():
        raise DataError(f"pytest ended with status {status} and without a report")
    failed = 0
    for found in read_report(report):
        failed += found.table == "failed"
        yield found
    if status:
        raise DataError(f"{failed} tests failed" if failed else f"pytest ended with status {status}")


def workers() -> list[str]:
    """pytest's flags that share tests out where there are cores for it: most of the time kernels are compiled."""
    count = min(_MOST_WORKERS, (os.cpu_count() or 1) // _CORES_OF_A_WORKER)
    return ["-n", str(count)] if count > 1 and importlib.util.find_spec("xdist") else []


def read_report(path: Path) -> Iterator[Found]:
    """Numbers of tests, those that failed, and the largest deviations from golden files."""
    cases = list(ElementTree.parse(path).iter("testcase"))
    kinds = {kind: [case for case in cases if case.find(kind) is not None] for kind in ("skipped", "failure", "error")}
    failed = kinds["failure"] + kinds["error"]
    counts = {"passed": len(cases) - len(failed) - len(kinds["skipped"]), "failed": len(failed)}
    yield Found("tests", {**counts, "skipped": len(kinds["skipped"])})
    for case in failed:
        problem = case.find("failure") if case.find("failure") is not None else case.find("error")
        message = (problem.get("message") or "").splitlines() or [""]
        yield Found("failed", {"test": f"{case.get('classname')}::{case.get('name')}", "message": message[0][:300]})
    worst: dict[tuple[str, str], dict] = {}
    for case in cases:
        if "golden" in case.get("name", ""):
            for deviation in _deviations(case):
                key = deviation["quantity"], deviation["what"]
                if key not in worst or float(deviation["found"]) > float(worst[key]["found"]):
                    worst[key] = deviation
    for deviation in worst.values():
        yield Found("golden files", deviation)


def _deviations(case: ElementTree.Element) -> Iterator[dict]:
    """What a test measured (tests/places.py)."""
    for item in case.iter("property"):
        if item.get("name") == "deviation":
            values = json.loads(item.get("value"))
            yield {k: str(v) if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}

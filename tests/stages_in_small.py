"""Stages of a GPU check that end in every way; in a module of their own, which their processes load without torch."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator

from datasets.files import DataError
from tools.gpu.settings import CheckSettings, Found


def passing(settings: CheckSettings) -> Iterator[Found]:
    """A stage that finds what its process's environment says."""
    print("hello")
    yield Found("table", {"variable": os.environ.get("KDMVS_TEST")})


def failing(settings: CheckSettings) -> Iterator[Found]:
    """A stage that breaks after it has found something."""
    yield Found("table", {"found": 1})
    raise DataError("no such luck\nsecond line")


def wrong(settings: CheckSettings) -> Iterator[Found]:
    """A stage that finds something wrong, and goes on."""
    yield Found("table", {"found": 1}, "too slow")
    yield Found("table", {"found": 2})


def dying(settings: CheckSettings) -> Iterator[Found]:
    """A stage whose process is gone."""
    yield Found("table", {"found": 1})
    time.sleep(0.2)
    os._exit(7)


def hanging(settings: CheckSettings) -> Iterator[Found]:
    """A stage that waits for a process of its own."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield Found("table", {"child": child.pid})
    child.wait()

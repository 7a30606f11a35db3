"""--help of every program is quick: it loads neither torch nor numba, which take seconds."""

import subprocess
import sys

import pytest
from helpers import ROOT

PROGRAMS = ["test.py", *(f"tools/{path.name}" for path in sorted((ROOT / "tools").glob("[a-z]*.py")))]
HEAVY = ("torch", "numba", "scipy", "tensorboardX", "pycolmap")


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_loads_no_heavy_package(program):
    """The time is that of starting Python and reading the flags."""
    command = [sys.executable, "-X", "importtime", str(ROOT / program), "--help"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    imported = {line.rsplit("|", 1)[-1].strip() for line in result.stderr.splitlines() if "import time:" in line}
    assert result.returncode == 0, result.stderr
    assert "usage: " in result.stdout and "tools.runtime.program" in imported
    assert not imported & set(HEAVY)

"""scripts/setup.sh: what it says before it installs, and where it takes PyTorch from. Nothing is installed here."""

import os
import subprocess
from pathlib import Path

import pytest
from helpers import ROOT

CPU_INDEX = "https://download.pytorch.org/whl/cpu"


@pytest.fixture
def venv(tmp_path) -> Path:
    """An environment whose python only notes what it is asked."""
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\necho "$@" >>"{tmp_path}/asked"\n')
    python.chmod(0o755)
    return tmp_path / "venv"


def set_up(venv: Path, *flags: str, status: int = 0, **settings: str) -> tuple[list[str], str]:
    """What pip was asked, and what was said. No nvidia-smi is on the path."""
    environment = {"PATH": "/usr/bin:/bin", "VENV": str(venv), "HOME": os.environ.get("HOME", "/"), **settings}
    asked = venv.parent / "asked"
    asked.unlink(missing_ok=True)
    command = ["bash", str(ROOT / "scripts" / "setup.sh"), *flags]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert result.returncode == status, result.stderr
    return asked.read_text().splitlines() if asked.exists() else [], result.stderr


def test_size_and_time_are_said_before_it_starts(venv):
    """With the way to a third of it; the second time nothing is done."""
    asked, said = set_up(venv)
    assert len(asked) == 1 and asked[0].endswith("-r requirements.txt")
    assert "GB on the disk" in said and "minutes" in said
    if os.uname().sysname != "Darwin":
        assert "TORCH_INDEX=cpu" in said
    assert set_up(venv) == ([], "")


def test_pytorch_without_cuda(venv):
    """From PyTorch's own index, in the versions that are asked for; the rest from where it always comes."""
    asked, said = set_up(venv, "--photos", TORCH_INDEX="cpu")
    torch, rest, photos = asked
    assert f"--index-url {CPU_INDEX}" in torch and "torch.txt" in torch
    wanted = (venv / "torch.txt").read_text().splitlines()
    assert [line.split(">")[0] for line in wanted] == ["torch", "torchvision"]
    assert "index-url" not in rest and rest.endswith("requirements.txt") and photos.endswith("requirements-photos.txt")
    assert "about 2 GB" in said and "about 6 GB" not in said


def test_any_other_index(venv):
    """A mirror, say."""
    asked, _ = set_up(venv, TORCH_INDEX="https://example.org/whl")
    assert "--index-url https://example.org/whl" in asked[0]


def test_flags_add_up(venv):
    """Each with what it needs, in one call; what is no flag installs nothing."""
    asked, _ = set_up(venv, "--mesh", "--photos")
    assert [line.split("-r ")[1] for line in asked] == [
        "requirements.txt",
        "requirements-mesh.txt",
        "requirements-photos.txt",
    ]
    assert set_up(venv, "--laz", "--photo", status=1) == (
        [],
        "setup.sh: --photo is no flag; there are --dev, --photos, --laz and --mesh\n",
    )

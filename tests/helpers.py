"""What tests of several folders share: golden files, weights by rule, small samples, and running programs."""

import os
import runpy
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import default_collate

from datasets.sample import View, make_sample, stage_maps
from datasets.synthetic import Scene
from models import build_model
from models.checkpoint import checkpoint_bytes

ROOT = Path(__file__).parents[1]
GOLDEN = Path(__file__).parent / "golden"

STAGE_FACTORS = {"stage1": 1, "stage2": 2, "stage3": 4}  # of a stage's intrinsics to stage 1's


# ---------------------------------------------------------------- golden files


def rule_weights(model: nn.Module, seed: int) -> nn.Module:
    """Fill a network with the golden files' weights: values that depend on each key, its shape and `seed` only."""
    state = {}
    for key, old in model.state_dict().items():
        rng = np.random.default_rng([seed, zlib.crc32(key.encode())])
        shape = tuple(old.shape)
        if key.endswith("num_batches_tracked"):
            value = np.zeros(shape, np.int64)
        elif key.endswith("running_var"):
            value = rng.uniform(0.5, 1.5, shape)
        elif key.endswith("running_mean"):
            value = rng.normal(size=shape) * 0.1
        elif len(shape) == 1 and key.endswith("weight"):
            value = rng.uniform(0.5, 1.5, shape)
        elif key.endswith("bias"):
            value = rng.normal(size=shape) * 0.1
        else:
            value = rng.normal(size=shape) * np.sqrt(2.0 / max(1, int(np.prod(shape[1:]))))
        state[key] = torch.from_numpy(np.asarray(value)).to(old.dtype)
    model.load_state_dict(state)
    return model


def golden_network(kind: str, seed: int = 11, **settings) -> nn.Module:
    """A network with weights by rule; 11 is the seed of the network golden files, 61 of the programs'."""
    return rule_weights(build_model(kind, **settings), seed)


def golden_inputs() -> tuple[Tensor, dict[str, Tensor], Tensor]:
    """imgs [1, 4, 3, 64, 96], proj_matrices and depth_values [1, 192] of the network golden files."""
    golden = np.load(GOLDEN / "network_inputs.npz")
    imgs = torch.from_numpy(golden["imgs"]).permute(0, 1, 4, 2, 3).float() / 255
    proj_matrices = {}
    for stage, factor in STAGE_FACTORS.items():
        proj_matrices[stage] = torch.from_numpy(golden["proj"].copy())
        proj_matrices[stage][:, :, 1, :2] *= factor
    return imgs, proj_matrices, torch.from_numpy(golden["depth_values"])


def write_checkpoint(path: Path, kind: str = "student", seed: int = 61, **settings) -> Path:
    """Write a checkpoint in the official format with weights by rule."""
    model = golden_network(kind, seed, **settings)
    path.write_bytes(checkpoint_bytes(model, torch.optim.Adam(model.parameters()), epoch=0))
    return path


def share_within(actual, expected, tolerance: float) -> float:
    """Share of the values that differ from the expected ones by less than the tolerance."""
    return float((np.abs(np.asarray(actual) - np.asarray(expected)) < tolerance).mean())


# ---------------------------------------------------------------- samples


def scene_sample(scene: Scene, light: int = 3) -> dict:
    """A batch of one from a procedural scene: view 0 with all others as sources, its exact depth per stage."""
    images = scene.images[light].astype(np.float32) / 255
    views = [View(image, camera) for image, camera in zip(images, scene.cameras, strict=True)]
    depth_values = scene.cameras[0].depth_values(192, 1.06, "synthetic")
    sample = make_sample(views, depth_values, "scan1", 0) | {"depth": stage_maps(scene.depths[0])}
    return default_collate([sample])


# ---------------------------------------------------------------- programs


class ProgramRunner:
    """Runs the project's programs in this process, as `python <program>` would; see the `program` fixture."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture) -> None:
        self._monkeypatch, self._capfd = monkeypatch, capfd

    def run(self, program: str, *flags: object) -> str:
        """Run to a good end; returns what it prints."""
        status, out, err = self._start(program, flags)
        assert status == 0, err
        return out

    def fail(self, program: str, *flags: object) -> str:
        """Run into a user's mistake: exit status not 0 and one line of error on stderr, which is returned."""
        status, _, err = self._start(program, flags)
        assert status == 1
        return one_error_line(err)

    def _start(self, program: str, flags: tuple) -> tuple[int, str, str]:
        self._monkeypatch.setattr(sys, "argv", [program, *map(str, flags)])
        self._capfd.readouterr()
        status = 0
        try:
            runpy.run_path(str(ROOT / program), run_name="__main__")
        except SystemExit as stop:
            status = stop.code or 0
        return status, *self._capfd.readouterr()


def run_process(*command: object, limit_blocks: int | None = None) -> subprocess.CompletedProcess:
    """Run `python <command>` in a process of its own from the checkout.

    With `limit_blocks` no file may grow beyond so many KiB: writing then fails, as on a full disk.
    """
    line = [sys.executable, *map(str, command)]
    if limit_blocks is not None:
        line = ["bash", "-c", f'ulimit -f {limit_blocks}; exec "$@"', "bash", *line]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, env=environment, timeout=300)


def one_error_line(stderr: str) -> str:
    """The line of an error that a user's mistake ends in; nothing else may stand on stderr."""
    lines = stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), stderr
    return lines[0]


def leftovers(folder: Path) -> list[Path]:
    """Files below a folder that a program left half-written: temporary ones."""
    return [path for path in folder.rglob("*") if path.name.endswith(".tmp")]

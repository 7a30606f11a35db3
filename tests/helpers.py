"""What tests of several folders share: golden files, weights by rule, small samples, and running programs."""

import importlib.util
import io
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import default_collate

from datasets.formats.pfm import read_pfm, write_pfm
from datasets.sample import View, make_sample, stage_maps
from datasets.synthetic.scans import Scene
from models import build_model
from models.checkpoint import checkpoint_bytes

ROOT = Path(__file__).parents[1]
GOLDEN = Path(__file__).parent / "golden"
CLI = GOLDEN / "cli"

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


def write_exact_labels(root: Path, scan: str, views: int) -> None:
    """Pseudo-labels in `labels/` of a training layout: its exact depth, with a deviation of 1 mm."""
    for view in range(views):
        depth = read_pfm(root / "Depths_raw" / scan / f"depth_map_{view:04d}.pfm")
        write_pfm(root / "labels" / scan / "checked_depth" / f"{view:08d}.pfm", depth)
        write_pfm(root / "labels" / scan / "fused_sigma" / f"{view:08d}.pfm", np.ones_like(depth))


# ---------------------------------------------------------------- samples


def scene_sample(scene: Scene, light: int = 3) -> dict:
    """A batch of one from a procedural scene: view 0 with all others as sources, its exact depth per stage."""
    images = scene.images[light].astype(np.float32) / 255
    views = [View(image, camera) for image, camera in zip(images, scene.cameras, strict=True)]
    depth_values = scene.cameras[0].depth_values(192, 1.06, "synthetic")
    sample = make_sample(views, depth_values, "scan1", 0) | {"depth": stage_maps(scene.depths[0])}
    return default_collate([sample])


# ---------------------------------------------------------------- programs

# Seconds after which something that a test waits for counts as hanging. On a busy machine programs take ten times as
# long as on an idle one, so it only ends what never would; before pytest ends the test (pyproject.toml), which says
# less of why.
PATIENCE = 600

# Few hypotheses and views: what a test of a program's behaviour needs, whatever the depth.
FAST = ("--device", "cpu", "--num_workers", "0", "--ndepths", "8,8,8")


def load_program(program: str) -> ModuleType:
    """A program such as "tools/report.py" as a module, which runs nothing; its `parse` reads a command line."""
    path = ROOT / program
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(path.parent))  # as python does
        spec = importlib.util.spec_from_file_location(f"program_{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


def run_program(program: str, *flags: object) -> subprocess.CompletedProcess:
    """Run a program such as "test.py" in this process, which spares the start of torch."""
    command = [program, *map(str, flags)]
    out, err, status = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", command)
        patch.syspath_prepend(str((ROOT / program).parent))  # as python does
        try:
            runpy.run_path(str(ROOT / program), run_name="__main__")
        except SystemExit as stop:
            status = stop.code or 0
    return subprocess.CompletedProcess(command, status, out.getvalue(), err.getvalue())


def run_process(*command: object, file_limit: int | None = None) -> subprocess.CompletedProcess:
    """Run `python <command>` in a process of its own from the checkout.

    With `file_limit` no file may grow beyond so many KiB: writing then fails, as on a full disk.
    """
    line = [sys.executable, *map(str, command)]
    if file_limit is not None:
        line = ["bash", "-c", f'ulimit -f {file_limit}; exec "$@"', "bash", *line]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, env=environment, timeout=PATIENCE)


def start_process(*command: object, **settings: object) -> subprocess.Popen:
    """Start a command in a process group of its own, from the checkout, with settings in the environment."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **{name: str(value) for name, value in settings.items()}}
    return subprocess.Popen(
        [str(word) for word in command],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_as_in_a_terminal,
    )


def _as_in_a_terminal() -> None:
    """A process group of its own, and SIGINT not ignored, as it is below a shell's background job."""
    os.setpgrp()
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def end_process(process: subprocess.Popen) -> subprocess.CompletedProcess:
    """Wait for a started process."""
    out, err = process.communicate(timeout=PATIENCE)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def start_ranks(python: Path, count: int, *command: object, **settings: object) -> list[subprocess.Popen]:
    """Start a program in so many processes that work together, as torchrun does."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    settings |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    return [start_process(python, *command, **settings, RANK=rank, LOCAL_RANK=rank) for rank in range(count)]


def wait_until(condition: Callable[[], object], *processes: subprocess.Popen) -> None:
    """Wait until something has happened; fail when it takes too long, or a process that should do it has ended."""
    deadline = time.monotonic() + PATIENCE
    while True:
        ended = [process for process in processes if process.poll() is not None]  # before looking: it may have done it
        if condition():
            return
        assert not ended, end_process(ended[0])
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def succeed(result: subprocess.CompletedProcess) -> str:
    """What a program prints that ended well."""
    assert result.returncode == 0, result.stderr
    return result.stdout


def error_line(result: subprocess.CompletedProcess) -> str:
    """The one line on stderr that a user's mistake ends in, beside an exit status that is not 0."""
    lines = result.stderr.splitlines()
    assert result.returncode == 1 and len(lines) == 1 and lines[0].startswith("error: "), result.stderr
    return lines[0]


def assert_nothing_half_written(folder: Path) -> None:
    """Below a folder that a failed program wrote to: no temporary file, and every depth map whole."""
    assert not list(folder.rglob("*.tmp"))
    for path in folder.rglob("*.pfm"):
        read_pfm(path)


def change_times(folder: Path, pattern: str) -> dict[str, int]:
    """When each file below a folder was changed, to see what a rerun makes anew."""
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob(pattern)}

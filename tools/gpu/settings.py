"""What tools/gpu_check.py checks, and what it finds. Light: no torch."""

import dataclasses
from pathlib import Path
from typing import Any

Size = tuple[int, int]

# Every stage: what it shows, and the most seconds that it may take when all of them share ten minutes. Most of what the
# tests take on a GPU is the compilation of kernels for their many sizes.
STAGES = {
    "machine": ("The device, and what it can do at most", 60),
    "tests float32": (
        "The numerical tests on the device, factors not rounded to TF32; deviations from the golden files",
        270,
    ),
    "tests tf32": ("The tests against golden files again, factors rounded to TF32", 120),
    "tests bfloat16": ("The tests of networks in bf16", 150),
    "tests float16": ("The tests of networks in fp16", 150),
    "ranks": ("Two ranks on one device with gloo, one rank with NCCL and SyncBatchNorm", 150),
    "curves teacher": ("The teacher's loss curves: precisions must learn alike", 200),
    "curves student": ("The student's", 200),
    "cost volume": ("All three stages' cost volumes of a depth map", 60),
    "prediction": ("Depth maps of a scan, files read and written", 110),
    "training": ("Optimisation steps, batch of one", 200),
    "clouds": ("Labels, refinement, fusion and the DTU score", 150),
    "options": ("What is not in use: cudnn.benchmark, torch.compile, CUDA graphs", 100),
}
# What is not timed runs side by side, before what is.
UNTIMED = (
    "tests float32",
    "tests tf32",
    "tests bfloat16",
    "tests float16",
    "ranks",
    "curves teacher",
    "curves student",
)
WITHOUT_DEVICE = {"tests fake": ("The numerical tests on a GPU that is none, as far as they go without values", 200)}

# At this size at least so many times the plain definition's throughput, at no more than this share of its memory.
GOAL_SIZE, GOAL_SPEED, GOAL_MEMORY = (1152, 864), 2.0, 0.5


@dataclasses.dataclass(frozen=True)
class CheckSettings:
    """Fields are named as the flags.

    device: cuda or cpu. stages: of STAGES, in their order. sizes, training_sizes, curve_size: (width, height).
    tests: files and folders of tests. work: side of the matrices whose product is the peak, and MB of the copy.
    """

    device: str
    outdir: Path
    stages: tuple[str, ...] = tuple(STAGES)
    minutes: float = 10.0
    sizes: tuple[Size, ...] = ((640, 512), (1152, 864), (1600, 1184))
    training_sizes: tuple[Size, ...] = ((640, 512), (1152, 864), (1600, 1184))
    curve_size: Size = (160, 128)
    curve_steps: int = 300
    num_view: int = 5
    scan_views: int = 13
    cloud_points: float = 2.0
    tests: tuple[str, ...] = (
        "tests/models",
        "tests/fusion/test_builtin.py",
        "tests/fusion/test_on_devices.py",
        "tests/tools/prediction/test_predict.py",
        "tests/tools/runtime/test_devices.py",
    )
    work: tuple[int, int] = (8192, 1024)


def quick(settings: CheckSettings) -> CheckSettings:
    """The same in miniature: whether the check itself works."""
    small = ((64, 64),)
    return dataclasses.replace(
        settings,
        sizes=small,
        training_sizes=small,
        curve_size=small[0],
        curve_steps=10,
        num_view=3,
        scan_views=3,
        cloud_points=0.01,
        tests=("tests/models/test_cascade.py::test_golden_outputs",),
        work=(128, 1),
    )


@dataclasses.dataclass(frozen=True)
class Found:
    """One row of one of a stage's tables; `wrong` says why the stage has failed with it."""

    table: str
    cells: dict[str, Any]
    wrong: str = ""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a stage ended: "passed", "failed", "stopped" at its time limit, or "not run"; why, and what it found."""

    stage: str
    status: str
    seconds: float = 0.0
    reason: str = ""
    found: tuple[Found, ...] = ()

"""What a training is told, as frozen dataclasses whose defaults are the programs' own. Light: torch is not loaded.

Fields are named as the official flags, which take their defaults from here (tools.training.flags). A value that cannot
work raises DataError, which names the flag.
"""

import dataclasses
from pathlib import Path
from typing import Any, ClassVar

from datasets.files import DataError, PathLike
from models.settings import NetworkSettings
from tools.prediction.settings import NetworkOverrides
from tools.runtime.flags import default_workers
from tools.runtime.limits import (
    MOST_SAMPLES,
    MOST_WORKERS,
    check_between,
    check_depth_range,
    check_precision,
    check_size,
    check_views,
)
from tools.training.schedule import parse_milestones

# Variants of models.losses, which loads torch.
TEACHER_LOSSES = ("official", "per_pixel")
STUDENT_LOSSES = ("official", "paper", "hard")

_LARGEST_RATE, _LARGEST_WEIGHT = 1e30, 1e6  # of learning and decay, which float32 holds; of a loss
_LONGEST_TRAINING = 1e7  # minutes


@dataclasses.dataclass(frozen=True)
class TrainingData:
    """Which samples a training sees; lists are files of scan names, or "all".

    trainpath, trainlist: folder and scans of the training, in the layout `dataset` (a key of LAYOUTS).
    testlist: scans to evaluate on where ground truth exists; selectlist: held-out scans that need none; both below
    testpath, or below trainpath without it.
    pseudopath: folder of the pseudo-labels, for a student.
    """

    trainpath: PathLike
    trainlist: PathLike = "all"
    dataset: str = "dtu_yao"
    testlist: PathLike | None = None
    testpath: PathLike | None = None
    selectlist: PathLike | None = None
    pseudopath: PathLike | None = None


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What a sample holds: `nviews` images, of at most max_w times max_h pixels where the layout scales them.

    numdepth depth values, their interval scaled by interval_scale; augment: random colours, one for all its views.
    """

    nviews: int = 5
    numdepth: int = 192
    interval_scale: float = 1.06
    max_w: int = 640
    max_h: int = 512
    augment: bool = False

    def __post_init__(self) -> None:
        check_views("nviews", self.nviews)
        check_depth_range(self.numdepth, self.interval_scale)
        check_size(self.max_w, self.max_h)


@dataclasses.dataclass(frozen=True)
class NetworkChoices(NetworkOverrides):
    """Fields of NetworkSettings; None is what the checkpoint tells that the training starts from, or official."""

    grad_method: str = "detach"
    checkpoint_stages: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        channels = self.cr_base_chs or NetworkSettings().cr_base_chs
        if self.share_cr and len(set(channels)) > 1:
            raise DataError("--share_cr needs the same number of --cr_base_chs at every stage")
        try:
            NetworkSettings(**self.given())
        except ValueError as error:
            raise DataError(f"the network's settings: {error}") from None

    def given(self) -> dict[str, Any]:
        """The fields that are not None."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclasses.dataclass(frozen=True)
class Optimisation:
    """How the weights move.

    batch_size: samples per process and step; lr, wd: Adam's learning rate and weight decay; warmup_steps: steps from a
    third of the rate to all of it; lrepochs: epochs at which the rate is divided, and the divisor, as "6,8,12:2".
    freeze_bn: share of the steps after which BatchNorm uses its running statistics; dlossw: each stage's loss weight.
    max_bad_steps: so many losses or gradients in a row that are not finite end the training (tools.training.step).
    """

    batch_size: int = 1
    lr: float = 0.001
    wd: float = 0.0001
    warmup_steps: int = 500
    lrepochs: str = "6,8,12:2"
    freeze_bn: float = 1.0
    dlossw: tuple[float, ...] = (1.0, 1.0, 1.0)
    max_bad_steps: int = 10

    def __post_init__(self) -> None:
        if len(self.dlossw) != 3:
            raise DataError("--dlossw and --cr_base_chs need three numbers, one per stage")
        for name in ("lr", "wd"):
            check_between(name, getattr(self, name), 0, _LARGEST_RATE)
        for weight in self.dlossw:
            check_between("dlossw", weight, 0, _LARGEST_WEIGHT)
        check_between("batch_size", self.batch_size, 1, MOST_SAMPLES)
        if not 0 <= self.freeze_bn <= 1:
            raise DataError(f"--freeze_bn {self.freeze_bn:g}: must be a share of the training's steps, from 0 to 1")
        parse_milestones(self.lrepochs)


@dataclasses.dataclass(frozen=True)
class Schedule:
    """When a training ends and is evaluated: after `epochs` passes over the samples, or at a limit before (0: none).

    eval_freq: epochs between two evaluations.
    """

    epochs: int = 1
    max_steps: int = 0
    max_minutes: float = 0.0
    eval_freq: int = 1

    def __post_init__(self) -> None:
        check_between("max_minutes", self.max_minutes, 0, _LONGEST_TRAINING)


@dataclasses.dataclass(frozen=True)
class Saving:
    """Where a training begins, and what it leaves in the folder `logdir`.

    loadckpt: a checkpoint whose weights are the start; resume: go on from the newest checkpoint in logdir instead.
    save_freq: epochs between two checkpoints; save_steps: steps between two inside an epoch; keep: how many stay (0: no
    checkpoint inside an epoch, all stay); summary_freq: steps between two log entries.
    """

    logdir: Path
    loadckpt: PathLike | None = None
    resume: bool = False
    save_freq: int = 1
    save_steps: int = 0
    keep: int = 0
    summary_freq: int = 50

    def __post_init__(self) -> None:
        object.__setattr__(self, "logdir", Path(self.logdir))


@dataclasses.dataclass(frozen=True)
class Scoring:
    """Whether every epoch is scored without ground truth and the best one kept (tools.training.selection).

    select_thres_view: sources that must confirm a pixel.
    """

    select: bool = False
    select_thres_view: int = 3


@dataclasses.dataclass(frozen=True)
class Machine:
    """Where and how the network runs.

    device: auto, cpu, cuda, cuda:N, mps or xpu; amp: off, bf16, fp16 or auto; num_workers: processes that load samples,
    0 for none; pin_m: pin the host memory of batches; sync_bn: BatchNorm's statistics over all GPUs.
    """

    device: str = "auto"
    amp: str = "off"
    num_workers: int = dataclasses.field(default_factory=default_workers)
    pin_m: bool = False
    sync_bn: bool = False

    def __post_init__(self) -> None:
        check_precision(self.amp)
        check_between("num_workers", self.num_workers, 0, MOST_WORKERS)


@dataclasses.dataclass(frozen=True)
class TrainingSettings:
    """Everything that a training is told beside its data. `seed` is that of weights, order and augmentation."""

    saving: Saving
    network: NetworkChoices = NetworkChoices()
    inputs: Inputs = Inputs()
    optimisation: Optimisation = Optimisation()
    schedule: Schedule = Schedule()
    scoring: Scoring = Scoring()
    machine: Machine = Machine()
    seed: int = 1

    kind: ClassVar[str]


@dataclasses.dataclass(frozen=True)
class TeacherSettings(TrainingSettings):
    """A teacher's training, with the defaults of train_unsup.py.

    loss: one of TEACHER_LOSSES; smooth_weight: weight of its smoothness term, None for the variant's own.
    """

    loss: str = "official"
    smooth_weight: float | None = None

    kind: ClassVar[str] = "teacher"

    def __post_init__(self) -> None:
        if self.smooth_weight is not None:
            check_between("smooth_weight", self.smooth_weight, -_LARGEST_WEIGHT, _LARGEST_WEIGHT)


@dataclasses.dataclass(frozen=True)
class StudentSettings(TrainingSettings):
    """A student's training, with the defaults of train_kd.py. loss: one of STUDENT_LOSSES."""

    optimisation: Optimisation = Optimisation(lrepochs="4,6,8:2")
    schedule: Schedule = Schedule(epochs=16)
    loss: str = "official"

    kind: ClassVar[str] = "student"


def flat(settings: object) -> dict[str, Any]:
    """The fields of a dataclass by name, those of the dataclasses inside it among them."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        found |= flat(value) if dataclasses.is_dataclass(value) else {field.name: value}
    return found

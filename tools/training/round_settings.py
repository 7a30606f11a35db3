"""What rounds of distillation are told. Light: no torch."""

import dataclasses

from datasets.files import DataError
from tools.prediction.settings import FOR_LABELS, LabelSettings, PredictionSettings
from tools.training.settings import Inputs, Machine, Saving, StudentSettings

STEPS = ("predict", "label", "train")
STARTS = ("scratch", "teacher")


@dataclasses.dataclass(frozen=True)
class DistillationSettings:
    """How students are made; the defaults are those of tools/predict.py, tools/check_and_encode.py and train_kd.py.

    labels: the first round's, the second's, ...; the last ones hold for those that follow. start: a student's first
    weights, "scratch" or its "teacher"'s. What stands in `student.saving` of folders is chosen by the rounds.
    """

    prediction: PredictionSettings = FOR_LABELS
    labels: tuple[LabelSettings, ...] = (LabelSettings(),)
    student: StudentSettings = dataclasses.field(default_factory=lambda: StudentSettings(Saving("")))
    start: str = "scratch"

    def __post_init__(self) -> None:
        if not self.labels:
            raise DataError("--thres_view: needs a number of views")
        if self.start not in STARTS:
            raise DataError(f"--student_start {self.start}: must be one of {', '.join(STARTS)}")

    def labels_of(self, number: int) -> LabelSettings:
        """Those of a round, from 1 on."""
        return self.labels[min(number, len(self.labels)) - 1]


def prediction_for(inputs: Inputs, machine: Machine, light: int | None, confidence: str) -> PredictionSettings:
    """Predictions with the views, depths and sizes that a student is trained with."""
    return dataclasses.replace(
        FOR_LABELS,
        views=inputs.nviews,
        numdepth=inputs.numdepth,
        interval_scale=inputs.interval_scale,
        max_size=(inputs.max_w, inputs.max_h),
        light=light,
        confidence=confidence,
        amp=machine.amp,
    )

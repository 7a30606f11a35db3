"""Students from a teacher, round by round: depth of all views, labels, a student, which is the next round's teacher.

    distil("teacher.ckpt", TrainingData("DTU"), 2, Path("outputs/kd"), DistillationSettings())

OUTDIR/round_1/student/ holds checkpoints, round_1/est/ and round_1/labels/ what they were made from. A rerun goes on
where the last one was: each step makes only what is missing or was made from something else.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from datasets.files import DataError, PathLike, write_bytes
from datasets.layouts.base import Layout, forget_files
from datasets.mvs import open_dataset
from datasets.results import find_scans
from tools.prediction.labelling import LabelSummary, label_scans, report_labels
from tools.prediction.origins import layout_name
from tools.prediction.predictor import predict, sample_settings
from tools.runtime import distributed
from tools.training.resume import CheckpointFolder
from tools.training.round_settings import STEPS, DistillationSettings
from tools.training.run import train_student
from tools.training.settings import TrainingData


@dataclasses.dataclass(frozen=True)
class RoundResult:
    """A finished round: its number from 1 on, the checkpoints of its teacher and its student, the folders of its
    predictions and labels, and how much is labelled."""

    number: int
    teacher: Path
    predictions: Path
    labels: Path
    summary: LabelSummary
    student: Path


@dataclasses.dataclass(frozen=True)
class Distillation:
    """Rounds with everything that they are told; under torchrun all processes call each step.

    teacher: checkpoint of the first round's. outdir: for the students; label_dir: for predictions and labels.
    """

    teacher: Path
    data: TrainingData
    rounds: int
    outdir: Path
    label_dir: Path
    settings: DistillationSettings

    def step(self, number: int, name: str) -> LabelSummary | Path | None:
        """One of `STEPS` of a round, by the steps before it: what is labelled, or the student.

        Raises DataError and CheckpointError.
        """
        forget_files()
        return {"predict": self._predict, "label": self._label, "train": self._train}[name](number)

    def run(self) -> list[RoundResult]:
        """All rounds, in this process."""
        return [self._round(number) for number in range(1, self.rounds + 1)]

    def _round(self, number: int) -> RoundResult:
        _, summary, student = (self.step(number, name) for name in STEPS)
        return RoundResult(
            number, self.teacher_of(number), self._place(number, "est"), self._place(number, "labels"), summary, student
        )

    def teacher_of(self, number: int) -> Path:
        """The checkpoint that teaches in a round; raises DataError when the round before it has left none."""
        if number == 1:
            return self.teacher
        folder = self._student(number - 1)
        student = best_checkpoint(folder)
        if student is None:
            raise DataError(f"{folder}: holds no checkpoint; round {number} needs the student of the round before it")
        return student

    def _predict(self, number: int) -> None:
        teacher, data = self.teacher_of(number), self.data
        if distributed.is_main():
            print(f"== round {number} of {self.rounds}, teacher {teacher}", flush=True)
        device = distributed.start(self.settings.student.machine.device)
        settings = self.settings.prediction
        dataset = open_dataset(data.dataset, data.trainpath, data.trainlist, sample_settings(settings))
        predict(teacher, dataset, self._place(number, "est"), settings, device)
        distributed.finish()

    def _label(self, number: int) -> LabelSummary:
        distributed.start("cpu", sweeps=False)
        predictions, labels = self._place(number, "est"), self._place(number, "labels")
        scans = find_scans(predictions, str(self.data.trainlist))
        settings = self.settings.labels_of(number)
        summary = label_scans(predictions, Path(self.data.trainpath), scans, labels, settings)
        report_labels(summary, labels)
        distributed.finish()
        return summary

    def _train(self, number: int) -> Path:
        settings, folder = self.settings.student, self._student(number)
        start = settings.saving.loadckpt
        if start is None and self.settings.start == "teacher":
            start = self.teacher_of(number)
        saving = dataclasses.replace(settings.saving, logdir=folder, loadckpt=start, resume=True)
        data = dataclasses.replace(self.data, pseudopath=self._place(number, "labels"))
        train_student(dataclasses.replace(settings, saving=saving), data)
        student = best_checkpoint(folder)
        if number == self.rounds and distributed.is_main():
            print(f"student: {student}", flush=True)
        return student

    def _place(self, number: int, name: str) -> Path:
        return self.label_dir / f"round_{number}" / name

    def _student(self, number: int) -> Path:
        return self.outdir / f"round_{number}" / "student"


def distil(
    teacher: PathLike, data: TrainingData, rounds: int, outdir: Path, settings: DistillationSettings
) -> list[RoundResult]:
    """All rounds from a teacher's checkpoint, in this process."""
    return Distillation(Path(teacher), data, rounds, outdir, outdir, settings).run()


def listed_data(opened: Sequence[tuple[Layout, list[str]] | None], folder: Path) -> TrainingData:
    """Scans, each with its layout, as a training takes them: of one data set, named in folder/scans.txt."""
    places = {(layout_name(layout), layout.root.resolve()) for layout, _ in filter(None, opened)}
    if len(places) != 1 or None in opened:
        raise DataError("students need scans of one data set: a folder that holds scans, or scans of one folder")
    ((kind, root),) = places
    names = [name for _, scans in opened for name in scans]
    write_bytes(folder / "scans.txt", "".join(f"{name}\n" for name in names).encode())
    return TrainingData(root, folder / "scans.txt", kind)


def best_checkpoint(folder: Path) -> Path | None:
    """The checkpoint that --select kept in a training's folder, else the newest one; None without any."""
    checkpoints = CheckpointFolder(folder)
    return checkpoints.best if checkpoints.best.exists() else checkpoints.newest()

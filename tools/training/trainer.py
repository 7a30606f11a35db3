"""The one training loop: teacher and student, CPU and GPU, one process or many.

A training brings its network, its losses and its datasets (tools.training.setup). Where it stands, with saving and
restoring, is in tools.training.state; one optimisation step in tools.training.step; what ends it before its time in
tools.training.stopping. The rest is here: epochs, logging, evaluation, scoring.
"""

import math
import time
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from datasets.files import write_bytes, write_json
from datasets.mvs import MVSDataset
from models.cascade import CascadeMVSNet
from tools.runtime import distributed
from tools.runtime.devices import AMP_TYPES, move_to, resolved_amp
from tools.runtime.program import Progress
from tools.runtime.signals import shield_worker
from tools.training.log import TrainingLog, sample_images
from tools.training.resume import CheckpointFolder, SeededSamples, TrainingSampler, kinds_of_samples
from tools.training.selection import Selection, SelectionRecord
from tools.training.settings import TrainingSettings
from tools.training.state import TrainingState
from tools.training.step import Losses, TrainingStep
from tools.training.stopping import Stopping
from tools.training.validation import describe, validation_metrics


class _Loader(DataLoader):
    """A loader that takes as many workers as it is told, without a remark about the machine's cores."""

    def check_worker_number_rationality(self) -> None:
        """Nothing to say: loading from a slow disk pays with more workers than cores."""


class Trainer:
    """Trains a network as the settings say; `compute_losses(outputs, batch)` returns scalars, "total" among them.

    With `logs` it writes metrics and event files. A training is resumed only with the `data_version` it began with.
    """

    def __init__(
        self,
        settings: TrainingSettings,
        network: CascadeMVSNet,
        compute_losses: Losses,
        train_set: MVSDataset,
        test_set: MVSDataset | None,
        device: torch.device,
        data_version: str = "",
        selection: Selection | None = None,
        logs: bool = True,
    ) -> None:
        self.settings, self.schedule, self.saving = settings, settings.schedule, settings.saving
        self.device, self.selection = device, selection
        self.network = network.to(device)
        self.model = distributed.distribute(self.network, device, settings.machine.sync_bn)
        batch_size = settings.optimisation.batch_size
        kinds = kinds_of_samples(train_set) if batch_size > 1 else ()
        self.sampler = TrainingSampler(train_set, settings.seed, batch_size, kinds)
        self.train_loader = self._loader(SeededSamples(train_set), batch_size, self.sampler)
        self.test_loader = None
        if test_set is not None:
            self.test_loader = self._loader(test_set, 1, distributed.share(range(len(test_set))))
        self.stopping = Stopping(self.schedule.max_minutes)
        self.checkpoints = CheckpointFolder(self.saving.logdir, self.saving.keep)
        self.amp_type = AMP_TYPES[resolved_amp(settings.machine.amp, device)]
        self.state = self._start(data_version)
        self.log = TrainingLog(self.saving.logdir if logs and distributed.is_main() else None, self.state.step + 1)
        self.train_step = TrainingStep(
            self.state,
            self.model,
            compute_losses,
            settings.optimisation,
            self._total_steps(),
            self.amp_type,
            self.log,
        )
        self.step_seconds: list[float] = []

    def _loader(
        self, dataset: MVSDataset | SeededSamples, batch_size: int, sampler: TrainingSampler | list[int]
    ) -> DataLoader:
        machine = self.settings.machine
        return _Loader(
            dataset,
            batch_size,
            sampler=sampler,
            num_workers=machine.num_workers,
            pin_memory=machine.pin_m and self.device.type == "cuda",
            persistent_workers=machine.num_workers > 0,
            worker_init_fn=shield_worker,
            generator=torch.Generator(),  # of its own: starting the workers draws no number of the training
        )

    def _start(self, data_version: str) -> TrainingState:
        """The state at the first step, or restored from a checkpoint."""
        rule = self.settings.optimisation
        optimizer = torch.optim.Adam(
            self.network.parameters(),
            lr=rule.lr,
            betas=(0.9, 0.999),
            weight_decay=rule.wd,
            fused=self.device.type in ("cpu", "cuda"),
        )
        state = TrainingState(
            self.network,
            optimizer,
            torch.amp.GradScaler(self.device.type, enabled=self.amp_type == torch.float16),
            self.device,
            self.sampler.total_size,
            max(1, len(self.train_loader)),
            data_version,
            SelectionRecord(self.selection.name if self.selection else ""),
        )
        if restored := state.restore(self.saving, self.checkpoints, scored=self.selection is not None):
            self.message(restored)
        return state

    def _total_steps(self) -> int:
        """Steps of the whole training, as far as it is not its time that ends it."""
        steps = self.schedule.epochs * self.state.epoch_steps
        return min(steps, self.schedule.max_steps) if self.schedule.max_steps > 0 else steps

    @staticmethod
    def message(text: str) -> None:
        """Print a line, on one process only."""
        if distributed.is_main():
            print(text, flush=True)

    # ------------------------------------------------------------ training

    def run(self) -> None:
        """Train all epochs, evaluating and saving as the settings say.

        After a signal it saves and raises Stopped, and likewise the error where samples cannot be loaded any more.
        """
        state = self.state
        with self.stopping.signals:
            if state.samples and state.epoch_finished:  # it was stopped before it was scored
                self._end_epoch()
            while state.epoch < self.schedule.epochs and not self._enough():
                self._train_epoch()
                self._end_epoch()
            if self.step_seconds and distributed.is_main():
                seconds = median(self.step_seconds)
                account = {"steps": state.step, "seconds_per_step": round(seconds, 4), **state.scores.extra()}
                write_json(self.saving.logdir / "training.json", account)
                self.message(f"trained {state.step} steps, {seconds:.2f} s per step (median)")

    def _end_epoch(self) -> None:
        """Score, save and evaluate as the settings say, and go on to the next epoch; stop after a signal."""
        if not self.stopping.told and self.selection is not None and self.state.scores.last_step() != self.state.step:
            self.select()
            self.state.changed()
        if not self.stopping.told:
            self._save_and_evaluate()
        if self.stopping.told:
            self._stop()
        self.state.next_epoch()

    def _save_and_evaluate(self) -> None:
        finished = self.state.epoch + 1
        last = finished == self.schedule.epochs or self._enough()
        if last or finished % self.saving.save_freq == 0:
            self.state.save(self.checkpoints)
        if self.test_loader is not None and (last or finished % self.schedule.eval_freq == 0):
            self.evaluate()

    def _enough(self) -> bool:
        """Whether a limit is reached, or a signal came; the same on all processes."""
        return 0 < self.schedule.max_steps <= self.state.step or self.stopping.late or self.stopping.told

    def _stop(self) -> None:
        self.state.save(self.checkpoints)
        distributed.barrier()  # a launcher ends all processes when the first has ended
        self.message(f"saved after step {self.state.step}; --resume goes on from there")
        raise self.stopping.reason()

    def _train_epoch(self) -> None:
        """Train what is left of the epoch, up to the first reason to stop."""
        state, batch_size = self.state, self.settings.optimisation.batch_size * distributed.world_size()
        self.model.train()
        self.sampler.start(state.epoch, state.samples)
        total = math.ceil((self.sampler.total_size - state.samples) / batch_size)
        if self.schedule.max_steps > 0:
            total = min(total, self.schedule.max_steps - state.step)
        label = f"epoch {state.epoch + 1}/{self.schedule.epochs}"
        progress = Progress(total, label, unit="step", quiet=not distributed.is_main())
        started = time.monotonic()
        for batch in self.stopping.together(self.train_loader, all_needed=True):
            losses, outputs = self.train_step(move_to(batch, self.device))
            state.samples = min(state.samples + batch_size, self.sampler.total_size)
            seconds, started = time.monotonic() - started, time.monotonic()
            self.step_seconds.append(seconds)
            progress.step(f"loss {losses['total']:.4f}" if self.log.active else "")
            self._log_step(batch, losses, outputs)
            if self.saving.save_steps and state.step % self.saving.save_steps == 0:
                state.save(self.checkpoints)
            if self._enough():
                break
        progress.close()

    def _log_step(self, batch: dict[str, Any], losses: dict[str, float], outputs: dict[str, Any]) -> None:
        step = self.state.step
        if step % self.saving.summary_freq == 0 and self.log.active:
            self.log.scalars("train", {**losses, "lr": self.train_step.learning_rate()}, step)
            self.log.images("train", sample_images(batch, outputs), step)

    # ------------------------------------------------------------ evaluation

    def select(self) -> None:
        """Score the network without ground truth; the best so far is kept. A signal cuts this short, without a score.

        It leaves no trace in the training: neither in weights and statistics nor in random states.
        """
        score = self.selection.score(self.network, self.stopping.together)
        if self.stopping.told:
            return
        state = self.state
        self.message(f"epoch {state.epoch + 1}, without ground truth: {score}")
        self.log.scalars("select", score._asdict(), state.step)
        if state.scores.add(score, state.epoch, state.step) and self.log.active:
            write_bytes(self.checkpoints.best, state.content())
            self.message(f"best so far: {self.checkpoints.best}")

    @torch.no_grad()
    def evaluate(self) -> dict[str, float] | None:
        """Depth metrics over the samples that have ground truth, printed and logged.

        None when no sample has, and when a signal cut the evaluation short.
        """
        self.model.eval()
        metrics = validation_metrics(self._predict, self.stopping.together(self.test_loader))
        if self.stopping.told:
            return None
        if metrics is None:
            self.message("no ground truth to evaluate on")
            return None
        self.message(f"evaluation: {describe(metrics)}")
        self.log.scalars("test", metrics, self.state.step)
        return metrics

    def _predict(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        """Depth, ground truth and its mask of a batch."""
        batch = move_to(batch, self.device)
        with torch.autocast(self.device.type, self.amp_type, enabled=self.amp_type is not None):
            outputs = self.network(batch["imgs"], batch["proj_matrices"], batch["depth_values"])
        return outputs["depth"].float(), batch["depth"]["stage3"], batch["depth_mask"]["stage3"]

    # ------------------------------------------------------------ profile

    def profile(self, steps: int = 5) -> None:
        """Print where the time of training steps goes."""
        self.model.train()
        batch = move_to(next(iter(self.train_loader)), self.device)
        self.train_step(batch)
        with torch.profiler.profile() as profiler:
            for _ in range(steps):
                self.train_step(batch)
        order = "self_cuda_time_total" if self.device.type == "cuda" else "self_cpu_time_total"
        self.message(profiler.key_averages().table(sort_by=order, row_limit=25))

"""The one training loop: teacher and student, CPU and GPU, one process or many.

A training program brings its model, its losses and its datasets (tools.training.setup); the rest is here: precision,
learning rate, distribution, checkpoints and resuming, logging, evaluation, losses that are not finite.
"""

import argparse
import itertools
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from datasets.files import DataError, write_bytes, write_json
from datasets.mvs import MVSDataset
from models.blocks import batch_norms
from models.checkpoint import checkpoint_bytes, load_optimizer, load_start, load_weights, read_checkpoint
from tools.runtime import distributed
from tools.runtime.devices import AMP_TYPES, move_to, resolved_amp
from tools.runtime.program import Progress, keep_freed_memory
from tools.runtime.signals import Stopped, StopSignals, shield_worker
from tools.training.log import EventLog, sample_images
from tools.training.resume import (
    CheckpointFolder,
    SeededSamples,
    TrainingSampler,
    interned,
    random_state,
    set_random_state,
)
from tools.training.schedule import learning_rate_factor, parse_milestones
from tools.training.selection import Selection, SelectionRecord, open_training_selection
from tools.training.validation import depth_metrics, describe

Losses = Callable[[dict[str, Any], dict[str, Any]], dict[str, Tensor]]


class Trainer:
    """Trains a network as the flags say; `compute_losses(outputs, batch)` returns scalars, "total" among them."""

    def __init__(
        self,
        args: argparse.Namespace,
        model: nn.Module,
        compute_losses: Losses,
        train_set: MVSDataset,
        test_set: MVSDataset | None,
        device: torch.device,
        data_version: str = "",
        selection: Selection | None = None,
    ) -> None:
        self.args, self.device, self.data_version = args, device, data_version
        self.selection, self.scores = selection, SelectionRecord(selection.name if selection else "")
        self.compute_losses = compute_losses
        self.amp_type = AMP_TYPES[resolved_amp(args.amp, device)]
        self.network = model.to(device)
        self.model = distributed.distribute(self.network, device, args.sync_bn)
        self.optimizer = torch.optim.Adam(
            self.network.parameters(),
            lr=args.lr,
            betas=(0.9, 0.999),
            weight_decay=args.wd,
            fused=device.type in ("cpu", "cuda"),
        )
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.amp_type == torch.float16)
        self.sampler = TrainingSampler(train_set, args.seed)
        self.train_loader = self._loader(SeededSamples(train_set), args.batch_size, self.sampler)
        self.test_loader = None
        if test_set is not None:
            self.test_loader = self._loader(test_set, 1, distributed.share(range(len(test_set))))
        self.milestones, self.divisor = parse_milestones(args.lrepochs)
        self.logdir = Path(args.logdir)
        self.checkpoints = CheckpointFolder(self.logdir, args.keep)
        # `samples`: those of the epoch that all processes together have finished. `bad_steps`: those in a row.
        self.epoch = self.samples = self.step = self.bad_steps = self.all_bad_steps = 0
        self.saved_step = -1
        self.step_seconds: list[float] = []
        self.deadline = time.monotonic() + 60 * args.max_minutes if args.max_minutes > 0 else math.inf
        self.signals = StopSignals(at_once=False)
        self.stop_signal, self.late = 0, False  # what all processes agree on after each step
        self._restore()
        self.norms = batch_norms(self.network)
        self.buffers = list(self.network.buffers())
        self.good_buffers = [buffer.clone() for buffer in self.buffers]
        writes_events = distributed.is_main() and args.mode == "train"
        self.log = EventLog(self.logdir if writes_events else None, self.step + 1)

    def _loader(
        self, dataset: MVSDataset | SeededSamples, batch_size: int, sampler: TrainingSampler | list[int]
    ) -> DataLoader:
        args = self.args
        return DataLoader(
            dataset,
            batch_size,
            sampler=sampler,
            num_workers=args.num_workers,
            pin_memory=args.pin_m and self.device.type == "cuda",
            persistent_workers=args.num_workers > 0,
            worker_init_fn=shield_worker,
            generator=torch.Generator(),  # of its own: starting the workers draws no number of the training
        )

    @staticmethod
    def message(text: str) -> None:
        """Print a line, on one process only."""
        if distributed.is_main():
            print(text, flush=True)

    # ------------------------------------------------------------ checkpoints

    def _restore(self) -> None:
        """Take weights from --loadckpt, or everything from the newest checkpoint with --resume."""
        newest = self.checkpoints.newest() if self.args.resume else None
        path = newest or self.args.loadckpt
        if path is not None:
            content = read_checkpoint(path)
            if newest is None:
                load_start(self.network, content["model"], path)
            else:
                load_weights(self.network, content["model"], path)
                self._restore_progress(content, newest)
            self.message(f"{'resumed' if newest else 'weights'} from {path}")
        step, opposite = distributed.agree([self.step, -self.step])
        if step != -opposite:
            raise DataError(f"{self.logdir}: not all processes see the same checkpoints; --logdir must be shared")

    def _restore_progress(self, content: dict[str, Any], path: Path) -> None:
        if content.get("data_version", self.data_version) != self.data_version:
            raise DataError(f"{path}: was trained on other labels; use a new --logdir, or remove the old checkpoints")
        try:
            optimizer = interned(content["optimizer"])
            for group in optimizer["param_groups"]:
                group["fused"] = self.optimizer.defaults["fused"]
            load_optimizer(self.optimizer, optimizer, path)
            self.epoch = int(content["epoch"])
            self.samples = int(content.get("samples", self.sampler.total_size))  # official checkpoints end an epoch
            self.step = int(content.get("step", -1))
            self.bad_steps, self.all_bad_steps = map(int, content.get("bad_steps", (0, 0)))
            if self.scaler.is_enabled():
                self.scaler.load_state_dict(content.get("scaler", {}))
            if "random" in content:
                set_random_state(content["random"], self.device)
            self.scores = SelectionRecord.restored(content.get("selection"), self.scores.name)
        except (KeyError, ValueError, TypeError, AttributeError, RuntimeError, OverflowError):
            raise DataError(f"{path}: cannot be resumed from; its record of the training is damaged") from None
        if self.step < 0:
            self.step = (self.epoch + self._epoch_finished()) * len(self.train_loader)
        if not self._epoch_finished():
            self.checkpoints.note_unfinished(path)
        elif not self._unscored():
            self.epoch, self.samples = self.epoch + 1, 0
        self.saved_step = self.step

    def _epoch_finished(self) -> bool:
        return self.samples >= self.sampler.total_size

    def _content(self) -> bytes:
        """A checkpoint of this step."""
        return checkpoint_bytes(
            self.network,
            self.optimizer,
            self.epoch,
            samples=self.samples,
            step=self.step,
            scaler=self.scaler.state_dict(),
            bad_steps=(self.bad_steps, self.all_bad_steps),
            random=random_state(self.device),
            data_version=self.data_version,
            **self.scores.extra(),
        )

    def _save(self) -> None:
        """Write a checkpoint of this step, unless there is one."""
        if distributed.is_main() and self.saved_step != self.step:
            self.checkpoints.write(self.epoch, self._epoch_finished(), self._content())
        self.saved_step = self.step

    # ------------------------------------------------------------ training

    def run(self) -> None:
        """Train all epochs, evaluating and saving as the flags say. After a signal it saves and raises Stopped."""
        with self.signals:
            if self.samples and self._epoch_finished():  # it was stopped before it was scored
                self._end_epoch()
            while self.epoch < self.args.epochs and not self._enough():
                self._train_epoch()
                self._end_epoch()
            if self.step_seconds and distributed.is_main():
                seconds = median(self.step_seconds)
                account = {"steps": self.step, "seconds_per_step": round(seconds, 4), **self.scores.extra()}
                write_json(self.logdir / "training.json", account)
                self.message(f"trained {self.step} steps, {seconds:.2f} s per step (median)")

    def _end_epoch(self) -> None:
        """Score, save and evaluate as the flags say, and go on to the next epoch; stop after a signal."""
        if not self.stop_signal and self._unscored():
            self.select()
            self.saved_step = -1  # a checkpoint tells of its score
        if not self.stop_signal:
            self._save_and_evaluate()
        if self.stop_signal:
            self._stop()
        self.epoch, self.samples = self.epoch + 1, 0

    def _save_and_evaluate(self) -> None:
        last = self.epoch == self.args.epochs - 1 or self._enough()
        if last or (self.epoch + 1) % self.args.save_freq == 0:
            self._save()
        if self.test_loader is not None and (last or (self.epoch + 1) % self.args.eval_freq == 0):
            self.evaluate()

    def _enough(self) -> bool:
        """Whether --max_steps or --max_minutes is reached, or a signal came; the same on all processes."""
        return 0 < self.args.max_steps <= self.step or self.late or self.stop_signal > 0

    def _stop(self) -> None:
        self._save()
        distributed.barrier()  # a launcher ends all processes when the first has ended
        self.message(f"saved after step {self.step}; --resume goes on from there")
        raise Stopped(self.stop_signal)

    def _train_epoch(self) -> None:
        """Train what is left of the epoch, up to the first reason to stop."""
        args, batch_size = self.args, self.args.batch_size * distributed.world_size()
        self.model.train()
        self.sampler.start(self.epoch, self.samples)
        total = math.ceil((self.sampler.total_size - self.samples) / batch_size)
        if args.max_steps > 0:
            total = min(total, args.max_steps - self.step)
        label = f"epoch {self.epoch + 1}/{args.epochs}"
        progress = Progress(total, label, unit="step", quiet=not distributed.is_main())
        started = time.monotonic()
        for batch in self._batches():
            losses, outputs = self.train_step(move_to(batch, self.device))
            self.samples = min(self.samples + batch_size, self.sampler.total_size)
            seconds, started = time.monotonic() - started, time.monotonic()
            self.step_seconds.append(seconds)
            progress.step(f"loss {losses['total']:.4f}" if self.log.active else "")
            if self.step % args.summary_freq == 0 and self.log.active:
                self.log.scalars("train", {**losses, "lr": self._learning_rate()}, self.step)
                self.log.images("train", sample_images(batch, outputs), self.step)
            if args.save_steps and self.step % args.save_steps == 0:
                self._save()
            if self._enough():
                break
        progress.close()

    def _batches(self) -> Iterator[dict[str, Any]]:
        """What is left of the epoch; nothing more after a signal that has ended the loading workers as well."""
        try:
            yield from self.train_loader
        except RuntimeError:
            if not self.signals.arrives():
                raise
            self._agree(finite=True)  # in the place of the next step's: the other processes stop with it

    def _learning_rate(self) -> float:
        args, epoch = self.args, self._steps_per_epoch()
        return args.lr * learning_rate_factor(self.step, epoch, args.warmup_steps, self.milestones, self.divisor)

    def _steps_per_epoch(self) -> int:
        return max(1, len(self.train_loader))

    def _set_norms(self) -> None:
        """BatchNorm's mode at this step.

        Statistics of one sample differ from the running ones of prediction, and these depend on the last few samples;
        after --freeze_bn the weights learn to go with the running ones as they are.
        """
        args, steps = self.args, self.args.epochs * self._steps_per_epoch()
        if args.max_steps > 0:
            steps = min(steps, args.max_steps)
        training = args.freeze_bn == 1 or self.step < args.freeze_bn * steps
        for norm in self.norms:
            norm.train(training)

    def train_step(self, batch: dict[str, Any]) -> tuple[dict[str, float], dict[str, Any]]:
        """One optimisation step; all processes skip it together when a loss or the gradient is not finite on any."""
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate()
        self._set_norms()
        with torch.autocast(self.device.type, self.amp_type, enabled=self.amp_type is not None):
            outputs = self.model(batch["imgs"], batch["proj_matrices"], batch["depth_values"])
        losses = self.compute_losses(outputs, batch)
        values = {name: float(value.detach()) for name, value in losses.items()}
        self.step += 1
        self.optimizer.zero_grad(set_to_none=True)
        finite = self._agree(math.isfinite(values["total"]))
        if finite:
            self.scaler.scale(losses["total"]).backward()
            if not self.scaler.is_enabled():  # the scaler has its own way with such gradients
                values["gradient_norm"] = self._gradient_norm()
                finite = math.isfinite(values["gradient_norm"])  # DDP has made it the same on all processes
        if not finite:
            self._skip_step(batch, values)
            return values, outputs
        self.bad_steps = 0
        self.scaler.step(self.optimizer)
        self.scaler.update()
        torch._foreach_copy_(self.good_buffers, self.buffers)
        return values, outputs

    def _agree(self, finite: bool) -> bool:
        """Whether the loss is finite on all processes; the same reduction tells of signals and the time limit."""
        late = time.monotonic() > self.deadline
        bad, self.stop_signal, late = map(int, distributed.agree([not finite, self.signals.signum, late]))
        self.late = late > 0
        return bad == 0

    def _gradient_norm(self) -> float:
        gradients = [parameter.grad for parameter in self.network.parameters() if parameter.grad is not None]
        return float(nn.utils.get_total_norm(gradients))

    def _skip_step(self, batch: dict[str, Any], values: dict[str, float]) -> None:
        """Undo the step's one trace, in BatchNorm's statistics, and count it; DataError after too many in a row."""
        torch._foreach_copy_(self.buffers, self.good_buffers)
        self.bad_steps += 1
        self.all_bad_steps += 1
        names = ", ".join(f"{scan} view {int(view)}" for scan, view in zip(batch["scan"], batch["view"], strict=True))
        terms = ", ".join(f"{name} {value:g}" for name, value in values.items())
        where = " on another process" if all(map(math.isfinite, values.values())) else ""
        account = f"step {self.step}: a loss or gradient is not finite{where}; here {names}: {terms}"
        print(f"rank {distributed.rank()}: {account}; skipped", flush=True)
        self.log.scalars("train", {"bad_steps": self.all_bad_steps}, self.step)
        if self.bad_steps >= self.args.max_bad_steps:
            raise DataError(f"{account}; {self.bad_steps} steps in a row: lower --lr or check these samples")

    # ------------------------------------------------------------ evaluation

    def _unscored(self) -> bool:
        return self.selection is not None and self.scores.last_step() != self.step

    def select(self) -> None:
        """Score the network without ground truth; the best so far is kept. A signal cuts this short, without a score.

        It leaves no trace in the training: neither in weights and statistics nor in random states.
        """
        score = self.selection.score(self.network, lambda: self.signals.signum > 0)
        self._agree(finite=True)
        if self.stop_signal:
            return
        self.message(f"epoch {self.epoch + 1}, without ground truth: {score}")
        self.log.scalars("select", score._asdict(), self.step)
        if self.scores.add(score, self.epoch, self.step) and self.args.mode == "train" and distributed.is_main():
            write_bytes(self.checkpoints.best, self._content())
            self.message(f"best so far: {self.checkpoints.best}")

    @torch.no_grad()
    def evaluate(self) -> dict[str, float] | None:
        """Depth metrics over the samples that have ground truth, printed and logged.

        None when no sample has, and when a signal cut the evaluation short.
        """
        self.model.eval()
        batches = itertools.takewhile(lambda _: not self.signals.signum, self.test_loader)
        try:
            metrics = depth_metrics(self._predict, batches)
        except RuntimeError:  # the loading workers have ended
            if not self.signals.arrives():
                raise
        self._agree(finite=True)
        if self.stop_signal:
            return None
        if metrics is None:
            self.message("no ground truth to evaluate on")
            return None
        self.message(f"evaluation: {describe(metrics)}")
        self.log.scalars("test", metrics, self.step)
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


def run_training(
    args: argparse.Namespace,
    model: nn.Module,
    compute_losses: Losses,
    train_set: MVSDataset,
    test_set: MVSDataset | None,
    device: torch.device,
    data_version: str = "",
) -> None:
    """Do what --mode says. A training is resumed only with the `data_version` it was started with."""
    keep_freed_memory()
    selection = open_training_selection(args, device)
    trainer = Trainer(args, model, compute_losses, train_set, test_set, device, data_version, selection)
    trainer.message(f"{len(train_set)} training samples, device {device}, precision {args.amp}")
    if distributed.is_main():
        write_json(trainer.logdir / "flags.json", {name: str(value) for name, value in vars(args).items()})
    try:
        if args.mode == "train":
            trainer.run()
        elif args.mode == "test":
            if trainer.test_loader is None:
                raise DataError("--mode test needs --testlist")
            trainer.evaluate()
            if selection is not None:
                trainer.select()
        else:
            trainer.profile()
    finally:
        trainer.log.close()

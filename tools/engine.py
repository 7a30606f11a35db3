"""The one training loop: teacher and student, CPU and GPU, one process or many.

A training program brings its model, its losses and its datasets (tools.training); the rest is here: precision, learning
rate, distribution, checkpoints and resuming, logging, evaluation, losses that are not finite.
"""

import argparse
import bisect
import math
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, DistributedSampler, Sampler

from datasets.files import DataError, write_bytes, write_json
from datasets.mvs import MVSDataset
from models.checkpoint import checkpoint_bytes, load_weights, read_checkpoint
from tools import distributed
from tools.flags import AMP_TYPES, resolved_amp
from tools.log import EventLog, sample_images
from tools.program import Progress
from tools.training import parse_milestones

Losses = Callable[[dict[str, Any], dict[str, Any]], dict[str, Tensor]]

ERROR_THRESHOLDS = (2, 4, 8, 14, 20)


def learning_rate_factor(step: int, steps_per_epoch: int, warmup: int, milestones: list[int], divisor: float) -> float:
    """Factor on the learning rate at a step: linear warm-up from 1/3, then divided at each milestone epoch."""
    factor = divisor ** -bisect.bisect_right(milestones, step // steps_per_epoch)
    if step < warmup:
        factor *= 1 / 3 + (1 - 1 / 3) * step / warmup
    return factor


def move_to(value: Any, device: torch.device) -> Any:
    """A sample, batched or not, with its tensors on the device."""
    if isinstance(value, dict):
        return {key: move_to(item, device) for key, item in value.items()}
    return value.to(device, non_blocking=True) if isinstance(value, Tensor) else value


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
    ) -> None:
        self.args, self.device, self.data_version = args, device, data_version
        self.compute_losses = compute_losses
        self.amp_type = AMP_TYPES[resolved_amp(args.amp, device)]
        self.network = model.to(device)
        self.model = self._distribute(self.network)
        self.optimizer = torch.optim.Adam(
            self.network.parameters(), lr=args.lr, betas=(0.9, 0.999), weight_decay=args.wd
        )
        self.scaler = torch.amp.GradScaler(device.type, enabled=args.amp == "fp16")
        self.train_loader = self._loader(train_set, args.batch_size, self._train_sampler(train_set))
        self.test_loader = None
        if test_set is not None:
            self.test_loader = self._loader(test_set, 1, distributed.share(range(len(test_set))))
        self.milestones, self.divisor = parse_milestones(args.lrepochs)
        self.logdir = Path(args.logdir)
        self.epoch = self.step = self.bad_steps = 0
        self.step_seconds: list[float] = []
        self.deadline = time.monotonic() + 60 * args.max_minutes if args.max_minutes > 0 else math.inf
        self._restore()
        self.log = EventLog(self.logdir if distributed.is_main() and args.mode == "train" else None)

    def _distribute(self, model: nn.Module) -> nn.Module:
        args, on_gpu = self.args, self.device.type == "cuda"
        if args.using_apex:
            self.message("note: --using_apex: apex's AMP and DDP were retired; torch.amp and torch's DDP are used")
        if args.sync_bn and on_gpu and distributed.world_size() > 1:
            model = self.network = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        elif args.sync_bn and distributed.world_size() > 1:
            self.message("note: --sync_bn: SyncBatchNorm exists for GPUs only; each process keeps its own statistics")
        if distributed.world_size() == 1:
            return model
        return nn.parallel.DistributedDataParallel(model, device_ids=[self.device.index] if on_gpu else None)

    def _train_sampler(self, dataset: MVSDataset) -> DistributedSampler:
        return DistributedSampler(dataset, distributed.world_size(), distributed.rank(), seed=self.args.seed)

    def _loader(self, dataset: MVSDataset, batch_size: int, sampler: Sampler | list[int]) -> DataLoader:
        args = self.args
        return DataLoader(
            dataset,
            batch_size,
            sampler=sampler,
            num_workers=args.num_workers,
            pin_memory=args.pin_m and self.device.type == "cuda",
            persistent_workers=args.num_workers > 0,
        )

    @staticmethod
    def message(text: str) -> None:
        """Print a line, on one process only."""
        if distributed.is_main():
            print(text, flush=True)

    # ------------------------------------------------------------ checkpoints

    def _restore(self) -> None:
        """Take weights from --loadckpt, or everything from the newest checkpoint with --resume."""
        args = self.args
        newest = max(self.logdir.glob("model_[0-9]*.ckpt"), default=None) if args.resume else None
        path = newest or args.loadckpt
        if path is None:
            return
        content = read_checkpoint(path)
        load_weights(self.network, content["model"], path)
        if newest is not None:
            if content.get("data_version", self.data_version) != self.data_version:
                raise DataError(
                    f"{path}: was trained on other labels; use a new --logdir, or remove the old checkpoints"
                )
            try:
                self.optimizer.load_state_dict(content["optimizer"])
                self.epoch = int(content["epoch"]) + 1
            except (KeyError, ValueError, TypeError):
                raise DataError(f"{path}: cannot be resumed from; its optimizer state does not fit") from None
            self.scaler.load_state_dict(content.get("scaler", {})) if self.scaler.is_enabled() else None
            self.step = int(content.get("step", self.epoch * len(self.train_loader)))
        self.message(f"{'resumed' if newest else 'weights'} from {path}")

    def _save(self) -> None:
        if distributed.is_main():
            content = checkpoint_bytes(
                self.network,
                self.optimizer,
                self.epoch,
                step=self.step,
                scaler=self.scaler.state_dict(),
                data_version=self.data_version,
            )
            write_bytes(self.logdir / f"model_{self.epoch:06d}.ckpt", content)

    # ------------------------------------------------------------ training

    def run(self) -> None:
        """Train all epochs, evaluating and saving as the flags say."""
        args = self.args
        while self.epoch < args.epochs and not self._enough():
            self._train_epoch()
            last = self.epoch == args.epochs - 1 or self._enough()
            if last or (self.epoch + 1) % args.save_freq == 0:
                self._save()
            if self.test_loader is not None and (last or (self.epoch + 1) % args.eval_freq == 0):
                self.evaluate()
            self.epoch += 1
        if self.step_seconds and distributed.is_main():
            seconds = median(self.step_seconds)
            write_json(self.logdir / "training.json", {"steps": self.step, "seconds_per_step": round(seconds, 4)})
            self.message(f"trained {self.step} steps, {seconds:.2f} s per step (median)")

    def _enough(self) -> bool:
        """Whether --max_steps or --max_minutes is reached; the same on all processes."""
        if 0 < self.args.max_steps <= self.step:
            return True
        return self.args.max_minutes > 0 and distributed.any_rank(time.monotonic() > self.deadline, self.device)

    def _train_epoch(self) -> None:
        self.model.train()
        self.train_loader.sampler.set_epoch(self.epoch)
        total = len(self.train_loader)
        if self.args.max_steps > 0:
            total = min(total, self.args.max_steps - self.step)
        label = f"epoch {self.epoch + 1}/{self.args.epochs}"
        progress = Progress(total, label, unit="step", quiet=not distributed.is_main())
        started = time.monotonic()
        for batch in self.train_loader:
            if self._enough():
                break
            losses, outputs = self.train_step(move_to(batch, self.device))
            seconds, started = time.monotonic() - started, time.monotonic()
            self.step_seconds.append(seconds)
            progress.step(f"loss {losses['total']:.4f}" if self.log.active else "")
            if self.step % self.args.summary_freq == 0 and self.log.active:
                self.log.scalars("train", {**losses, "lr": self._learning_rate()}, self.step)
                self.log.images("train", sample_images(batch, outputs), self.step)
        progress.close()

    def _learning_rate(self) -> float:
        args = self.args
        steps_per_epoch = max(1, len(self.train_loader))
        factor = learning_rate_factor(self.step, steps_per_epoch, args.warmup_steps, self.milestones, self.divisor)
        return args.lr * factor

    def train_step(self, batch: dict[str, Any]) -> tuple[dict[str, float], dict[str, Any]]:
        """One optimisation step; all processes skip it together when a loss or the gradient is not finite on any."""
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate()
        with torch.autocast(self.device.type, self.amp_type, enabled=self.amp_type is not None):
            outputs = self.model(batch["imgs"], batch["proj_matrices"], batch["depth_values"])
        losses = self.compute_losses(outputs, batch)
        values = {name: float(value.detach()) for name, value in losses.items()}
        self.step += 1
        self.optimizer.zero_grad(set_to_none=True)
        finite = not distributed.any_rank(not math.isfinite(values["total"]), self.device)
        if finite:
            self.scaler.scale(losses["total"]).backward()
            if not self.scaler.is_enabled():  # the scaler has its own way with such gradients
                values["gradient_norm"] = self._gradient_norm()
                finite = math.isfinite(values["gradient_norm"])  # DDP has made it the same on all processes
        if not finite:
            self._count_bad_step(batch, values)
            return values, outputs
        self.bad_steps = 0
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return values, outputs

    def _gradient_norm(self) -> float:
        gradients = [parameter.grad for parameter in self.network.parameters() if parameter.grad is not None]
        return float(nn.utils.get_total_norm(gradients))

    def _count_bad_step(self, batch: dict[str, Any], values: dict[str, float]) -> None:
        names = ", ".join(f"{scan} view {int(view)}" for scan, view in zip(batch["scan"], batch["view"], strict=True))
        terms = ", ".join(f"{name} {value:g}" for name, value in values.items())
        account = f"step {self.step}: a loss or gradient is not finite; here {names}: {terms}"
        print(f"rank {distributed.rank()}: {account}; skipped", flush=True)
        self.bad_steps += 1
        if self.bad_steps >= self.args.max_bad_steps:
            raise DataError(f"{account}; {self.bad_steps} steps in a row: lower --lr or check these samples")

    # ------------------------------------------------------------ evaluation

    @torch.no_grad()
    def evaluate(self) -> dict[str, float] | None:
        """Depth metrics over the samples that have ground truth, printed and logged; None when none has."""
        self.model.eval()
        sums = torch.zeros(2 + len(ERROR_THRESHOLDS), dtype=torch.float64, device=self.device)
        for batch in self.test_loader:
            if "depth" not in batch:
                continue
            batch = move_to(batch, self.device)
            with torch.autocast(self.device.type, self.amp_type, enabled=self.amp_type is not None):
                outputs = self.network(batch["imgs"], batch["proj_matrices"], batch["depth_values"])
            sums += _error_sums(outputs["depth"].float(), batch["depth"]["stage3"], batch["depth_mask"]["stage3"])
        sums = distributed.sum_over_ranks(sums).cpu().numpy()
        count, absolute = sums[0], sums[1]
        if count == 0:
            self.message("no ground truth to evaluate on")
            return None
        metrics = {"abs_depth_error": absolute / count}
        metrics |= {f"thres{t}mm_error": sums[2 + i] / count for i, t in enumerate(ERROR_THRESHOLDS)}
        metrics = {name: float(value) for name, value in metrics.items()}
        listed = ", ".join(f"> {t} mm {metrics[f'thres{t}mm_error']:.1%}" for t in ERROR_THRESHOLDS)
        self.message(f"evaluation: mean error {metrics['abs_depth_error']:.3f} mm, {listed}")
        self.log.scalars("test", metrics, self.step)
        return metrics

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


def _error_sums(depth: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """Number of valid pixels, sum of their absolute errors, and how many exceed each threshold."""
    error = (depth - truth).abs()[mask > 0]
    above = [(error > threshold).sum() for threshold in ERROR_THRESHOLDS]
    return torch.stack([error.new_tensor(error.numel()), error.sum(), *above]).double()


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
    trainer = Trainer(args, model, compute_losses, train_set, test_set, device, data_version)
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
        else:
            trainer.profile()
    finally:
        trainer.log.close()

"""The one training loop: teacher and student, CPU and GPU, one process or many.

A training program brings its model, its losses and its datasets; everything else is here: flags, precision, learning
rate, distribution, checkpoints and resuming, logging, evaluation, losses that are not finite.
"""

import argparse
import bisect
import dataclasses
import math
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, DistributedSampler, Sampler

from datasets.files import DataError, write_bytes, write_json
from datasets.mvs import MVSDataset, Settings, open_dataset
from models import CascadeMVSNet, build_model
from models.checkpoint import checkpoint_bytes, load_weights, read_checkpoint
from tools import distributed
from tools.flags import (
    AMP_TYPES,
    add_dataset_flag,
    add_depth_flags,
    add_machine_flags,
    add_network_flags,
    add_size_flags,
    check_ndepths,
)
from tools.log import EventLog, sample_images
from tools.program import Formatter, Progress, float_list, int_list, natural_int, positive_int

Losses = Callable[[dict[str, Any], dict[str, Any]], dict[str, Tensor]]

ERROR_THRESHOLDS = (2, 4, 8, 14, 20)


def training_parser(description: str, epochs: int, lrepochs: str) -> argparse.ArgumentParser:
    """The flags that both training programs share, official names and defaults."""
    parser = argparse.ArgumentParser(description=description, formatter_class=Formatter)
    parser.add_argument("--mode", choices=("train", "test", "profile"), default="train", help="test: only evaluate")
    add_dataset_flag(parser, "dtu_yao")
    parser.add_argument("--trainpath", required=True, help="folder of the training data")
    parser.add_argument("--trainlist", required=True, help='file of scan names, or "all"')
    parser.add_argument("--testlist", help="scans to evaluate on where ground truth exists; without it, no evaluation")
    parser.add_argument("--testpath", help="folder of the evaluation data; without it, --trainpath")
    parser.add_argument("--logdir", required=True, help="folder for checkpoints and event files")
    parser.add_argument("--batch_size", type=positive_int, default=1, help="samples per process and step")
    parser.add_argument("--epochs", type=positive_int, default=epochs, help="passes over the training set")
    parser.add_argument("--max_steps", type=natural_int, default=0, help="stop after this many steps, 0 for no limit")
    parser.add_argument("--max_minutes", type=float, default=0, help="stop after this time, 0 for no limit")
    parser.add_argument("--lr", type=float, default=0.001, help="Adam's learning rate")
    parser.add_argument("--lrepochs", default=lrepochs, help="epochs at which the rate is divided, and the divisor")
    parser.add_argument(
        "--warmup_steps", type=natural_int, default=500, help="steps from a third of the rate to all of it"
    )
    parser.add_argument("--wd", type=float, default=0.0001, help="weight decay")
    parser.add_argument("--nviews", type=int, default=5, help="views per sample: the reference and its sources")
    parser.add_argument("--dlossw", type=float_list, default="1,1,1", help="loss weight of each stage")
    parser.add_argument("--cr_base_chs", type=int_list, default="8,8,8", help="base channels of each 3D U-Net")
    parser.add_argument(
        "--grad_method",
        choices=("detach", "undetach"),
        default="detach",
        help="gradient from a stage to the one before",
    )
    parser.add_argument("--loadckpt", help="start from this checkpoint's weights")
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint in --logdir")
    parser.add_argument("--summary_freq", type=positive_int, default=50, help="steps between two log entries")
    parser.add_argument("--save_freq", type=positive_int, default=1, help="epochs between two checkpoints")
    parser.add_argument("--eval_freq", type=positive_int, default=1, help="epochs between two evaluations")
    parser.add_argument(
        "--max_bad_steps", type=positive_int, default=10, help="stop after so many non-finite losses in a row"
    )
    parser.add_argument(
        "--augment", action="store_true", help="random colour changes, the same for all views of a sample"
    )
    parser.add_argument("--seed", type=natural_int, default=1, help="seed of weights, order and augmentation")
    parser.add_argument("--sync_bn", action="store_true", help="BatchNorm statistics over all GPUs")
    parser.add_argument(
        "--using_apex", action="store_true", help="official flag; torch's own AMP and DDP are used instead"
    )
    parser.add_argument("--opt_level", default="O0", help="apex level of the official scripts; ignored, see --amp")
    add_network_flags(parser, "4,1,0.5")
    add_depth_flags(parser, 1.06)
    add_size_flags(parser, 640, 512)
    add_machine_flags(parser)
    return parser


def check_flags(args: argparse.Namespace) -> None:
    """Raise DataError for flag values that cannot work."""
    check_ndepths(args)
    if len(args.dlossw) != 3 or len(args.cr_base_chs) != 3 or min(args.cr_base_chs) < 1:
        raise DataError("--dlossw and --cr_base_chs need three numbers, one per stage")
    if args.share_cr and len(set(args.cr_base_chs)) > 1:
        raise DataError("--share_cr needs the same number of --cr_base_chs at every stage")
    for name in ("lr", "wd"):
        if not 0 <= getattr(args, name) < math.inf:
            raise DataError(f"--{name} {getattr(args, name):g}: must be a number from 0 on")
    parse_milestones(args.lrepochs)


def parse_milestones(text: str) -> tuple[list[int], float]:
    """(epochs, divisor) of a flag such as "6,8,12:2"."""
    try:
        epochs, divisor = text.split(":")
        milestones = sorted(int(epoch) for epoch in epochs.split(",")), float(divisor)
    except ValueError:
        milestones = [], 0.0
    if not 0 < milestones[1] < math.inf:
        raise DataError(f"--lrepochs {text}: write epochs and a divisor such as 6,8,12:2")
    return milestones


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
        self.amp_type = AMP_TYPES[args.amp]
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
        self.log.close()

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
        sums = torch.zeros(2 + len(ERROR_THRESHOLDS), dtype=torch.float64)
        for batch in self.test_loader:
            if "depth" not in batch:
                continue
            batch = move_to(batch, self.device)
            with torch.autocast(self.device.type, self.amp_type, enabled=self.amp_type is not None):
                outputs = self.network(batch["imgs"], batch["proj_matrices"], batch["depth_values"])
            sums += _error_sums(outputs["depth"].float(), batch["depth"]["stage3"], batch["depth_mask"]["stage3"])
        sums = distributed.sum_over_ranks(sums.to(self.device, torch.float32)).cpu().numpy()
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
    return torch.stack([torch.tensor(float(error.numel())), error.sum(), *above]).double().cpu()


def open_training_sets(args: argparse.Namespace, labels: Path | None = None) -> tuple[MVSDataset, MVSDataset | None]:
    """The training set, with pseudo-labels when given, and the evaluation set when --testlist names one."""
    settings = Settings(
        views=args.nviews,
        numdepth=args.numdepth,
        interval_scale=args.interval_scale,
        max_size=(args.max_w, args.max_h),
        augment=args.augment,
        labels=labels,
    )
    train_set = open_dataset(args.dataset, args.trainpath, args.trainlist, settings)
    if not args.testlist:
        return train_set, None
    settings = dataclasses.replace(settings, augment=False, labels=None, ground_truth=True)
    return train_set, open_dataset(args.dataset, args.testpath or args.trainpath, args.testlist, settings)


def build_network(kind: str, args: argparse.Namespace) -> CascadeMVSNet:
    """A fresh network as the flags say."""
    return build_model(
        kind,
        ndepths=args.ndepths,
        depth_interval_ratios=args.depth_inter_r,
        share_cr=args.share_cr,
        grad_method=args.grad_method,
        cr_base_chs=args.cr_base_chs,
    )


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
    if distributed.is_main():
        trainer.message(f"{len(train_set)} training samples, device {device}, precision {args.amp}")
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


def start_training(args: argparse.Namespace) -> torch.device:
    """Check the flags, join the process group and seed; returns this process's device."""
    check_flags(args)
    device = distributed.start(args.device)
    torch.manual_seed(args.seed)
    np.random.seed(args.seed)
    return device

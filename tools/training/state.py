"""Where a training stands, how it is saved, and how it comes back: byte for byte as if it had never stopped."""

from pathlib import Path
from typing import Any

import torch

from datasets.files import DataError
from models.cascade import CascadeMVSNet
from models.checkpoint import checkpoint_bytes, load_optimizer, load_start, load_weights, read_checkpoint
from tools.runtime import distributed
from tools.training.resume import CheckpointFolder, interned, random_state, set_random_state
from tools.training.selection import SelectionRecord
from tools.training.settings import Saving


class TrainingState:
    """Network, optimizer and all counters of a training of epochs of `epoch_samples` samples.

    epoch, step: as many as are finished; samples: those of the current epoch that all processes together have finished;
    bad_steps: those in a row that were not finite, all_bad_steps: all of them; scores: of --select.
    A training is resumed only with the `data_version` it was started with.
    """

    def __init__(
        self,
        network: CascadeMVSNet,
        optimizer: torch.optim.Optimizer,
        scaler: torch.amp.GradScaler,
        device: torch.device,
        epoch_samples: int,
        epoch_steps: int,
        data_version: str,
        scores: SelectionRecord,
    ) -> None:
        self.network, self.optimizer, self.scaler, self.device = network, optimizer, scaler, device
        self.epoch_samples, self.epoch_steps = epoch_samples, epoch_steps
        self.data_version, self.scores = data_version, scores
        self.epoch = self.samples = self.step = self.bad_steps = self.all_bad_steps = 0
        self._saved_step = -1

    @property
    def epoch_finished(self) -> bool:
        """Whether all samples of the epoch have been trained on."""
        return self.samples >= self.epoch_samples

    def next_epoch(self) -> None:
        """Go on to the next epoch."""
        self.epoch, self.samples = self.epoch + 1, 0

    # ------------------------------------------------------------ saving

    def content(self) -> bytes:
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

    def save(self, checkpoints: CheckpointFolder) -> None:
        """Write a checkpoint of this step, on one process, unless there is one."""
        if distributed.is_main() and self._saved_step != self.step:
            checkpoints.write(self.epoch, self.epoch_finished, self.content())
        self._saved_step = self.step

    def changed(self) -> None:
        """A checkpoint of this step that there is already lacks something, such as its score."""
        self._saved_step = -1

    # ------------------------------------------------------------ restoring

    def restore(self, saving: Saving, checkpoints: CheckpointFolder, scored: bool) -> str:
        """Take weights from loadckpt, or everything from the newest checkpoint with `resume`; returns what was done.

        An epoch that has ended is followed by the next, but with `scored` not before it has its score.
        """
        newest = checkpoints.newest() if saving.resume else None
        path = newest or saving.loadckpt
        if path is not None:
            content = read_checkpoint(path)
            if newest is None:
                load_start(self.network, content["model"], path)
            else:
                load_weights(self.network, content["model"], path)
                self._restore_progress(content, newest)
                if not self.epoch_finished:
                    checkpoints.note_unfinished(newest)
                elif not scored or self.scores.last_step() == self.step:
                    self.next_epoch()
        step, opposite = distributed.agree([self.step, -self.step])
        if step != -opposite:
            raise DataError(f"{saving.logdir}: not all processes see the same checkpoints; --logdir must be shared")
        return "" if path is None else f"{'resumed' if newest else 'weights'} from {path}"

    def _restore_progress(self, content: dict[str, Any], path: Path) -> None:
        if content.get("data_version", self.data_version) != self.data_version:
            raise DataError(f"{path}: was trained on other labels; use a new --logdir, or remove the old checkpoints")
        try:
            optimizer = interned(content["optimizer"])
            for group in optimizer["param_groups"]:
                group["fused"] = self.optimizer.defaults["fused"]
            load_optimizer(self.optimizer, optimizer, path)
            self.epoch = int(content["epoch"])
            self.samples = int(content.get("samples", self.epoch_samples))  # official checkpoints end an epoch
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
            self.step = (self.epoch + self.epoch_finished) * self.epoch_steps
        self._saved_step = self.step

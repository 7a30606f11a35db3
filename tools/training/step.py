"""One optimisation step: learning rate, precision, losses, gradients, and what is done when these are not finite."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from datasets.files import DataError
from models.blocks import batch_norms
from tools.runtime import distributed
from tools.training.log import TrainingLog
from tools.training.schedule import learning_rate_factor, parse_milestones
from tools.training.settings import Optimisation
from tools.training.state import TrainingState
from tools.training.stopping import all_finite

Losses = Callable[[dict[str, Any], dict[str, Any]], dict[str, Tensor]]

# The loss scale at and below which gradients that are not finite cannot be blamed on it.
_UNSCALED = 1.0


class TrainingStep:
    """Steps of a training of `total` steps; `model` is the state's network, distributed.

    compute_losses(outputs, batch) returns scalars, "total" among them. amp_type: what autocast computes in, or None.

    All processes skip a step together when a loss or the gradient is not finite on any of them. It leaves no trace but
    in the counts of bad steps; `max_bad_steps` in a row end the training. Under fp16 the loss is scaled so that small
    gradients are not lost, by a power of two that is found by trial: it starts high and is tried higher now and then,
    and is halved when the gradient overflows. So an overflow counts as one of a row only once the scale is down to 1,
    where it cannot be the scale's fault; from 65536 that takes 16 steps. All are counted and logged as bad steps.
    """

    def __init__(
        self,
        state: TrainingState,
        model: nn.Module,
        compute_losses: Losses,
        optimisation: Optimisation,
        total: int,
        amp_type: torch.dtype | None,
        log: TrainingLog,
    ) -> None:
        self.state, self.model, self.compute_losses, self.log = state, model, compute_losses, log
        self.amp_type = amp_type
        self.optimisation, self.total = optimisation, total
        self.milestones, self.divisor = parse_milestones(optimisation.lrepochs)
        self.norms = batch_norms(state.network)
        self.buffers = list(state.network.buffers())
        self.good_buffers = [buffer.clone() for buffer in self.buffers]

    def __call__(self, batch: dict[str, Any]) -> tuple[dict[str, float], dict[str, Any]]:
        """The losses and "gradient_norm" by name, and the network's outputs; raises DataError after many bad steps."""
        state = self.state
        for group in state.optimizer.param_groups:
            group["lr"] = self.learning_rate()
        self._set_norms()
        with torch.autocast(state.device.type, self.amp_type, enabled=self.amp_type is not None):
            outputs = self.model(batch["imgs"], batch["proj_matrices"], batch["depth_values"])
        losses = self.compute_losses(outputs, batch)
        values = {name: float(value.detach()) for name, value in losses.items()}
        state.step += 1
        state.optimizer.zero_grad(set_to_none=True)
        counts = True
        finite = all_finite(math.isfinite(values["total"]))
        if finite:
            values["gradient_norm"] = self._gradient(losses["total"])
            finite = math.isfinite(values["gradient_norm"])  # DDP has made it the same on all processes
            counts = finite or self._blames_network()
        if not finite:
            self._skip(batch, values, counts)
            return values, outputs
        state.bad_steps = 0
        state.scaler.step(state.optimizer)
        state.scaler.update()
        torch._foreach_copy_(self.good_buffers, self.buffers)
        return values, outputs

    def learning_rate(self) -> float:
        """Adam's rate at this step."""
        rule, state = self.optimisation, self.state
        factor = learning_rate_factor(state.step, state.epoch_steps, rule.warmup_steps, self.milestones, self.divisor)
        return rule.lr * factor

    def _set_norms(self) -> None:
        """BatchNorm's mode at this step.

        Statistics of one sample differ from the running ones of prediction, and these depend on the last few samples;
        after freeze_bn the weights learn to go with the running ones as they are.
        """
        share = self.optimisation.freeze_bn
        training = share == 1 or self.state.step < share * self.total
        for norm in self.norms:
            norm.train(training)

    def _gradient(self, loss: Tensor) -> float:
        """Compute the gradient of all weights; its norm."""
        state = self.state
        state.scaler.scale(loss).backward()
        if state.scaler.is_enabled():
            state.scaler.unscale_(state.optimizer)
        gradients = [parameter.grad for parameter in state.network.parameters() if parameter.grad is not None]
        return float(nn.utils.get_total_norm(gradients))

    def _blames_network(self) -> bool:
        """Whether a gradient that is not finite is the network's fault, not the scale's, which is halved then."""
        scaler = self.state.scaler
        if not scaler.is_enabled():
            return True
        scale = scaler.get_scale()
        if scale <= _UNSCALED:
            scaler.update(scale)
            return True
        scaler.update()
        if scaler.get_scale() >= scale:  # every number is finite, only their norm is not
            scaler.update(scale * scaler.get_backoff_factor())
        return False

    def _skip(self, batch: dict[str, Any], values: dict[str, float], counts: bool) -> None:
        """Undo the step's one trace, in BatchNorm's statistics, and count it; DataError after too many in a row."""
        state = self.state
        torch._foreach_copy_(self.buffers, self.good_buffers)
        state.bad_steps += counts
        state.all_bad_steps += 1
        account = f"step {state.step}: {_account(batch, values)}"
        note = "" if counts else f", loss scale {state.scaler.get_scale():g} from now on"
        print(f"rank {distributed.rank()}: {account}; skipped{note}", flush=True)
        self.log.scalars("train", {"bad_steps": state.all_bad_steps}, state.step)
        if counts and state.bad_steps >= self.optimisation.max_bad_steps:
            raise DataError(f"{account}; {state.bad_steps} steps in a row: lower --lr or check these samples")


def _account(batch: dict[str, Any], values: dict[str, float]) -> str:
    """What is not finite, with every term and the samples of this process."""
    names = ", ".join(f"{scan} view {int(view)}" for scan, view in zip(batch["scan"], batch["view"], strict=True))
    terms = ", ".join(f"{name} {value:g}" for name, value in values.items())
    where = " on another process" if all(map(math.isfinite, values.values())) else ""
    return f"a loss or gradient is not finite{where}; here {names}: {terms}"

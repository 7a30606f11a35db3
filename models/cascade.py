"""The coarse-to-fine network; teacher and student are two configurations of it (docs/method.md, section 2)."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from itertools import chain
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from models.blocks import batch_norms, predicts
from models.features import FeatureNet
from models.hypotheses import first_hypotheses, refined_hypotheses
from models.plane_sweep.definition import variance_volume
from models.plane_sweep.similarity import similarity_volume
from models.regularization import CostRegNet, VarianceNet
from models.settings import STAGES, NetworkSettings
from models.slabs import slabs, with_neighbours
from models.visibility import GROUPS, VisibilityNet

# Features of one stage: [B, N, C, h, w], or the N views' [B, C, h, w].
Views = Tensor | Sequence[Tensor]


class CascadeMVSNet(nn.Module):
    """Three-stage cascade; `settings` say what it computes.

    Called with imgs [B, N, 3, H, W] in 0..1 (view 0 is the reference; H and W multiples of 32), proj_matrices
    {"stage1": [B, N, 2, 4, 4], ...} (slot 0 extrinsic, slot 1 intrinsic) and depth_values [B, K]; each sample keeps its
    own depth range. Returns, in the unit of depth_values, {"stage1": {"depth" [B, h, w], "photometric_confidence"
    [B, h, w], "prob_volume" [B, D, h, w], "depth_values" [B, D, h, w], and for the teacher "var" [B, h, w] and
    "features" [B, N, C, h, w]}, ..., "depth", "photometric_confidence"}; the last two are stage 3's. Where the source
    views' weights are learned, "view_weights" [B, N-1, h, w] are those of stage 1; later stages interpolate them.
    """

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        self.settings = settings
        self.feature = FeatureNet(8)
        self.cost_regularization = nn.ModuleList(
            CostRegNet(channels, base, settings.has_input_conv)
            for channels, base in zip(self.feature.out_channels, settings.cr_base_chs, strict=True)
        )
        if settings.share_cr:
            self._share_regularization()
        if settings.kind == "teacher":
            self.var_regression = nn.ModuleList(VarianceNet(channels) for channels in self.feature.out_channels)
        if settings.view_weights == "learned":
            self.visibility = VisibilityNet()

    def _share_regularization(self) -> None:
        """Let the stages share every layer but the first, whose shape depends on the stage's feature channels."""
        first, *others = self.cost_regularization
        for other in others:
            for name, layer in first.named_children():
                if name != first.input_name:
                    setattr(other, name, layer)

    def forward(self, imgs: Tensor, proj_matrices: dict[str, Tensor], depth_values: Tensor) -> dict[str, Any]:
        features = self.extract_features(imgs)
        hypotheses = self._first_hypotheses(features, depth_values)
        outputs: dict[str, Any] = {}
        view_weights = self._view_weights(features[0], proj_matrices[STAGES[0]], hypotheses)
        if view_weights is not None:
            outputs["view_weights"] = view_weights
        for i, stage in enumerate(STAGES):
            outputs[stage] = self._run_stage(i, features[i], proj_matrices[stage], hypotheses, view_weights)
            if i + 1 < len(STAGES):
                hypotheses = self._next_hypotheses(i + 1, features, outputs[stage]["depth"], depth_values)
        outputs["depth"] = outputs["stage3"]["depth"]
        outputs["photometric_confidence"] = outputs["stage3"]["photometric_confidence"]
        return outputs

    def depth_of_features(
        self, features: Sequence[Sequence[Tensor]], proj_matrices: dict[str, Tensor], depth_values: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """Depth [B, H, W] and each stage's confidence [B, h, w] from the features of each stage and view [B, C, h, w].

        For prediction: what only the losses need is neither computed nor kept.
        """
        hypotheses = self._first_hypotheses(features, depth_values)
        view_weights = self._view_weights(features[0], proj_matrices[STAGES[0]], hypotheses)
        confidences = []
        for i, stage in enumerate(STAGES):
            probability = self._probability(i, features[i], proj_matrices[stage], hypotheses, view_weights)
            depth, confidence = self._read_out(probability, hypotheses)
            confidences.append(confidence)
            if i + 1 < len(STAGES):
                hypotheses = self._next_hypotheses(i + 1, features, depth, depth_values)
        return depth, confidences

    @property
    def kind(self) -> str:
        """ "teacher" or "student"."""
        return self.settings.kind

    def _first_hypotheses(self, features: Sequence[Views], depth_values: Tensor) -> Tensor:
        settings = self.settings
        return first_hypotheses(depth_values, settings.ndepths[0], _map_size(features[0]), settings.spacing)

    def _next_hypotheses(self, index: int, features: Sequence[Views], depth: Tensor, depth_values: Tensor) -> Tensor:
        """Hypotheses of stage `index` around the previous stage's depth."""
        settings = self.settings
        depth = depth.detach() if settings.grad_method == "detach" else depth
        count, ratio = settings.ndepths[index], settings.depth_interval_ratios[index]
        sizes = _map_size(features[-1]), _map_size(features[index])
        return refined_hypotheses(depth, count, ratio, depth_values, *sizes, settings.spacing)

    def extract_features(self, imgs: Tensor) -> Sequence[Tensor]:
        """Features of all views, one [B, N, C, h, w] per stage.

        In training BatchNorm's statistics are per view. In float32 each view passes on its own as in the official code;
        passing all at once is faster, but rounds otherwise, which moves depths by up to 3e-3 mm.
        """
        if self.training and torch.is_autocast_enabled(imgs.device.type):
            return self.feature(imgs)
        if self.training:
            per_view = [self.feature(view) for view in imgs.unbind(1)]
            return [torch.stack(levels, dim=1) for levels in zip(*per_view, strict=True)]
        levels = self.feature(imgs.flatten(0, 1))
        return [level.unflatten(0, imgs.shape[:2]) for level in levels]

    def _view_weights(self, features: Views, proj_matrices: Tensor, hypotheses: Tensor) -> Tensor | None:
        """Weights [B, N-1, h, w] of the source views at stage 1, from its features; None where all are equal."""
        if self.settings.view_weights == "equal":
            return None
        if predicts(self.visibility):
            return self.visibility.weigh(_summary_in_slabs(self.visibility, features, proj_matrices, hypotheses))

        def weights(*inputs: Any) -> Tensor:
            return self.visibility(similarity_volume(*inputs, GROUPS))

        return self._kept_or_again(weights, self.visibility, features, proj_matrices, hypotheses)

    def _kept_or_again(self, function: Callable[..., Tensor], network: nn.Module, *inputs: Any) -> Tensor:
        """function(*inputs), which runs the network; with `checkpoint_stages` computed again in the backward pass."""
        if not (self.settings.checkpoint_stages and torch.is_grad_enabled()):
            return function(*inputs)
        again = partial(_statistics_kept, network)
        return checkpoint(function, *inputs, use_reentrant=False, context_fn=lambda: (nullcontext(), again()))

    def _run_stage(
        self, index: int, features: Tensor, proj_matrices: Tensor, hypotheses: Tensor, view_weights: Tensor | None
    ) -> dict[str, Tensor]:
        """One stage's outputs, with all that the losses need."""
        inputs = (index, features, proj_matrices, hypotheses, view_weights)
        probability = self._kept_or_again(self._probability, self.cost_regularization[index], *inputs)
        depth, confidence = self._read_out(probability, hypotheses)
        result = {
            "depth": depth,
            "photometric_confidence": confidence,
            "prob_volume": probability,
            "depth_values": hypotheses,
        }
        if self.kind == "teacher":
            result["var"] = self.var_regression[index](features[:, 0]).float()
            result["features"] = features
        return result

    def _probability(
        self, index: int, features: Views, proj_matrices: Tensor, hypotheses: Tensor, view_weights: Tensor | None
    ) -> Tensor:
        """Probability volume [B, D, h, w] of one stage: cost volume, regularisation, softmax."""
        network = self.cost_regularization[index]
        dtype = _computing_type(network, hypotheses.device.type)
        if view_weights is not None:
            view_weights = F.interpolate(view_weights, _map_size(features), mode="bilinear", align_corners=False)
        inputs = (features, proj_matrices, hypotheses, dtype)
        if predicts(network):
            scores = network.after_entry(_entry_in_slabs(network, *inputs, view_weights))
        else:
            scores = network(variance_volume(*inputs, view_weights=view_weights))
        return scores.float().softmax(dim=1)

    def _read_out(self, probability: Tensor, hypotheses: Tensor) -> tuple[Tensor, Tensor]:
        """Depth [B, h, w], the most probable one (student) or the expected one (teacher), and its confidence."""
        confidence, best = probability.max(dim=1)
        if self.kind == "teacher":
            return (probability * hypotheses).sum(dim=1), confidence
        if self.settings.read_out == "local":
            return _local_expectation(probability, hypotheses, best), confidence
        if self.settings.read_out == "median":
            return _median_depth(probability, hypotheses), confidence
        return hypotheses.gather(1, best[:, None]).squeeze(1), confidence


def _local_expectation(probability: Tensor, hypotheses: Tensor, best: Tensor) -> Tensor:
    """Expected depth [B, h, w] over the hypothesis `best` [B, h, w] and its neighbours.

    Without them a depth is a hypothesis, wrong by up to half their spacing; over all of them two modes would be mixed.
    """
    near = best[:, None] + torch.arange(-1, 2, device=best.device)[:, None, None]
    inside = near.clamp(0, hypotheses.shape[1] - 1)
    weight = probability.gather(1, inside) * (near == inside)
    return (weight * hypotheses.gather(1, inside)).sum(dim=1) / weight.sum(dim=1)


def _median_depth(probability: Tensor, hypotheses: Tensor) -> Tensor:
    """Depth [B, h, w] with half of the probability [B, D, h, w] on either side.

    Each hypothesis's probability counts as spread evenly over the spacing around it. Of all depths this has the least
    expected absolute error, also where there are two modes.
    """
    nearer = probability.cumsum(dim=1)
    middle = (nearer < 0.5 * nearer[:, -1:]).sum(dim=1, keepdim=True).clamp(max=hypotheses.shape[1] - 1)
    own = probability.gather(1, middle).clamp(min=1e-12)
    share = 0.5 - (nearer.gather(1, middle) - 0.5 * nearer[:, -1:]) / own  # of the middle one's, beyond its depth
    before, after = (middle - 1).clamp(min=0), (middle + 1).clamp(max=hypotheses.shape[1] - 1)
    spacing = (hypotheses.gather(1, after) - hypotheses.gather(1, before)) / (after - before)
    return (hypotheses.gather(1, middle) + share * spacing).squeeze(1)


def _entry_in_slabs(
    network: CostRegNet,
    features: Views,
    proj_matrices: Tensor,
    hypotheses: Tensor,
    dtype: torch.dtype,
    view_weights: Tensor | None,
) -> Tensor:
    """The network's entry over the cost volume, which never exists as a whole where it is larger than a slab."""
    height = hypotheses.shape[2]
    row_bytes = hypotheses[..., 0, :].numel() * features[0].shape[-3] * dtype.itemsize
    ranges = slabs(row_bytes, height, hypotheses.device.type)
    result = None
    for rows in ranges:
        wide = with_neighbours(rows, network.entry_reach, height)
        weights = None if view_weights is None else view_weights[..., wide, :]
        inputs = (features, proj_matrices, hypotheses[..., wide, :], dtype)
        volume = variance_volume(*inputs, first_row=wide.start, view_weights=weights)
        part = network.entry(volume)
        if len(ranges) == 1:
            return part
        if result is None:
            shape, order = (*part.shape[:3], height, part.shape[4]), torch.channels_last_3d
            result = torch.empty(shape, dtype=part.dtype, device=part.device, memory_format=order)
        result[..., rows, :] = part[..., rows.start - wide.start : rows.stop - wide.start, :]
        del volume, part
    return result


def _summary_in_slabs(network: VisibilityNet, features: Views, proj_matrices: Tensor, hypotheses: Tensor) -> Tensor:
    """The network's summary of the similarity volume, which never exists as a whole where it is larger than a slab."""
    height = hypotheses.shape[2]
    row_bytes = proj_matrices.shape[1] * (GROUPS + 1) * hypotheses[..., 0, :].nbytes
    parts = []
    for rows in slabs(row_bytes, height, hypotheses.device.type):
        wide = with_neighbours(rows, network.summary_reach, height)
        similarity = similarity_volume(features, proj_matrices, hypotheses[..., wide, :], GROUPS, first_row=wide.start)
        part = network.summary(similarity)
        parts.append(part[..., rows.start - wide.start : rows.stop - wide.start, :])
    return torch.cat(parts, dim=-2)


@contextmanager
def _statistics_kept(network: nn.Module) -> Iterator[None]:
    """Within it, passes through the network leave BatchNorm's running statistics alone."""
    norms = batch_norms(network)
    before = [(norm.momentum, norm.num_batches_tracked.clone()) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum = momentum
            norm.num_batches_tracked.copy_(count)


def _map_size(views: Views) -> torch.Size:
    """(h, w) of a stage's features."""
    return views[0].shape[-2:]


def _computing_type(network: nn.Module, device_type: str) -> torch.dtype:
    """The type that the network's convolutions compute in."""
    if torch.is_autocast_enabled(device_type):
        return torch.get_autocast_dtype(device_type)
    return next(chain(network.parameters(), network.buffers())).dtype


def build_model(kind: str, **settings: Any) -> CascadeMVSNet:
    """A network of a kind, "teacher" or "student", with other `NetworkSettings` than the official ones by name."""
    return CascadeMVSNet(NetworkSettings(kind, **settings))

"""Which checkpoint is best, told without ground truth: by how well the views of held-out scans agree.

The network predicts every view of a scan. A pixel survives when enough source views confirm its depth, by the check
that makes the labels (fusion.consistency). At the survivors the colours are compared: `residual` is the mean absolute
difference to the sources that confirm, `flat` the same with flat planes in place of the predicted depth (a few depths
over the view's range; the best fitting one counts). Then

    score = survived * (1 - residual / flat)

the share of the surviving pixels times how much better their depth explains the images than a flat plane does. Depth
that is smooth and wrong agrees with itself in every view, but explains no more than a plane.
"""

import copy
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from datasets.files import DataError
from datasets.layouts import LAYOUTS
from datasets.layouts.base import Layout
from datasets.mvs import MVSDataset, Settings
from datasets.results import DepthView
from fusion.consistency import check_view, colour_difference, normal_check
from models.cascade import CascadeMVSNet
from tools.prediction.predictor import PredictedView, predicted_views, prepared
from tools.runtime import distributed

# Where the flat planes stand between the nearest (0) and the farthest depth (1), in inverse depth.
_PLANES = (0.2, 0.4, 0.6, 0.8)


class Score(NamedTuple):
    """What is told of a network without ground truth, over all pixels of the scans.

    survived: share of the pixels that enough sources confirm; residual, flat: mean colour difference at these, 0 to 1,
    with the predicted depth and with a flat plane (both 1 where no pixel survives); score: the more the better.
    """

    survived: float
    residual: float
    flat: float
    score: float

    def __str__(self) -> str:
        return (
            f"{self.survived:.1%} survive the cross-view check, colours off by {self.residual:.4f}"
            f" (flat plane {self.flat:.4f}), score {self.score:.4f}"
        )


def score_of(sums: Tensor) -> Score:
    """The score of the sums [4] that `view_sums` gives, added over views."""
    pixels, survivors, residual, flat = sums.tolist()
    if survivors == 0:
        return Score(0.0, 1.0, 1.0, 0.0)
    survived, gain = survivors / pixels, 1 - residual / flat if flat > 0 else 0.0
    return Score(survived, residual / survivors, flat / survivors, survived * gain)


class Selection:
    """The held-out scans, and the score of a network on them. Only one scan's depth maps are in memory at a time.

    thres_view: sources that must confirm a pixel, or all of them where a view has fewer. Of a layout with lights the
    middle one of each scan is used. `name` tells these settings: scores of different names cannot be compared.
    """

    def __init__(
        self, layout: Layout, scans: list[str], settings: Settings, thres_view: int, amp: str, device: torch.device
    ) -> None:
        self.layout, self.scans, self.thres_view, self.amp, self.device = layout, scans, thres_view, amp, device
        self.datasets = {}
        for scan in scans:
            lights = layout.lights(scan)
            light = lights[len(lights) // 2]
            one_light = Settings(settings.views, settings.numdepth, settings.interval_scale, settings.max_size, light)
            self.datasets[scan] = MVSDataset(layout, [scan], one_light)
            if not self.datasets[scan].entries:
                raise DataError(f"{layout.pair_path(scan)}: names no view with sources; {scan} cannot be scored")
        what = [scans, settings.views, settings.numdepth, settings.interval_scale, settings.max_size, thres_view]
        self.name = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]

    def score(self, network: CascadeMVSNet, together: Callable[[Iterable[Tensor]], Iterable[Tensor]] = iter) -> Score:
        """The network's score; the same on all processes, which share the scans. All must call it.

        The network is left as it is: a copy with the first process's weights predicts. `together` may cut the work
        short, at the same place on all processes (tools.training.stopping).
        """
        model = copy.deepcopy(network).eval()
        distributed.broadcast(model.state_dict().values())
        model.cost_regularization.to(memory_format=torch.channels_last_3d)
        model = prepared(model, self.amp, self.device)
        sums = torch.zeros(4, dtype=torch.float64)
        for part in together(self._all_sums(model)):
            sums += part
        return score_of(distributed.sum_over_ranks(sums))

    def _all_sums(self, model: CascadeMVSNet) -> Iterator[Tensor]:
        """`view_sums` of each view of this process's scans; zeros after each prediction, so that no item takes long."""
        for scan in distributed.share(self.scans):
            views = {}
            for number, view in self._predicted(model, scan):
                views[number] = view
                yield torch.zeros(4, dtype=torch.float64)
            yield from self.scan_sums(scan, views)

    def predict(self, model: CascadeMVSNet, scan: str) -> dict[int, PredictedView]:
        """Every view of a scan that has sources, by its number, predicted by a network that is `prepared`."""
        return dict(self._predicted(model, scan))

    def _predicted(self, model: CascadeMVSNet, scan: str) -> Iterator[tuple[int, PredictedView]]:
        dataset = self.datasets[scan]
        for view in predicted_views(model, dataset, self.device, [[i] for i in range(len(dataset))]):
            yield dataset.entries[view.index].reference, view

    def scan_sums(self, scan: str, views: dict[int, PredictedView]) -> Iterator[Tensor]:
        """`view_sums` of each view of a scan."""
        dataset = self.datasets[scan]
        for reference, candidates in self.layout.pairs(scan):
            sources = [views[source] for source in dict.fromkeys(candidates) if source in views]
            if reference in views and sources:
                low, high = dataset.depth_values(views[reference].index, views[reference].camera)[[0, -1]]
                yield view_sums(views[reference], sources, (float(low), float(high)), self.thres_view)


def view_sums(
    reference: PredictedView, sources: list[PredictedView], depth_range: tuple[float, float], thres_view: int
) -> Tensor:
    """Float64 [4]: pixels, survivors, and the sums over the survivors of their residual and of that of a flat plane."""
    view = DepthView(reference.depth, reference.camera)
    agreed = [check_view(view, [DepthView(s.depth, s.camera)], normal_check(thres_view=1)).passed for s in sources]
    votes = np.sum(agreed, axis=0)
    survivors = votes >= min(thres_view, len(sources))
    inverse = [1 / depth_range[0] + share * (1 / depth_range[1] - 1 / depth_range[0]) for share in _PLANES]
    planes = [DepthView(np.full_like(view.depth, 1 / value), view.camera) for value in inverse]

    def residual(candidate: DepthView) -> float:
        """Sum over the survivors of the mean difference to the sources that confirm them."""
        total = np.zeros(view.depth.shape)
        for source, confirms in zip(sources, agreed, strict=True):
            difference = colour_difference(candidate, reference.image, source.camera, source.image)
            total[confirms] += difference[confirms]
        return float((total[survivors] / votes[survivors]).sum())

    flat = min(map(residual, planes))
    return torch.tensor([survivors.size, survivors.sum(), residual(view), flat], dtype=torch.float64)


class SelectionRecord:
    """The scores of a training so far, as its checkpoints keep them: dicts of "epoch", "step" and a Score's fields.

    `name` is the Selection's; "" for a training without one, whose record is handed on as it is.
    """

    def __init__(self, name: str, scores: list[dict[str, float]] | None = None) -> None:
        self.name, self.scores = name, scores or []

    @classmethod
    def restored(cls, content: dict[str, Any] | None, name: str) -> "SelectionRecord":
        """The record in a checkpoint, empty when it was made with other settings. Raises KeyError and the like."""
        if content is None or (name and content["name"] != name):
            return cls(name)
        fields = ("epoch", "step", *Score._fields)
        kinds = (int, int, *[float] * len(Score._fields))
        scores = [
            {field: kind(old[field]) for field, kind in zip(fields, kinds, strict=True)} for old in content["scores"]
        ]
        return cls(str(content["name"]), scores)

    def extra(self) -> dict[str, Any]:
        """What goes into a checkpoint, and into training.json: nothing without scores."""
        return {"selection": {"name": self.name, "scores": self.scores}} if self.scores else {}

    def last_step(self) -> int:
        """The step after which the last score was taken, -1 without any."""
        return self.scores[-1]["step"] if self.scores else -1

    def add(self, score: Score, epoch: int, step: int) -> bool:
        """Note a score; whether it is higher than all before."""
        best = max((old["score"] for old in self.scores), default=-np.inf)
        self.scores.append({"epoch": epoch, "step": step, **score._asdict()})
        return score.score > best


def open_selection(
    dataset: str, root: str, scan_list: str, settings: Settings, thres_view: int, amp: str, device: torch.device
) -> Selection:
    """The scans of a list file, or "all", of the layout `dataset` (a key of LAYOUTS)."""
    layout = LAYOUTS[dataset](root)
    return Selection(layout, layout.scans(scan_list), settings, thres_view, amp, device)

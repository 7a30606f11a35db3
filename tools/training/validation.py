"""Depth errors of a network against ground truth, as they are logged during training."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from tools.runtime import distributed

ERROR_THRESHOLDS = (2, 4, 8, 14, 20)


def validation_metrics(
    predict: Callable[[dict[str, Any]], tuple[Tensor, Tensor, Tensor]], batches: Iterable[dict[str, Any]]
) -> dict[str, float] | None:
    """Mean absolute depth error (mm) and the share of pixels above each threshold; None without any ground truth.

    `predict` gives depth, its truth and the mask of known pixels, [B, H, W] each, for a batch. Under torchrun every
    process brings its own batches, and all get the metrics over all of them.
    """
    sums = torch.zeros(2 + len(ERROR_THRESHOLDS), dtype=torch.float64)
    for batch in batches:
        if "depth" in batch:
            sums += _error_sums(*predict(batch)).cpu()
    count, absolute, *above = distributed.sum_over_ranks(sums).tolist()
    if count == 0:
        return None
    shares = {f"thres{t}mm_error": number / count for t, number in zip(ERROR_THRESHOLDS, above, strict=True)}
    return {"abs_depth_error": absolute / count, **shares}


def describe(metrics: dict[str, float]) -> str:
    """The metrics as one line."""
    listed = ", ".join(f"> {t} mm {metrics[f'thres{t}mm_error']:.1%}" for t in ERROR_THRESHOLDS)
    return f"mean error {metrics['abs_depth_error']:.3f} mm, {listed}"


def _error_sums(depth: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """Number of valid pixels, sum of their absolute errors, and how many exceed each threshold."""
    error = (depth - truth).abs()[mask > 0]
    above = [(error > threshold).sum() for threshold in ERROR_THRESHOLDS]
    return torch.stack([error.new_tensor(error.numel()), error.sum(), *above]).double()

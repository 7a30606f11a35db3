"""fusion.consensus on a torch device, for CUDA: the same results as numba's, but for rounding."""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fusion.consensus import LOOSE, OWN, REACH, SEEN_THROUGH, SELF_SUPPORT, TOLERANCE
from fusion.sources_torch import SourcesOnDevice, nearest_pixel, positions

# So many candidates at a time, a row of neighbours: launching single ones would take longer than computing them.
_AT_A_TIME = 2 * REACH + 1


@torch.inference_mode()
def supported_depth(depth: np.ndarray, sources: SourcesOnDevice, spacing: int = 1) -> np.ndarray:
    """As fusion.consensus.supported_depth."""
    own = torch.tensor(depth, dtype=torch.float32, device=sources.device)
    supported, through = _support_and_through(sources, own)
    most = torch.maximum(supported, OWN * supported)  # it may be negative
    chosen, hidden_from = own.clone(), _hidden_from(own)
    height, width = depth.shape
    steps = range(0, 2 * REACH * spacing + 1, spacing)
    padded = F.pad(own, (REACH * spacing,) * 4)
    for row in steps:
        candidates = torch.stack([padded[row : row + height, column : column + width] for column in steps])
        values = _support(sources, candidates, TOLERANCE)
        values = torch.minimum(values, through).where(candidates > hidden_from, values)
        valid = (candidates > 0) & (candidates < torch.inf)
        for candidate, value, counts in zip(candidates, values, valid, strict=True):
            better = (value > most) & counts  # the pixel itself has no more support than itself
            most, chosen = value.where(better, most), candidate.where(better, chosen)
    return chosen.cpu().numpy()


@torch.inference_mode()
def crossed_depth(depth: np.ndarray, confidence: np.ndarray, sources: SourcesOnDevice) -> tuple[np.ndarray, np.ndarray]:
    """As fusion.consensus.crossed_depth."""
    chosen, own = (torch.tensor(v, dtype=torch.float32, device=sources.device) for v in (depth, confidence))
    own = own.nan_to_num()
    supported, through = _support_and_through(sources, chosen)
    most = torch.maximum(supported + own, OWN * (supported + own))
    hidden_from = _hidden_from(chosen)
    for carried in sources.carried.split(_AT_A_TIME):
        candidates, their_confidence = carried.unbind(-1)
        values = _support(sources, candidates, TOLERANCE) - SELF_SUPPORT * their_confidence
        values = torch.minimum(values, through).where(candidates > hidden_from, values)
        for candidate, value in zip(candidates, values, strict=True):
            better = (candidate > 0) & (value > most)
            most, chosen = value.where(better, most), candidate.where(better, chosen)
            own = own.where(~better, 0)  # its own confidence is that of another depth
    support = own + _support(sources, chosen[None], LOOSE)[0]
    return chosen.cpu().numpy(), support.float().cpu().numpy()


def agreement(found: Tensor, z: Tensor, tolerance: float) -> Tensor:
    """fusion.consensus.agreement of tensors."""
    share = (found - z) / (tolerance * z)
    return torch.where(share < 1, (1 - share * share).clamp(min=0), -SEEN_THROUGH * (share - 1).clamp(max=1))


def _hidden_from(depth: Tensor) -> Tensor:
    """From where on a pixel's own depth [H, W] hides candidates: nowhere where it is none."""
    return ((1 + TOLERANCE) * depth).where(depth > 0, torch.inf)


def _support(sources: SourcesOnDevice, depth: Tensor, tolerance: float) -> Tensor:
    """How much the sources support depths [K, H, W] of the reference, float64."""
    total = torch.zeros_like(depth, dtype=torch.float64)
    for agreed in _agreed(sources, depth, tolerance):
        total += agreed
    return total


def _support_and_through(sources: SourcesOnDevice, depth: Tensor) -> tuple[Tensor, Tensor]:
    """How much the sources support depths [H, W], and how much they see through them, each float64 [H, W]."""
    support, through = torch.zeros_like(depth, dtype=torch.float64), torch.zeros_like(depth, dtype=torch.float64)
    for (agreed,) in _agreed(sources, depth[None], TOLERANCE):
        support += agreed
        through -= agreed.clamp(max=0) / SEEN_THROUGH
    return support, through


def _agreed(sources: SourcesOnDevice, depth: Tensor, tolerance: float) -> Iterator[Tensor]:
    """What each source says of depths [K, H, W]: its confidence where it agrees, negative where it sees through."""
    for of_source, matrix in zip(sources.seen, sources.src_T_ref, strict=True):
        u, v, z, valid, _ = positions(matrix, depth)
        pixel, inside = nearest_pixel(u, v, valid, of_source.shape[:2])
        found, confidence = of_source.flatten(0, 1)[pixel].unbind(-1)
        yield (confidence * agreement(found, z, tolerance)).where(inside & (found > 0), 0)

"""The fits of fusion.continuation on a torch device, for CUDA: the same results as numba's, but for rounding."""

import numpy as np
import torch
from torch import Tensor

from fusion.continuation import FLATNESS, Fits


class FitsOnDevice(Fits):
    """Fits of planes over an RGB image uint8 [H, W, 3]."""

    def __init__(self, image: np.ndarray, device: torch.device) -> None:
        super().__init__(image)
        self._device = device
        self._filterings = [[torch.tensor(share, device=device)[None] for share in shares] for shares in self.shares]

    @torch.inference_mode()
    def fit(self, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """As fusion.continuation.Fits.fit."""
        arrays = (values, weights, *self.places)
        values, weights, x, y = (torch.tensor(array, device=self._device) for array in arrays)
        u, v = torch.broadcast_tensors(x, y[:, None])
        d = (weights * values).where(weights > 0, 0)
        moments = torch.stack([weights * power for power in (torch.ones_like(u), u, v, u * u, u * v, v * v)])
        moments = torch.cat([moments, torch.stack([d, d * u, d * v])])
        for filtering in self._filterings:
            for axis, share in zip((2, 1), filtering, strict=True):
                moments = _passed_on(_passed_on(moments, share, axis), share, axis, back=True)
        total = moments[0]
        mean_u, mean_v, uu, uv, vv, mean, ud, vd = moments[1:] / total
        uu, vv, uv = uu - mean_u * mean_u + FLATNESS, vv - mean_v * mean_v + FLATNESS, uv - mean_u * mean_v
        ud, vd = ud - mean_u * mean, vd - mean_v * mean
        size = uu * vv - uv * uv
        slope_u, slope_v = (ud * vv - vd * uv) / size, (vd * uu - ud * uv) / size
        fitted = mean + slope_u * (u - mean_u) + slope_v * (v - mean_v)
        return fitted.where(total > 0, 0).cpu().numpy()


def _passed_on(values: Tensor, share: Tensor, axis: int, back: bool = False) -> Tensor:
    """Values [C, H, W] after each took its share [1, H, W] of what has come to the one before, from one end of the axis
    to the other; `back`: from the other end, where between two pixels still the share of the second counts.

    Steps of 1, 2, 4, ... pixels instead of one after the other: each joins what two stretches do.
    """
    count, nothing = values.shape[axis], torch.zeros_like(share.narrow(axis, 0, 1))
    between = share.narrow(axis, 1, count - 1)
    share = torch.cat((between, nothing) if back else (nothing, between), axis)
    values, step = values * (1 - share), 1
    while step < count:
        ends, begins = (0, step) if back else (step, 0)
        far = share.narrow(axis, ends, count - step)
        passed = far * values.narrow(axis, begins, count - step)
        further = far * share.narrow(axis, begins, count - step)
        values.narrow(axis, ends, count - step).add_(passed)
        far.copy_(further)
        step *= 2
    return values

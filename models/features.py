"""FeatureNet: the feature pyramid of every view (docs/method.md, section 2)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks import ConvBnReLU2d, over_views, predicts
from models.slabs import slabs, with_neighbours


class FeatureNet(nn.Module):
    """Maps images [B, 3, H, W] to features of stages 1, 2, 3: 32, 16, 8 channels at 1/4, 1/2, 1 of the resolution.

    Views [B, N, 3, H, W] pass together, in training with BatchNorm statistics of each view by itself.
    """

    def __init__(self, base: int = 8) -> None:
        super().__init__()
        self.conv0 = nn.Sequential(ConvBnReLU2d(3, base), ConvBnReLU2d(base, base))
        self.conv1 = self._level(base, 2 * base)
        self.conv2 = self._level(2 * base, 4 * base)
        self.out1 = nn.Conv2d(4 * base, 4 * base, 1, bias=False)
        self.inner1 = nn.Conv2d(2 * base, 4 * base, 1)
        self.inner2 = nn.Conv2d(base, 4 * base, 1)
        self.out2 = nn.Conv2d(4 * base, 2 * base, 3, padding=1, bias=False)
        self.out3 = nn.Conv2d(4 * base, base, 3, padding=1, bias=False)
        self.out_channels = (4 * base, 2 * base, base)

    @staticmethod
    def _level(in_channels: int, out_channels: int) -> nn.Sequential:
        return nn.Sequential(
            ConvBnReLU2d(in_channels, out_channels, kernel=5, stride=2),
            ConvBnReLU2d(out_channels, out_channels),
            ConvBnReLU2d(out_channels, out_channels),
        )

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        full = self.conv0(image)
        half = self.conv1(full)
        quarter = self.conv2(half)
        merged_half = over_views(_twice_as_large, quarter) + over_views(self.inner1, half)
        finest = self._finest_in_slabs if predicts(self) else self._finest
        return over_views(self.out1, quarter), over_views(self.out2, merged_half), finest(merged_half, full)

    def _finest(self, merged_half: Tensor, full: Tensor) -> Tensor:
        """Features at the full resolution."""
        merged_full = over_views(_twice_as_large, merged_half) + over_views(self.inner2, full)
        return over_views(self.out3, merged_full)

    def _finest_in_slabs(self, merged_half: Tensor, full: Tensor) -> Tensor:
        """The same in slabs of rows: what is merged has four times the channels of the result."""
        height = full.shape[-2]
        ranges = slabs(full[..., 0, :].nbytes * 4, height, full.device.type, multiple=2)
        parts = []
        for rows in ranges:
            wide = with_neighbours(rows, 1, height, multiple=2)
            part = self._finest(merged_half[..., wide.start // 2 : wide.stop // 2, :], full[..., wide, :])
            parts.append(part[..., rows.start - wide.start : rows.stop - wide.start, :])
        return torch.cat(parts, dim=-2) if len(parts) > 1 else parts[0]


def _twice_as_large(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")

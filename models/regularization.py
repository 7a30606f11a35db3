"""3D U-Nets that regularise the cost volume, and the teacher's variance branch (specs: kdmvs section 2)."""

import torch
from torch import Tensor, nn

from models.blocks import Conv3d, ConvBnReLU2d, ConvBnReLU3d, DeconvBnReLU3d


class CostRegNet(nn.Module):
    """3D U-Net: cost volume [B, C, D, H, W] to scores [B, D, H, W]; D, H and W are multiples of 8.

    With `extra_input_conv` (the student's) the channels are reduced by `convini` before `conv0`.
    """

    def __init__(self, in_channels: int, base: int, extra_input_conv: bool) -> None:
        super().__init__()
        if extra_input_conv:
            self.convini = ConvBnReLU3d(in_channels, base)
            in_channels = base
        self.conv0 = ConvBnReLU3d(in_channels, base)
        self.conv1 = ConvBnReLU3d(base, 2 * base, stride=2)
        self.conv2 = ConvBnReLU3d(2 * base, 2 * base)
        self.conv3 = ConvBnReLU3d(2 * base, 4 * base, stride=2)
        self.conv4 = ConvBnReLU3d(4 * base, 4 * base)
        self.conv5 = ConvBnReLU3d(4 * base, 8 * base, stride=2)
        self.conv6 = ConvBnReLU3d(8 * base, 8 * base)
        self.conv7 = DeconvBnReLU3d(8 * base, 4 * base)
        self.conv9 = DeconvBnReLU3d(4 * base, 2 * base)
        self.conv11 = DeconvBnReLU3d(2 * base, base)
        self.prob = Conv3d(base, 1, 3, padding=1, bias=False)

    @property
    def input_name(self) -> str:
        """Name of the layer that sees the cost volume, the only one whose shape depends on its channels."""
        return "convini" if hasattr(self, "convini") else "conv0"

    def forward(self, volume: Tensor) -> Tensor:
        return self.after_first(self.first(volume))

    def first(self, volume: Tensor) -> Tensor:
        """The first layer, which keeps the volume's size."""
        return getattr(self, self.input_name)(volume)

    def after_first(self, x: Tensor) -> Tensor:
        """Scores [B, D, H, W] from what the first layer made."""
        full = self.conv0(x) if self.input_name == "convini" else x
        del x  # a quarter of the memory at the peak
        half = self.conv2(self.conv1(full))
        quarter = self.conv4(self.conv3(half))
        eighth = self.conv6(self.conv5(quarter))
        quarter = _sum(quarter, self.conv7(eighth))
        half = _sum(half, self.conv9(quarter))
        full = _sum(full, self.conv11(half))
        return self.prob(full).squeeze(1)


def _sum(skipped: Tensor, deep: Tensor) -> Tensor:
    """Their sum, which takes no memory of its own where no gradient is wanted."""
    return skipped + deep if torch.is_grad_enabled() else skipped.add_(deep)


class VarianceNet(nn.Module):
    """The teacher's small 2D network: reference feature [B, C, H, W] to log-variance [B, H, W]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv0 = ConvBnReLU2d(channels, 4 * channels)
        self.conv1 = ConvBnReLU2d(4 * channels, 8 * channels)
        self.conv2 = ConvBnReLU2d(8 * channels, channels)
        self.var = nn.Conv2d(channels, 1, 3, padding=1)

    def forward(self, feature: Tensor) -> Tensor:
        return self.var(self.conv2(self.conv1(self.conv0(feature)))).squeeze(1)

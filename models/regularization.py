"""3D U-Nets that regularise the cost volume, and the teacher's variance branch (docs/method.md, section 2)."""

from torch import Tensor, nn

from models.blocks import Conv3d, ConvBnReLU2d, ConvBnReLU3d, DeconvBnReLU3d, predicts
from models.slabs import slabs


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

    @property
    def entry_reach(self) -> int:
        """Neighbours on either side that a value of the entry depends on: one for each of its layers."""
        return 2 if hasattr(self, "convini") else 1

    def forward(self, volume: Tensor) -> Tensor:
        return self.after_entry(self.entry(volume))

    def entry(self, volume: Tensor) -> Tensor:
        """The layers before the first halving: [B, base, D, H, W]."""
        return self.conv0(self.convini(volume) if hasattr(self, "convini") else volume)

    def after_entry(self, full: Tensor) -> Tensor:
        """Scores [B, D, H, W] from what the entry made, which prediction overwrites."""
        half = self.conv2(self.conv1(full))
        quarter = self.conv4(self.conv3(half))
        eighth = self.conv6(self.conv5(quarter))
        quarter = _add_doubled(quarter, self.conv7, eighth)
        half = _add_doubled(half, self.conv9, quarter)
        full = _add_doubled(full, self.conv11, half)
        return self.prob(full).squeeze(1)


def _add_doubled(skipped: Tensor, layer: nn.Module, deep: Tensor) -> Tensor:
    """`skipped` [B, C, D, H, W] plus what a `DeconvBnReLU3d` makes of `deep` [B, 2 C, D/2, H/2, W/2].

    In prediction: in place, in slabs of rows.
    """
    if not predicts(layer):
        return skipped + layer(deep)
    for rows in slabs(skipped[..., 0, :].nbytes, skipped.shape[-2], skipped.device.type, multiple=2):
        # A row of the result depends on the row at half its height and, every other one, on the next.
        doubled = layer(deep[..., rows.start // 2 : rows.stop // 2 + 1, :])
        skipped[..., rows, :] += doubled[..., : rows.stop - rows.start, :]
    return skipped


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

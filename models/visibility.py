"""How much each source view counts at each pixel, learned (docs/method.md, section 2)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks import Conv3d, ConvBnReLU2d, ConvBnReLU3d

# Groups of feature channels whose similarity is told apart.
GROUPS = 2
# Places along a ray at which a pixel's sources are looked at.
_PLACES = 2
_WIDTH_3D, _WIDTH_2D = 8, 16
# Sources that see a hypothesis count in its mean similarity, and so much more, lest one alone decides.
_UNSEEN = 0.3
# Of the first attention to similar hypotheses: on rendered scenes it told occluded from visible sources best.
_FIRST_SHARPNESS = 20.0
# An occluded source counts so many times a visible one at least; a sum of such weights is never zero.
_LEAST_WEIGHT = 1 / 64


class VisibilityNet(nn.Module):
    """Weights of the source views from `plane_sweep.similarity.similarity_volume` at stage 1's hypotheses.

    Where a source does not see a pixel's surface it is similar to the reference at some depth, but not at that of the
    surface. So it is asked first, of all sources together, where the surface may be, as an attention over the
    hypotheses; then, of each source, how similar it is there. At first all weights are exactly 1.
    """

    # Rows on either side that a row of `summary` depends on: one for each of its convolutions.
    summary_reach = 2

    def __init__(self) -> None:
        super().__init__()
        self.consensus = ConvBnReLU3d(2 * GROUPS, _WIDTH_3D)
        self.attention = Conv3d(_WIDTH_3D, _PLACES, 3, padding=1, bias=False)
        self.log_sharpness = nn.Parameter(torch.full((_PLACES,), math.log(_FIRST_SHARPNESS)))
        self.conv0 = ConvBnReLU2d(_PLACES * (2 * GROUPS + 1), _WIDTH_2D)
        self.conv1 = ConvBnReLU2d(_WIDTH_2D, _WIDTH_2D)
        self.weight = nn.Conv2d(_WIDTH_2D, 1, 3, padding=1)
        nn.init.zeros_(self.weight.weight)
        nn.init.zeros_(self.weight.bias)

    def forward(self, similarity: Tensor) -> Tensor:
        """Weights [B, S, h, w] above 0, their mean over the sources 1, from similarity [B, S, GROUPS + 1, D, h, w]."""
        return self.weigh(self.summary(similarity))

    def summary(self, similarity: Tensor) -> Tensor:
        """What is known of each source at each pixel: maps [B, S, C, h, w]."""
        similarity = similarity.to(self.log_sharpness.dtype)
        of_sources, coverage = similarity[:, :, :GROUPS], similarity[:, :, GROUPS]
        mean = of_sources.sum(dim=1) / (coverage.sum(dim=1)[:, None] + _UNSEEN)
        attention = self._attention(mean, of_sources.amax(dim=1))
        maps = []
        for place in attention.unbind(1):
            own = (place[:, None, None] * similarity).sum(dim=3)
            common = (place[:, None] * mean).sum(dim=2)
            maps += [own, common[:, None].expand_as(own[:, :, :GROUPS])]
        return torch.cat(maps, dim=2)

    def _attention(self, mean: Tensor, best: Tensor) -> Tensor:
        """Attention [B, _PLACES, D, h, w], its sum over D 1, from the sources' mean and best similarity by group."""
        learned = self.attention(self.consensus(torch.cat([mean, best], dim=1))).to(mean.dtype)
        smooth = F.avg_pool2d(mean.mean(dim=1), 3, 1, 1, count_include_pad=False)
        return (learned + self.log_sharpness.exp()[:, None, None, None] * smooth[:, None]).softmax(dim=2)

    def weigh(self, summary: Tensor) -> Tensor:
        """Weights [B, S, h, w] from the summary."""
        scores = self.weight(self.conv1(self.conv0(summary.flatten(0, 1))))
        weights = _LEAST_WEIGHT + (1 - _LEAST_WEIGHT) * scores.to(self.log_sharpness.dtype).sigmoid()
        weights = weights.squeeze(1).unflatten(0, summary.shape[:2])
        return weights * weights.shape[1] / weights.sum(dim=1, keepdim=True)

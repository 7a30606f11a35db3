"""The gradient to the source views' weights in the cost volume, from sums that a kernel makes in passing."""

from torch import Tensor


def weights_gradient(view_weights: Tensor, differences: Tensor) -> Tensor:
    """Gradient to weights [B, N-1, H, W], from `differences` [B, N, H, W], the reference's first.

    differences: of each view the sum, over channels and hypotheses, of the volume's gradient times the view's squared
    difference from the mean, times two over the weights' sum. The variance V is the weighed mean of the squared
    differences, so dV/dw is (squared difference - V) / sum.
    """
    own, of_sources = differences[:, :1], differences[:, 1:]
    weighed = own + (view_weights * of_sources).sum(dim=1, keepdim=True)
    return 0.5 * (of_sources - weighed / (1 + view_weights.sum(dim=1, keepdim=True)))

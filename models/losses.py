"""The teacher's unsupervised loss and the student's distillation loss (docs/method.md, sections 3 and 5).

Each loss reduces every sample on its own and averages over the batch, so that a batch of two equals the mean of two
singles. All arithmetic is float32, whatever the network's precision.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.plane_sweep.definition import full_projection, project_pixels, relative_projection, sampling_grid
from models.settings import STAGES

_INVALID = 1e4  # added to the residual of a source that does not see the pixel
_BEST_SOURCES = 3
_SSIM_SOURCES = 2
_WEIGHT_RECON, _WEIGHT_SSIM = 24.0, 6.0


# ---------------------------------------------------------------- teacher


class UnsupervisedLoss(nn.Module):
    """Photometric and featuremetric loss with learned uncertainty.

    `variant` "official" computes what the released code computes: one residual per source image, and SSIM and
    smoothness terms that accumulate over the stages. "per_pixel" keeps residuals per pixel as the paper describes,
    counts each stage once, and measures smoothness in hypothesis intervals per image width, so that its weight means
    the same at any image size, unit and spacing of the hypotheses. `smooth_weight` None takes the variant's default.
    """

    SMOOTH_WEIGHTS = {"official": 0.18, "per_pixel": 1e-4}  # noqa: RUF012

    def __init__(self, variant: str = "official", smooth_weight: float | None = None) -> None:
        super().__init__()
        if variant not in self.SMOOTH_WEIGHTS:
            raise ValueError(f"variant {variant!r} is neither 'official' nor 'per_pixel'")
        self.variant = variant
        self.smooth_weight = self.SMOOTH_WEIGHTS[variant] if smooth_weight is None else smooth_weight

    def forward(
        self, outputs: dict, imgs: Tensor, proj_matrices: dict[str, Tensor], stage_weights: Sequence[float]
    ) -> dict[str, Tensor]:
        """Loss terms from the teacher's outputs; imgs [B, N, 3, H, W] in 0..1, proj_matrices per stage [B, N, 2, 4, 4].

        Returns scalars: "total" (to minimise), and "recon", "ssim", "smooth", "photo", "feature" for the log.
        """
        with torch.autocast(imgs.device.type, enabled=False):
            return self._forward(outputs, imgs, proj_matrices, stage_weights)

    def _forward(self, outputs, imgs, proj_matrices, stage_weights) -> dict[str, Tensor]:
        total = ssim = smooth = photo = feature = 0.0
        for stage, weight in zip(STAGES, stage_weights, strict=True):
            terms = self._stage_terms(outputs[stage], imgs, proj_matrices[stage])
            accumulates = self.variant == "official"
            ssim = terms["ssim"] + (ssim if accumulates else 0.0)
            smooth = terms["smooth"] + (smooth if accumulates else 0.0)
            recon = 0.5 * (terms["photo"] + 0.25 * terms["feature"] + 0.1 * terms["log_variance"])
            total = total + weight * (_WEIGHT_RECON * recon + _WEIGHT_SSIM * ssim + self.smooth_weight * smooth)
            photo = photo + weight * 0.5 * _WEIGHT_RECON * terms["photo"]
            feature = feature + weight * 0.125 * _WEIGHT_RECON * terms["feature"]
        return {
            "total": total,
            "recon": _WEIGHT_RECON * recon,
            "ssim": _WEIGHT_SSIM * ssim,
            "smooth": self.smooth_weight * smooth,
            "photo": photo,
            "feature": feature,
        }

    def _stage_terms(self, output: dict[str, Tensor], imgs: Tensor, proj_matrices: Tensor) -> dict[str, Tensor]:
        """Unweighted terms of one stage."""
        depth, log_variance = output["depth"].float(), output["var"].float()
        size = depth.shape[-2:]
        images = F.interpolate(imgs.flatten(0, 1), size, mode="bilinear", align_corners=True)
        images = images.unflatten(0, imgs.shape[:2])
        maps = torch.cat([images, output["features"].detach().float()], dim=2)
        warped, mask = warp_with_depth(maps[:, 1:], depth, proj_matrices)
        reference = maps[:, :1].expand_as(warped) * mask[:, :, None]
        masked = warped * mask[:, :, None]
        residual = _mean_residual if self.variant == "official" else _pixel_residual
        photo = _best_sources(residual(masked[:, :, :3], reference[:, :, :3]), mask)
        feature = _best_sources(residual(masked[:, :, 3:], reference[:, :, 3:]), mask)
        precision = torch.exp(-log_variance)
        ssim = [
            structural_dissimilarity(images[:, 0], warped[:, j, :3], mask[:, j])
            for j in range(warped.shape[1])[:_SSIM_SOURCES]
        ]
        return {
            "photo": (precision * photo).mean(),
            "feature": (precision * feature).mean(),
            "log_variance": log_variance.mean(),
            "ssim": sum(ssim),
            "smooth": self._smoothness(output, depth, images[:, 0]),
        }

    def _smoothness(self, output: dict[str, Tensor], depth: Tensor, image: Tensor) -> Tensor:
        """Edge-aware smoothness of the depth; official: depth units per pixel, else intervals per image width."""
        unit = torch.ones_like(depth)
        if self.variant == "per_pixel":
            unit = _interval_at(depth, output["depth_values"]) / depth.shape[-1]
        terms = []
        for axis in (-1, -2):
            edge = torch.exp(-image.diff(dim=axis).abs().mean(dim=1))
            steps = depth.diff(dim=axis).abs() / _between_neighbours(unit, axis)
            terms.append((steps * edge).mean())
        return terms[0] + terms[1]


def _intervals(hypotheses: Tensor) -> Tensor:
    """Depth [B, D, h, w] that each hypothesis stands for: half of the way to its neighbours on either side.

    Without gradient: hypotheses are no means to make a loss small.
    """
    steps = hypotheses.detach().diff(dim=1).abs()
    intervals = torch.cat([steps[:, :1], 0.5 * (steps[:, :-1] + steps[:, 1:]), steps[:, -1:]], dim=1)
    return intervals.clamp(min=torch.finfo(intervals.dtype).tiny)


def _interval_at(depth: Tensor, hypotheses: Tensor) -> Tensor:
    """Interval [B, h, w] of the hypothesis that is closest to the depth [B, h, w]."""
    closest = (hypotheses - depth[:, None]).detach().abs().argmin(dim=1, keepdim=True)
    return _intervals(hypotheses).gather(1, closest).squeeze(1)


def _between_neighbours(values: Tensor, axis: int) -> Tensor:
    """Mean of each two neighbours along an axis."""
    count = values.shape[axis] - 1
    return 0.5 * (values.narrow(axis, 0, count) + values.narrow(axis, 1, count))


def warp_with_depth(sources: Tensor, depth: Tensor, proj_matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Sources [B, J, C, H, W] seen from the reference through its depth [B, H, W], with gradient to the depth.

    proj_matrices [B, 1 + J, 2, 4, 4]. Returns warped [B, J, C, H, W] (border replicated) and the mask [B, J, H, W] of
    pixels that fall inside; the last row counts, the last column does not (docs/method.md, section 3).
    """
    batch, count, _, height, width = sources.shape
    projections = full_projection(proj_matrices)
    src_T_ref = relative_projection(projections[:, 1:], projections[:, :1]).flatten(0, 1)
    per_source = depth[:, None].expand(-1, count, -1, -1).reshape(batch * count, 1, height, width)
    u, v, _ = project_pixels(src_T_ref, per_source)
    x0, y0 = torch.floor(u.detach()), torch.floor(v.detach())
    mask = (x0 >= 0) & (x0 + 1 <= width - 1) & (y0 >= 0) & (y0 <= height - 1)
    grid = sampling_grid(u, v, width, height).squeeze(1)
    warped = F.grid_sample(sources.flatten(0, 1), grid, mode="bilinear", padding_mode="border", align_corners=True)
    return warped.unflatten(0, (batch, count)), mask.view(batch, count, height, width).float()


def _mean_residual(warped: Tensor, reference: Tensor) -> Tensor:
    """Official residual of [B, J, C, H, W] maps: one number per source image, [B, J, 1, 1]."""

    def mean(a: Tensor, b: Tensor) -> Tensor:
        return F.smooth_l1_loss(a, b, reduction="none").mean(dim=(2, 3, 4))

    gradients = [mean(warped.diff(dim=axis), reference.diff(dim=axis)) for axis in (-1, -2)]
    return (0.5 * mean(warped, reference) + 0.5 * sum(gradients))[:, :, None, None]


def _pixel_residual(warped: Tensor, reference: Tensor) -> Tensor:
    """The same residual kept per pixel, [B, J, H, W]; the missing last gradient is zero."""

    def mean(a: Tensor, b: Tensor) -> Tensor:
        return F.smooth_l1_loss(a, b, reduction="none").mean(dim=2)

    along_x = F.pad(mean(warped.diff(dim=-1), reference.diff(dim=-1)), (0, 1))
    along_y = F.pad(mean(warped.diff(dim=-2), reference.diff(dim=-2)), (0, 0, 0, 1))
    return 0.5 * mean(warped, reference) + 0.5 * (along_x + along_y)


def _best_sources(residual: Tensor, mask: Tensor) -> Tensor:
    """Sum of the smallest residuals over the sources that see the pixel: [B, H, W] from [B, J, H, W]."""
    volume = residual + _INVALID * (1 - mask)
    best = volume.topk(min(_BEST_SOURCES, volume.shape[1]), dim=1, largest=False).values
    return torch.where(best < _INVALID, best, 0.0).sum(dim=1)


def structural_dissimilarity(reference: Tensor, warped: Tensor, mask: Tensor) -> Tensor:
    """(1 - SSIM) / 2 of images [B, C, H, W] under mask [B, H, W], mean over everything; 3x3 windows, no padding."""

    def pool(x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 3, 1)

    mean_x, mean_y = pool(reference), pool(warped)
    var_x = pool(reference.square()) - mean_x.square()
    var_y = pool(warped.square()) - mean_y.square()
    covariance = pool(reference * warped) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    similarity = similarity / ((mean_x.square() + mean_y.square() + c1) * (var_x + var_y + c2))
    return (pool(mask[:, None]) * ((1 - similarity) / 2).clamp(0, 1)).mean()


# ---------------------------------------------------------------- student


class DistillationLoss(nn.Module):
    """Distillation from pseudo-labels: a mean and a standard deviation of depth per pixel.

    `variant` "official" is cross-entropy plus the released code's KL divergence of two Gaussians; "paper" is the KL
    divergence of the label's Gaussian, discretised over the depth hypotheses, from the probability volume; "hard" takes
    all of the label's probability for the hypothesis next to its mean, to see what the standard deviation is good for.
    """

    VARIANTS = ("official", "paper", "hard")

    def __init__(self, variant: str = "official") -> None:
        super().__init__()
        if variant not in self.VARIANTS:
            raise ValueError(f"variant {variant!r} is none of {', '.join(self.VARIANTS)}")
        self.variant = variant

    def forward(
        self,
        outputs: dict,
        mu: dict[str, Tensor],
        sigma: dict[str, Tensor],
        mask: dict[str, Tensor],
        stage_weights: Sequence[float],
    ) -> dict[str, Tensor]:
        """Loss terms from the student's outputs; mu, sigma and the boolean mask are [B, h, w] per stage.

        Returns scalars: "total" (to minimise), and for the log "kl" and "approx_kl" (divergence and cross-entropy
        terms, summed over the stages without their weights) and "depth_loss" (smooth L1 of stage 3's depth). A sample
        without a single label contributes zero.
        """
        total = kl = approx_kl = 0.0
        for stage, weight in zip(STAGES, stage_weights, strict=True):
            terms = self._stage_terms(outputs[stage], mu[stage].float(), sigma[stage].float(), mask[stage] > 0.5)
            total = total + weight * terms["total"]
            kl = kl + 5 * terms["kl"]
            approx_kl = approx_kl + terms["approx_kl"]
        return {"total": total, "kl": kl, "approx_kl": approx_kl, "depth_loss": terms["depth_loss"]}

    def _stage_terms(self, output: dict[str, Tensor], mu: Tensor, sigma: Tensor, mask: Tensor) -> dict[str, Tensor]:
        probability, hypotheses = output["prob_volume"].float(), output["depth_values"].float()
        # Where there is no label anything may stand, NaN too, whose gradient would be NaN under the mask as well.
        mu, sigma = torch.where(mask, mu, 0.0), torch.where(mask, sigma, 1.0)
        depth_loss = _masked_mean(F.smooth_l1_loss(output["depth"].float(), mu, reduction="none"), mask)
        kl = 0.5 * _gaussian_kl(probability, hypotheses, mu, sigma, mask)
        if self.variant == "official":
            approx_kl = 2 * _masked_mean(_cross_entropy(probability, hypotheses, mu), mask)
            total = kl + approx_kl
        else:
            inside = mask & (mu >= hypotheses.amin(dim=1)) & (mu <= hypotheses.amax(dim=1))
            if self.variant == "hard":
                divergence = _cross_entropy(probability, hypotheses, mu)
            else:
                divergence = _discrete_kl(probability, hypotheses, mu, sigma)
            total = approx_kl = _masked_mean(divergence, inside)
        return {"total": total, "kl": kl, "approx_kl": approx_kl, "depth_loss": depth_loss}


def _masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over each sample's mask [B, h, w], then over the batch; a sample without valid pixels counts as zero."""
    per_sample = torch.where(mask, values, 0.0).sum(dim=(1, 2)) / mask.sum(dim=(1, 2)).clamp(min=1)
    return per_sample.mean()


def _cross_entropy(probability: Tensor, hypotheses: Tensor, mu: Tensor) -> Tensor:
    """-log p at the hypothesis closest to mu: [B, h, w]."""
    closest = (hypotheses - mu[:, None]).abs().argmin(dim=1, keepdim=True)
    return -torch.log(probability.gather(1, closest).squeeze(1) + 1e-6)


def _gaussian_kl(probability: Tensor, hypotheses: Tensor, mu: Tensor, sigma: Tensor, mask: Tensor) -> Tensor:
    """The released code's KL term; like there, its mean is divided by the image width once more."""
    pred_mu = (probability * hypotheses).sum(dim=1)
    variance = (probability * (hypotheses - pred_mu[:, None]).square()).sum(dim=1)
    # The square root's gradient is infinite at zero: there the clamp stops it.
    pred_sigma = variance.clamp(min=1e-12).sqrt() + 1e-6
    pred_mu, mu, sigma = pred_mu + 1e-6, mu + 1e-6, sigma + 1e-6
    kl = 0.5 * (torch.log(sigma / pred_sigma) + (pred_sigma + (pred_mu - mu).square()) / sigma - 1)
    return _masked_mean(kl, mask) / mu.shape[-1]


def _discrete_kl(probability: Tensor, hypotheses: Tensor, mu: Tensor, sigma: Tensor) -> Tensor:
    """KL(label || p) per pixel [B, h, w], the label being the Gaussian (mu, sigma) over the hypotheses, normalised.

    A hypothesis gets the density at its depth times the interval it stands for, which counts where they are not evenly
    spaced.
    """
    deviation = (hypotheses - mu[:, None]) / sigma[:, None].clamp(min=1e-6)
    label = torch.softmax(-0.5 * deviation.square() + _intervals(hypotheses).log(), dim=1)
    return (torch.xlogy(label, label) - label * torch.log(probability + 1e-6)).sum(dim=1)

"""Both losses: the official values and gradients, batches, degenerate inputs, and known answers."""

import math

import numpy as np
import pytest
import torch
from helpers import GOLDEN, golden_inputs, golden_network, scene_sample
from places import Place

from datasets.sample import STAGE_SCALES
from datasets.synthetic.scans import render_scene
from models.losses import DistillationLoss, UnsupervisedLoss
from models.settings import STAGES

WEIGHTS = (0.5, 1.0, 2.0)
HEIGHT, WIDTH = 64, 96


def stage_labels(full: torch.Tensor) -> dict[str, torch.Tensor]:
    """A full-size map [B, H, W] at every stage by nearest neighbour."""
    return {stage: full[:, ::scale, ::scale] for stage, scale in STAGE_SCALES.items()}


def assert_gradients(place: Place, network: torch.nn.Module, golden) -> None:
    """Norms of all parameters' gradients, relative to the expected ones; differences below 1e-6 are none."""
    norms = {name: 0.0 if p.grad is None else float(p.grad.norm()) for name, p in network.named_parameters()}
    assert norms.keys() == set(golden["grad_names"])
    found, expected = np.array([norms[name] for name in golden["grad_names"]]), golden["grad_norms"].astype(float)
    found = np.where(np.abs(found - expected) <= 1e-6, expected, found)
    in_float64 = next(network.parameters()).dtype == torch.float64
    quantity = "gradient norms in float64" if in_float64 else "gradient norms"
    place.assert_same(quantity, found / np.maximum(expected, 1e-12), np.ones(len(found)))


def network_in(dtype: torch.dtype, name: str) -> torch.nn.Module:
    """The golden network in training, computing in a type; fake tensors cannot be told to stay what they are."""
    network = golden_network(name).train()
    return network if dtype == torch.float32 else network.to(dtype)


@pytest.fixture(params=[torch.float32, torch.float64], ids=["float32", "float64"])
def dtype(request, place) -> torch.dtype:
    """What a network's layers compute in: as in use, and with so little rounding that smaller mistakes show."""
    if request.param == torch.float64:
        place.needs(float64=True, dtype=torch.float32, values=True)
    return request.param


# ---------------------------------------------------------------- teacher


@pytest.fixture(scope="module")
def rendered() -> dict:
    """A procedural scene: images and cameras of 4 views, and the exact depth of the first per stage."""
    return scene_sample(render_scene(seed=3, width=160, height=128, views=4))


@pytest.fixture
def scene(rendered, place) -> dict:
    """The same, where the tests compute."""
    return place.put({name: rendered[name] for name in ("imgs", "proj_matrices", "depth")})


def teacher_outputs(depths: dict[str, torch.Tensor], views: int, noise: float = 1.0, seed: int = 0) -> dict:
    """Hand-made outputs of a teacher: depths [B, h, w] per stage with features and log-variances of given noise, where
    the depths are."""
    generator = torch.Generator().manual_seed(seed)
    outputs = {}
    for stage, channels in zip(STAGES, (32, 16, 8), strict=True):
        depth = depths[stage]
        batch, height, width = depth.shape
        offsets = torch.linspace(-10, 10, 8).to(depth.device)[None, :, None, None]
        features = noise * torch.randn(batch, views, channels, height, width, generator=generator)
        outputs[stage] = {
            "depth": depth,
            "var": noise * torch.randn(batch, height, width, generator=generator).to(depth.device),
            "features": features.to(depth.device),
            "depth_values": depth.detach()[:, None] + offsets,
        }
    return outputs


def test_golden_unsupervised_loss(place, dtype):
    """The official loss of the teacher in training mode: depths, every term, and the norm of every gradient."""
    golden = np.load(GOLDEN / "unsup_loss.npz")
    network = place.put(network_in(dtype, "teacher"))
    imgs, proj_matrices, depth_values = place.put(golden_inputs())
    with place.autocast():
        outputs = network(imgs.to(dtype), proj_matrices, depth_values)
    for stage in STAGES:
        place.assert_same("depth in training", outputs[stage]["depth"], golden[f"{stage}_depth"], stage)
    losses = UnsupervisedLoss("official")(outputs, imgs, proj_matrices, golden["stage_weights"].tolist())
    for name in ("total", "recon", "ssim", "smooth", "photo", "feature"):
        place.assert_same("loss", losses[name], golden[name], name)
    losses["total"].backward()
    assert_gradients(place, network, golden)


@pytest.mark.parametrize("variant", ["official", "per_pixel"])
def test_unsupervised_loss_of_two_is_the_mean_of_singles(place, scene, variant):
    """Every term, for two samples of other images, cameras and depths, with hand-made outputs."""
    imgs = torch.cat([scene["imgs"], scene["imgs"].flip(1) ** 2])
    proj_matrices = {stage: torch.cat([P, P.flip(1)]) for stage, P in scene["proj_matrices"].items()}
    depths = {stage: torch.cat([depth, 0.7 * depth + 200]) for stage, depth in scene["depth"].items()}
    outputs = teacher_outputs(depths, views=4)
    loss = UnsupervisedLoss(variant)
    together = loss(outputs, imgs, proj_matrices, WEIGHTS)
    singles = []
    for i in (slice(0, 1), slice(1, 2)):
        sample = {stage: {name: value[i] for name, value in outputs[stage].items()} for stage in STAGES}
        singles.append(loss(sample, imgs[i], {stage: P[i] for stage, P in proj_matrices.items()}, WEIGHTS))
    for name, value in together.items():
        place.assert_same("mean of losses", value, (singles[0][name] + singles[1][name]) / 2)
        assert not torch.isclose(singles[0][name], singles[1][name])


def test_batch_of_two_through_the_teacher(place):
    """The network in evaluation mode with its loss: gradients of a batch of two are the mean of the singles'."""
    imgs, proj_matrices, depth_values = place.put(golden_inputs())
    imgs, proj_matrices = imgs[:, :2], {stage: P[:, :2] for stage, P in proj_matrices.items()}
    network, loss = place.put(golden_network("teacher").eval()), UnsupervisedLoss("per_pixel")

    def gradient(imgs, proj_matrices, depth_values):
        network.zero_grad()
        with place.autocast():
            outputs = network(imgs, proj_matrices, depth_values)
        total = loss(outputs, imgs, proj_matrices, WEIGHTS)["total"]
        total.backward()
        return total.detach(), network.cost_regularization[0].conv1.conv.weight.grad.clone()

    first = gradient(imgs, proj_matrices, depth_values)
    second = gradient(1 - imgs, proj_matrices, depth_values + 50)
    both = {stage: torch.cat([P, P]) for stage, P in proj_matrices.items()}
    together = gradient(torch.cat([imgs, 1 - imgs]), both, torch.cat([depth_values, depth_values + 50]))
    place.assert_same("loss", together[0], (first[0] + second[0]) / 2)
    scale = float(first[1].abs().max())
    place.assert_same("mean of gradients", together[1] / scale, (first[1] + second[1]) / 2 / scale)


@pytest.mark.parametrize("factor", [0.95, 0.98, 1.02, 1.05])
def test_per_pixel_loss_prefers_the_true_depth(scene, factor):
    """On images of a known scene, without features, the total is smaller at the exact depth than at a wrong one."""
    loss = UnsupervisedLoss("per_pixel")
    totals = []
    for scale in (1.0, factor):
        depths = {stage: scale * depth for stage, depth in scene["depth"].items()}
        outputs = teacher_outputs(depths, views=4, noise=0.0)
        totals.append(float(loss(outputs, scene["imgs"], scene["proj_matrices"], WEIGHTS)["total"]))
    assert totals[0] < totals[1]


def test_gradient_points_to_the_true_depth(scene):
    """With all depths a per cent too large, the per_pixel loss falls as they shrink."""
    scale = scene["imgs"].new_tensor(1.01).requires_grad_()
    outputs = teacher_outputs({stage: scale * depth for stage, depth in scene["depth"].items()}, views=4, noise=0.0)
    UnsupervisedLoss("per_pixel")(outputs, scene["imgs"], scene["proj_matrices"], WEIGHTS)["total"].backward()
    assert scale.grad > 0


def test_per_pixel_smoothness_does_not_depend_on_the_unit(scene):
    """Metres instead of millimetres: the same smoothness, as it is measured in hypothesis intervals."""
    terms = []
    for unit in (1.0, 1e-3):
        outputs = teacher_outputs(scene["depth"], views=4, noise=0.0)
        proj_matrices = {stage: P.clone() for stage, P in scene["proj_matrices"].items()}
        for stage in STAGES:
            outputs[stage]["depth"] = outputs[stage]["depth"] * unit
            outputs[stage]["depth_values"] = outputs[stage]["depth_values"] * unit
            proj_matrices[stage][:, :, 0, :3, 3] *= unit
        terms.append(float(UnsupervisedLoss("per_pixel")(outputs, scene["imgs"], proj_matrices, WEIGHTS)["smooth"]))
    assert terms[1] == pytest.approx(terms[0], rel=1e-3)


def test_per_pixel_smoothness_follows_the_spacing(scene):
    """Where hypotheses are even in inverse depth, a step from one to the next costs as much far away as nearby."""
    hypotheses = 1 / torch.linspace(1 / 400, 1 / 4000, 48).to(scene["imgs"].device)
    terms = []
    for k in (2, 40):
        steps = {stage: torch.full_like(depth, float(hypotheses[k])) for stage, depth in scene["depth"].items()}
        for depth in steps.values():
            depth[..., ::2] = float(hypotheses[k + 1])
        outputs = teacher_outputs(steps, views=4, noise=0.0)
        for stage in STAGES:
            outputs[stage]["depth_values"] = hypotheses[None, :, None, None].expand(1, -1, *steps[stage].shape[1:])
        arguments = (outputs, scene["imgs"], scene["proj_matrices"], WEIGHTS)
        terms.append(float(UnsupervisedLoss("per_pixel")(*arguments)["smooth"]))
    assert terms[1] == pytest.approx(terms[0], rel=0.05)


def test_smooth_weight(scene):
    """The flag scales the smoothness term and nothing else."""
    outputs = teacher_outputs(scene["depth"], views=4)
    arguments = (outputs, scene["imgs"], scene["proj_matrices"], (1.0, 1.0, 1.0))
    default, none = UnsupervisedLoss("official")(*arguments), UnsupervisedLoss("official", 0.0)(*arguments)
    assert none["smooth"] == 0 and default["smooth"] > 0
    for name in ("recon", "ssim", "photo", "feature"):
        assert default[name] == none[name]


DEPTHS = {
    "behind the cameras": -500.0,
    "zero": 0.0,
    "tiny": 1e-12,
    "far outside": 1.0,
    "at the source's centre plane": 600.0,
    "enormous": 1e6,
}


@pytest.mark.parametrize("variant", ["official", "per_pixel"])
@pytest.mark.parametrize("depth", DEPTHS.values(), ids=DEPTHS.keys())
def test_no_depth_gives_a_gradient_that_is_not_finite(scene, variant, depth):
    """Wherever a depth projects to, loss and gradient are finite."""
    proj_matrices = {stage: P.clone() for stage, P in scene["proj_matrices"].items()}
    if depth == 600.0:  # a source that looks the same way from 600 further on: z is exactly 0 there
        for P in proj_matrices.values():
            P[:, 1] = P[:, 0]
            P[:, 1, 0, 2, 3] -= 600.0
    depths = {stage: torch.full_like(value, depth, requires_grad=True) for stage, value in scene["depth"].items()}
    losses = UnsupervisedLoss(variant)(teacher_outputs(depths, views=4), scene["imgs"], proj_matrices, WEIGHTS)
    losses["total"].backward()
    assert all(value.isfinite() for value in losses.values())
    assert all(value.grad.isfinite().all() for value in depths.values())


def test_unknown_variants_are_refused():
    """A variant that does not exist raises ValueError."""
    for loss in (UnsupervisedLoss, DistillationLoss):
        with pytest.raises(ValueError, match="variant 'best'"):
            loss("best")


# ---------------------------------------------------------------- student


def student_outputs(logits: dict[str, torch.Tensor], low: float = 450.0, high: float = 850.0) -> dict:
    """Hand-made outputs of a student from logits [B, D, h, w] over hypotheses from low to high, where these are."""
    outputs = {}
    for stage, values in logits.items():
        hypotheses = torch.linspace(low, high, values.shape[1]).to(values.device)
        hypotheses = hypotheses[None, :, None, None].expand_as(values)
        probability = values.softmax(dim=1)
        depth = hypotheses.gather(1, probability.argmax(dim=1, keepdim=True)).squeeze(1)
        outputs[stage] = {"prob_volume": probability, "depth_values": hypotheses, "depth": depth}
    return outputs


def random_logits(place: Place, batch: int = 1, depths: int = 9) -> dict[str, torch.Tensor]:
    """Random logits per stage that record gradients."""
    generator = torch.Generator().manual_seed(0)
    return {
        stage: place.put(torch.randn(batch, depths, HEIGHT // k, WIDTH // k, generator=generator)).requires_grad_()
        for stage, k in STAGE_SCALES.items()
    }


def random_labels(place: Place, batch: int = 1) -> tuple[dict, dict, dict]:
    """mu in 460..840, sigma in 1..20 and a mask of about 60 %, per stage."""
    generator = torch.Generator().manual_seed(5)
    mu, sigma, keep = (torch.rand(batch, HEIGHT, WIDTH, generator=generator) for _ in range(3))
    return place.put((stage_labels(460 + 380 * mu), stage_labels(1 + 19 * sigma), stage_labels(keep < 0.6)))


def everywhere(place: Place, value: float) -> dict[str, torch.Tensor]:
    """The same label at every pixel."""
    return place.put(stage_labels(torch.full((1, HEIGHT, WIDTH), value)))


def test_golden_distillation_loss(place, dtype):
    """The official loss of the student in training mode: every term, and the norm of every gradient."""
    golden = np.load(GOLDEN / "kd_loss.npz")
    network = place.put(network_in(dtype, "student"))
    mu, sigma = (place.put(torch.from_numpy(golden[name])[None]) for name in ("mu", "sigma"))
    mask = (mu > 425) & (mu < 905)
    imgs, proj_matrices, depth_values = place.put(golden_inputs())
    with place.autocast():
        outputs = network(imgs.to(dtype), proj_matrices, depth_values)
    labels = (stage_labels(mu), stage_labels(sigma), stage_labels(mask))
    losses = DistillationLoss("official")(outputs, *labels, golden["stage_weights"].tolist())
    for name in ("total", "depth_loss", "kl", "approx_kl"):
        place.assert_same("loss", losses[name], golden[name], name)
    losses["total"].backward()
    assert_gradients(place, network, golden)


@pytest.mark.parametrize("variant", DistillationLoss.VARIANTS)
def test_distillation_loss_of_two_is_the_mean_of_singles(place, variant):
    """Every term and every gradient, though the two masks hold different numbers of pixels."""
    logits, labels = random_logits(place, 2), random_labels(place, 2)
    labels[2]["stage3"][1, :40] = False
    loss = DistillationLoss(variant)
    together = loss(student_outputs(logits), *labels, WEIGHTS)
    gradients = torch.autograd.grad(together["total"], list(logits.values()))
    singles = []
    for i in range(2):
        sample = student_outputs({stage: values[i : i + 1] for stage, values in logits.items()})
        singles.append(loss(sample, *({s: v[i : i + 1] for s, v in label.items()} for label in labels), WEIGHTS))
    for name, value in together.items():
        place.assert_same("mean of losses", value, (singles[0][name] + singles[1][name]) / 2)
    expected = torch.autograd.grad((singles[0]["total"] + singles[1]["total"]) / 2, list(logits.values()))
    for ours, theirs in zip(gradients, expected, strict=True):
        place.assert_same("mean of losses' gradients", ours, theirs)


@pytest.mark.parametrize("variant", DistillationLoss.VARIANTS)
@pytest.mark.parametrize("sigma", [0.0, 1e-9, 5.0])
@pytest.mark.parametrize("sharpness", [0.0, 1e4])
def test_no_gradient_that_is_not_finite(place, variant, sigma, sharpness):
    """One-hot volumes (their variance is 0) and labels without deviation: loss and gradient stay finite."""
    logits = {stage: (sharpness * values.detach()).requires_grad_() for stage, values in random_logits(place).items()}
    losses = DistillationLoss(variant)(
        student_outputs(logits), everywhere(place, 600.0), everywhere(place, sigma), everywhere(place, 1.0), WEIGHTS
    )
    losses["total"].backward()
    assert all(value.isfinite() for value in losses.values())
    assert all(values.grad.isfinite().all() for values in logits.values())


@pytest.mark.parametrize("variant", DistillationLoss.VARIANTS)
def test_sample_without_labels_contributes_zero(place, variant):
    """Empty masks, with the zeros that stand for missing labels: no loss, a gradient of zero, nothing divided by 0."""
    logits = random_logits(place)
    nothing = everywhere(place, 0.0)
    losses = DistillationLoss(variant)(student_outputs(logits), nothing, nothing, nothing, WEIGHTS)
    losses["total"].backward()
    assert losses["total"] == 0
    assert all((values.grad == 0).all() for values in logits.values())


@pytest.mark.parametrize("variant", DistillationLoss.VARIANTS)
def test_pixels_outside_the_mask_do_not_count(place, variant):
    """Whatever stands where there is no label, even NaN, the loss and its gradient are the same."""
    mu, sigma, mask = random_labels(place)
    results = []
    for filling in (0.0, 700.0, math.nan):
        logits = random_logits(place)
        labels = [{s: torch.where(mask[s], v, filling) for s, v in label.items()} for label in (mu, sigma)]
        total = DistillationLoss(variant)(student_outputs(logits), *labels, mask, WEIGHTS)["total"]
        total.backward()
        results.append((total.detach(), logits["stage3"].grad))
    for result in results[1:]:
        place.assert_same("mean of losses", result[0], results[0][0])
        place.assert_same("mean of losses' gradients", result[1], results[0][1])


def test_paper_kl_tends_to_cross_entropy(place):
    """With sigma far below the hypotheses' spacing the label is one-hot: the KL is the cross-entropy (half of the
    official term, which has weight 2)."""
    outputs, (mu, _, mask) = student_outputs(random_logits(place)), random_labels(place)
    sharp = {stage: torch.full_like(value, 0.01) for stage, value in mu.items()}
    paper = DistillationLoss("paper")(outputs, mu, sharp, mask, WEIGHTS)["approx_kl"]
    official = DistillationLoss("official")(outputs, mu, sharp, mask, WEIGHTS)["approx_kl"]
    assert paper.item() == pytest.approx(official.item() / 2, rel=1e-3)


def test_paper_kl_vanishes_at_the_label(place):
    """A student whose probability is the label's Gaussian has nothing to learn; any other has."""
    mu, sigma = 630.0, 60.0
    hypotheses = place.put(torch.linspace(450, 850, 9))
    gaussian = -0.5 * ((hypotheses - mu) / sigma) ** 2
    logits = {stage: gaussian[None, :, None, None].expand_as(values) for stage, values in random_logits(place).items()}
    arguments = (everywhere(place, mu), everywhere(place, sigma), everywhere(place, 1.0), WEIGHTS)
    assert float(DistillationLoss("paper")(student_outputs(logits), *arguments)["total"]) == pytest.approx(0, abs=1e-3)
    other = {stage: values.roll(1, dims=1) for stage, values in logits.items()}
    assert DistillationLoss("paper")(student_outputs(other), *arguments)["total"] > 0.1


def test_paper_kl_of_unevenly_spaced_hypotheses(place):
    """The label's share of a hypothesis is the Gaussian's integral over the depths that are closest to it."""
    mu, sigma = 1200.0, 250.0
    hypotheses = 1 / torch.linspace(1 / 450, 1 / 4500, 65)
    borders = 0.5 * (hypotheses[1:] + hypotheses[:-1])
    below = torch.cat([torch.zeros(1), torch.special.ndtr((borders - mu) / sigma), torch.ones(1)])
    hypotheses, below = place.put((hypotheses, below))
    outputs = student_outputs(random_logits(place, depths=65))
    for output in outputs.values():
        output["depth_values"] = hypotheses[None, :, None, None].expand_as(output["prob_volume"])
        output["prob_volume"] = below.diff()[None, :, None, None].expand_as(output["prob_volume"])
    arguments = (everywhere(place, mu), everywhere(place, sigma), everywhere(place, 1.0), WEIGHTS)
    assert float(DistillationLoss("paper")(outputs, *arguments)["total"]) == pytest.approx(0, abs=1e-2)


@pytest.mark.parametrize("outside", [440.0, 860.0])
def test_paper_kl_leaves_out_labels_beyond_the_hypotheses(place, outside):
    """Pixels whose label no hypothesis reaches weigh as if they had none."""
    outputs, (mu, sigma, mask) = student_outputs(random_logits(place)), random_labels(place)
    beyond = {stage: value.clone() for stage, value in mu.items()}
    without = {stage: value.clone() for stage, value in mask.items()}
    for stage in STAGES:
        beyond[stage][:, ::2] = outside
        without[stage][:, ::2] = False
    loss = DistillationLoss("paper")
    with_them = loss(outputs, beyond, sigma, mask, WEIGHTS)["total"]
    place.assert_same("mean of losses", with_them, loss(outputs, mu, sigma, without, WEIGHTS)["total"])
    assert loss(outputs, everywhere(place, outside), sigma, mask, WEIGHTS)["total"] == 0


@pytest.mark.parametrize("variant", ["official", "paper"])
def test_distillation_prefers_the_label(place, variant):
    """Probability at the labelled hypothesis costs less than at its neighbour."""
    hypotheses = torch.linspace(450, 850, 9)
    totals = []
    for best in (4, 5):
        logits = {stage: torch.zeros_like(values) for stage, values in random_logits(place).items()}
        for values in logits.values():
            values[:, best] = 4.0
        label = everywhere(place, float(hypotheses[4]))
        losses = DistillationLoss(variant)(
            student_outputs(logits), label, everywhere(place, 5.0), everywhere(place, 1.0), WEIGHTS
        )
        totals.append(float(losses["total"]))
    assert totals[0] < totals[1]

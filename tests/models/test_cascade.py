"""The coarse-to-fine network: the official outputs, samples that do not disturb each other, and its settings."""

import numpy as np
import pytest
import torch
from helpers import GOLDEN, golden_inputs, golden_network
from places import Place

from models import build_model, slabs
from models.blocks import fold
from models.features import FeatureNet
from models.hypotheses import first_hypotheses, refined_hypotheses
from models.settings import SPACINGS


@pytest.fixture(scope="module", params=["student", "teacher"])
def golden(request):
    """Either network in evaluation mode, with the golden files' weights."""
    return golden_network(request.param).eval()


@pytest.fixture
def network(golden, place):
    """The same, where the tests compute."""
    return place.put(golden)


@pytest.fixture
def run(place):
    """A function that passes a sample through a network, in the precision of the tests."""

    @torch.no_grad()
    def compute(network, imgs, proj_matrices, depth_values) -> dict:
        with place.autocast():
            return network(*place.put((imgs, proj_matrices, depth_values)))

    return compute


def test_golden_outputs(place, network, run):
    """Depth, confidence and log-variance of every stage as the official network gives them."""
    golden = np.load(GOLDEN / f"{network.kind}_eval.npz")
    outputs, student = run(network, *golden_inputs()), network.kind == "student"
    for stage in ("stage1", "stage2", "stage3"):
        depth = "chosen depth" if student else "depth"
        place.assert_same(depth, outputs[stage]["depth"], golden[f"{stage}_depth"], stage)
        confidence = outputs[stage]["photometric_confidence"]
        place.assert_same("chosen confidence", confidence, golden[f"{stage}_photometric_confidence"], stage)
        if not student:
            place.assert_same("log-variance", outputs[stage]["var"], golden[f"{stage}_var"], stage)
    if student:
        difference = outputs["stage3"]["prob_volume"] - place.put(torch.from_numpy(golden["stage3_prob"]))
        difference = difference.abs().amax(dim=1)
        place.assert_same("chosen confidence", difference, torch.zeros(difference.shape), "probability")
    assert outputs["depth"] is outputs["stage3"]["depth"]
    assert outputs["photometric_confidence"] is outputs["stage3"]["photometric_confidence"]


def test_batch_of_two_equals_two_singles(place, network, run):
    """Two samples of other images, cameras and depth ranges come out as each would alone."""
    imgs, proj_matrices, depth_values = golden_inputs()
    order = [2, 0, 3, 1]
    other = (1 - imgs[:, order], {k: v[:, order] for k, v in proj_matrices.items()}, depth_values * 1.1 - 20)
    together = run(
        network,
        torch.cat([imgs, other[0]]),
        {stage: torch.cat([proj_matrices[stage], other[1][stage]]) for stage in proj_matrices},
        torch.cat([depth_values, other[2]]),
    )
    for i, sample in enumerate([(imgs, proj_matrices, depth_values), other]):
        alone = run(network, *sample)
        for stage in ("stage1", "stage2", "stage3"):
            for name in ("depth", "photometric_confidence"):
                quantity = "depth in a batch" if name == "depth" else "confidence in a batch"
                place.assert_same(quantity, together[stage][name][i], alone[stage][name][0], f"{stage} {name}")


def test_each_sample_has_its_own_depth_range(place):
    """Stage 1 spans each sample's range; a refined stage spans count * step about each pixel's depth."""
    depth_values = place.put(torch.tensor([[400.0, 500.0, 600.0], [1.0, 2.0, 3.0]]))
    hypotheses = first_hypotheses(depth_values, 5, (2, 3))
    place.assert_same("hypothesis", hypotheses[0, :, 0, 0], [400.0, 450.0, 500.0, 550.0, 600.0])
    place.assert_same("hypothesis", hypotheses[1, :, 1, 2], [1.0, 1.5, 2.0, 2.5, 3.0])

    depth = place.put(torch.stack([torch.full((2, 3), 500.0), torch.full((2, 3), 2.0)]))
    refined = refined_hypotheses(depth, 5, 0.12, depth_values, (8, 12), (4, 6))  # 0.12 of 200/3 and of 2/3
    assert refined.shape == (2, 5, 4, 6)
    place.assert_same("hypothesis", refined[0, :, 0, 0], [480.0, 490.0, 500.0, 510.0, 520.0])
    place.assert_same("hypothesis", refined[1, :, 3, 5], [1.8, 1.9, 2.0, 2.1, 2.2])


def test_inverse_spacing(place):
    """Steps are equal in inverse depth, and grow and shrink with the depth; "auto" chooses by each sample's range."""
    depth_values = place.put(torch.tensor([[1.0, 2.0, 10.0], [400.0, 500.0, 600.0]]))
    linear, inverse, auto = (first_hypotheses(depth_values, 5, (1, 1), s)[:, :, 0, 0] for s in SPACINGS)
    place.assert_same("hypothesis", 1 / inverse[0], [1.0, 0.775, 0.55, 0.325, 0.1])
    place.assert_same("hypothesis", auto, torch.stack([inverse[0], linear[1]]))

    depth = place.put(torch.tensor([2.0, 500.0])[:, None, None].expand(-1, 2, 2))
    linear, inverse, auto = (
        refined_hypotheses(depth, 3, 0.25, depth_values, (4, 4), (2, 2), spacing)[:, :, 1, 1] for spacing in SPACINGS
    )
    place.assert_same("hypothesis", 1 / inverse[0], [0.6125, 0.5, 0.3875])  # 0.25 of 0.9 / 3, three times
    place.assert_same("hypothesis", auto, torch.stack([inverse[0], linear[1]]))
    assert (inverse[:, 1:] > inverse[:, :-1]).all()


def test_inverse_spacing_stays_in_front_of_the_camera():
    """Far depths have no hypothesis at or beyond infinity, however wide the span."""
    depth_values = torch.tensor([[1.0, 500.0, 1000.0]])
    for depth in (1.0, 900.0, 1e6):
        hypotheses = refined_hypotheses(torch.full((1, 2, 2), depth), 8, 4, depth_values, (4, 4), (2, 2), "inverse")
        assert hypotheses.isfinite().all() and (hypotheses > 0).all() and (hypotheses <= 4001).all()


def test_spacing_changes_the_network(place, network, run):
    """A network samples as its settings say; linear is the official way."""
    inverse = place.put(golden_network(network.kind, spacing="inverse").eval())
    stage = run(inverse, *golden_inputs())["stage1"]["depth_values"][0, :, 0, 0]
    steps = (1 / stage).diff()
    place.assert_same("inverse steps", steps, steps.mean().expand(len(steps)))
    assert network.settings.spacing == "linear"


def test_depths_lie_within_their_hypotheses(place, network, run):
    """The student picks one of the hypotheses, the teacher a mean of them; probabilities sum to 1."""
    outputs = run(network, *golden_inputs())
    for stage in ("stage1", "stage2", "stage3"):
        output = outputs[stage]
        depth, hypotheses = output["depth"], output["depth_values"]
        assert ((depth >= hypotheses[:, 0] - 1e-3) & (depth <= hypotheses[:, -1] + 1e-3)).all()
        if network.kind == "student":
            assert ((hypotheses - depth[:, None]).abs().amin(dim=1) == 0).all()
        place.assert_same("hypothesis", output["prob_volume"].sum(dim=1), torch.ones_like(depth))


@pytest.mark.parametrize("amp", [False, True])
@pytest.mark.parametrize("kind", ["student", "teacher"])
def test_training_without_gradients_is_training(monkeypatch, kind, amp):
    """Prediction's shortcuts depend on the mode: under no_grad a network in training gives the same depths and counts
    each view's and each volume's BatchNorm statistics once, to the last bit."""
    monkeypatch.setattr(slabs, "SLAB_BYTES", 1 << 12)  # so that prediction works in slabs at this small size
    results = []
    for gradients in (True, False):
        network = golden_network(kind).train()
        with torch.set_grad_enabled(gradients), torch.autocast("cpu", torch.bfloat16, enabled=amp):
            outputs = network(*golden_inputs())
        results.append((outputs["depth"].detach(), dict(network.named_buffers())))
    (depth, statistics), (depth_without, statistics_without) = results
    assert torch.equal(depth, depth_without)
    for name, value in statistics.items():
        assert torch.equal(value, statistics_without[name]), name
    views = golden_inputs()[0].shape[1]
    assert statistics["feature.conv0.0.bn.num_batches_tracked"] == views
    assert statistics["cost_regularization.0.conv1.bn.num_batches_tracked"] == 1


def test_evaluation_with_gradients(place, network, run):
    """In evaluation mode a gradient can be asked for, and the confidence is that of prediction to rounding."""
    imgs, *others = place.put(golden_inputs())
    imgs.requires_grad_()
    with place.autocast():
        confidence = network(imgs, *others)["stage1"]["photometric_confidence"]
    place.assert_same(
        "chosen confidence", confidence, run(network, *golden_inputs())["stage1"]["photometric_confidence"]
    )
    confidence.sum().backward()
    assert imgs.grad.isfinite().all() and imgs.grad.abs().max() > 0


@pytest.mark.parametrize("kind", ["student", "teacher"])
def test_share_cr_shares_the_regularisation(kind):
    """Every layer but the first is one object at all stages, which saves the parameters of two of them."""
    shared, separate = build_model(kind, share_cr=True), build_model(kind)
    first, *others = shared.cost_regularization
    for other in others:
        same = {name for name, layer in other.named_children() if layer is getattr(first, name)}
        assert {name for name, _ in other.named_children()} - same == {first.input_name}

    def count(module) -> int:
        return sum(parameter.numel() for parameter in module.parameters())

    common = count(first) - count(getattr(first, first.input_name))
    assert count(separate) - count(shared) == 2 * common > 0
    weights = dict(shared.named_parameters(remove_duplicate=False))
    assert weights["cost_regularization.0.prob.weight"] is weights["cost_regularization.2.prob.weight"]


@pytest.mark.parametrize(("grad_method", "reaches"), [("detach", False), ("undetach", True)])
def test_grad_method_links_the_stages(place, grad_method, reaches):
    """The last stage's depth has a gradient to the first stage's regularisation only with undetach."""
    imgs, proj_matrices, depth_values = place.put(golden_inputs())
    network = place.put(golden_network("teacher", grad_method=grad_method).eval())
    network(imgs[:, :2], {k: v[:, :2] for k, v in proj_matrices.items()}, depth_values)["depth"].sum().backward()
    assert (network.cost_regularization[0].prob.weight.grad is not None) == reaches
    assert network.cost_regularization[2].prob.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "professor"}, "kind 'professor'"),
        ({"ndepths": (48, 32)}, "three numbers each"),
        ({"ndepths": (48, 32, 9)}, "multiples of 8"),
        ({"ndepths": (48, 32, 0)}, "multiples of 8"),
        ({"depth_interval_ratios": (4, 1)}, "three numbers each"),
        ({"cr_base_chs": (8, 8, 8, 8)}, "three numbers each"),
        ({"grad_method": "both"}, "grad_method 'both'"),
        ({"read_out": "mode"}, "is none of official, local, median"),
        ({"view_weights": "best"}, "is none of equal, learned"),
        ({"share_cr": True, "cr_base_chs": (8, 8, 4)}, "same cr_base_chs"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    """A setting the network cannot have raises ValueError saying so."""
    with pytest.raises(ValueError, match=message):
        build_model(**{"kind": "student", **settings})


def test_views_together_are_views_alone(place):
    """Mixed precision passes all views at once: features and running statistics as of one view after another."""
    torch.manual_seed(1)
    together, alone = FeatureNet().train(), FeatureNet().train()
    alone.load_state_dict(together.state_dict())
    together, alone, imgs = place.put((together, alone, torch.rand(2, 3, 3, 32, 64)))
    expected = [torch.stack(levels, dim=1) for levels in zip(*map(alone, imgs.unbind(1)), strict=True)]
    for ours, theirs in zip(together(imgs), expected, strict=True):
        place.assert_same("features", ours, theirs)
    for (name, ours), theirs in zip(together.state_dict().items(), alone.state_dict().values(), strict=True):
        place.assert_same("statistics", ours, theirs, name)


@pytest.mark.parametrize("kind", ["student", "teacher"])
def test_checkpointed_stages_train_alike(kind):
    """Computing the stages again in the backward pass changes no gradient and no running statistic."""
    imgs, proj_matrices, depth_values = golden_inputs()
    states = []
    for checkpoint_stages in (False, True):
        torch.manual_seed(1)
        network = build_model(kind, checkpoint_stages=checkpoint_stages).train()
        outputs = network(imgs, proj_matrices, depth_values)
        sum((outputs[stage]["prob_volume"] ** 2).mean() for stage in ("stage1", "stage2", "stage3")).backward()
        gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
        states.append((gradients, network.state_dict()))
    for plain, checkpointed in zip(*states, strict=True):
        assert plain.keys() == checkpointed.keys()
        for name, tensor in plain.items():
            torch.testing.assert_close(checkpointed[name], tensor, rtol=1e-5, atol=1e-8, msg=name)


@pytest.mark.parametrize("kind", ["student", "teacher"])
@torch.no_grad()
def test_volumes_in_slabs_give_the_same_depth(place, kind, monkeypatch):
    """Slabs of a few rows, of which each needs its neighbours: depth and confidences of the whole volume."""
    network = fold(place.put(golden_network(kind).eval()), place.dtype)
    imgs, proj_matrices, depth_values = place.put(golden_inputs())
    features = [stage.unbind(1) for stage in network.extract_features(imgs)]
    depth, confidences = network.depth_of_features(features, proj_matrices, depth_values)
    monkeypatch.setattr(slabs, "SLAB_BYTES", place.slab_bytes)
    in_slabs, in_slabs_confidences = network.depth_of_features(features, proj_matrices, depth_values)
    place.assert_same("chosen depth" if kind == "student" else "depth", in_slabs, depth)
    for ours, whole in zip(in_slabs_confidences, confidences, strict=True):
        place.assert_same("chosen confidence" if kind == "student" else "confidence", ours, whole)


# ---------------------------------------------------------------- the student's read-out


def read_out(kind: str, probability: list[float], place: Place) -> float:
    """Depth that a student reads out of a distribution over the depths 10, 20, ... of one pixel."""
    network = build_model("student", read_out=kind)
    volume = torch.tensor(probability)[None, :, None, None]
    hypotheses = 10.0 * torch.arange(1, len(probability) + 1)[None, :, None, None]
    return float(network._read_out(*place.put((volume, hypotheses)))[0])


@pytest.mark.parametrize(
    ("probability", "official", "local", "median"),
    [
        ([0, 0, 1, 0, 0], 30, 30, 30),
        ([0, 0, 0.5, 0.5, 0], 30, 35, 35),  # between two hypotheses
        ([0, 0.25, 0.5, 0.25, 0], 30, 30, 30),
        ([0.6, 0.4, 0, 0, 0], 10, 14, 10 + 10 * (0.5 / 0.6 - 0.5)),  # at the first hypothesis
        ([0, 0, 0, 0.4, 0.6], 50, 46, 50 - 10 * (0.5 / 0.6 - 0.5)),  # at the last one
        ([0.4, 0, 0, 0, 0.6], 50, 50, 50 - 10 * (0.5 / 0.6 - 0.5)),  # two modes are not mixed
    ],
)
def test_read_outs(place, probability, official, local, median):
    """Depths of known distributions."""
    assert read_out("official", probability, place) == official
    assert read_out("local", probability, place) == pytest.approx(local)
    assert read_out("median", probability, place) == pytest.approx(median)


def test_the_median_has_the_least_expected_absolute_error(place):
    """No other hypothesis is expected to be nearer, for random distributions."""
    generator = torch.Generator().manual_seed(0)
    depths = 10.0 * torch.arange(1, 9)
    for _ in range(50):
        probability = torch.rand(8, generator=generator).pow(4)
        probability /= probability.sum()
        errors = [float((probability * (depths - depth).abs()).sum()) for depth in depths]
        found = read_out("median", probability.tolist(), place)
        assert (
            float((probability * (depths - found).abs()).sum()) <= min(errors) + 2.5
        )  # half a hypothesis's own spread

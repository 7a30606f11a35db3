"""Networks that weigh their source views: equal at first, learned in training, the same in every way of computing."""

import pytest
import torch
from helpers import (
    FAST,
    golden_inputs,
    golden_network,
    run_program,
    succeed,
    write_checkpoint,
    write_exact_labels,
)
from places import Place
from torch import Tensor, nn

from datasets.formats.pfm import read_pfm
from datasets.synthetic.scans import write_training_layout
from models import build_model, slabs
from models.blocks import fold
from models.checkpoint import load_model, load_start
from models.settings import STAGES
from models.visibility import GROUPS, VisibilityNet

KINDS = ("student", "teacher")


def started(kind: str, **settings) -> nn.Module:
    """A weighed network that starts from the weights of an unweighed one, in evaluation mode."""
    network = build_model(kind, view_weights="learned", **settings)
    load_start(network, golden_network(kind).state_dict(), "start.ckpt")
    return network.eval()


def weighed_network(kind: str, **settings) -> nn.Module:
    """A weighed network with weights by rule, whose views' weights differ."""
    network = golden_network(kind, view_weights="learned", **settings)
    with torch.no_grad():
        network.visibility.weight.weight *= 20
    return network


@torch.no_grad()
def predict(network: nn.Module, place: Place = Place(torch.device("cpu"))) -> tuple[Tensor, list[Tensor]]:
    """Depth and confidences as the programs predict them, view by view."""
    imgs, proj_matrices, depth_values = place.put(golden_inputs())
    features = [stage.unbind(1) for stage in network.extract_features(imgs)]
    return network.depth_of_features(features, proj_matrices, depth_values)


def random_similarity(seed: int = 0) -> Tensor:
    """[2, 3, GROUPS + 1, 8, 6, 9] in -1..1, the coverage in 0..1."""
    similarity = 2 * torch.rand(2, 3, GROUPS + 1, 8, 6, 9, generator=torch.Generator().manual_seed(seed)) - 1
    similarity[:, :, GROUPS].abs_()
    return similarity


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS)
def test_at_first_a_weighed_network_is_the_unweighed_one(kind, dtype):
    """To the last bit, also in bf16: all weights are 1."""
    plain, weighed = (fold(network, dtype) for network in (golden_network(kind).eval(), started(kind)))
    (depth, confidences), (expected, theirs) = predict(weighed), predict(plain)
    assert torch.equal(depth, expected)
    assert all(torch.equal(ours, other) for ours, other in zip(confidences, theirs, strict=True))


def test_a_start_forgets_weights_that_the_network_has_no_use_for():
    """An unweighed network starts from a weighed one's other weights."""
    weighed, plain = weighed_network("student"), build_model("student")
    load_start(plain, weighed.state_dict(), "start.ckpt")
    assert all(torch.equal(value, weighed.state_dict()[key]) for key, value in plain.state_dict().items())


def test_weights_are_positive_and_their_mean_is_one(place):
    """So that a volume's values stay about as large whichever sources count."""
    torch.manual_seed(1)
    network = VisibilityNet().eval()
    nn.init.normal_(network.weight.weight, std=10)
    with place.autocast():
        weights = place.put(network)(place.put(random_similarity()))
    place.assert_same("hypothesis", weights.mean(dim=1), torch.ones(2, 6, 9))
    assert weights.shape == (2, 3, 6, 9) and (weights > 0).all() and weights.std() > 0.1


def test_the_sources_order_does_not_matter(place):
    """Each keeps its weights wherever it stands in the list."""
    torch.manual_seed(1)
    network = VisibilityNet().eval()
    nn.init.normal_(network.weight.weight)
    network, similarity, order = place.put(network), place.put(random_similarity()), [2, 0, 1]
    with place.autocast():
        place.assert_same("view weights", network(similarity[:, order]), network(similarity)[:, order])


def test_it_learns_which_source_does_not_see_the_surface():
    """Two of three sources agree at one hypothesis, the third is as similar to the reference at another: within a few
    steps it counts less, on scenes that it was not taught as well."""
    torch.manual_seed(0)

    def scene() -> tuple[Tensor, Tensor]:
        """Similarity, and which source is occluded [2, 6, 9]."""
        similarity = 0.3 * random_similarity(int(torch.randint(1000, ())))
        similarity[:, :, GROUPS] = 1
        occluded = torch.randint(3, (2, 1, 1)).expand(2, 6, 9)
        surface = torch.randint(4, (2,))
        for i in range(2):
            for j in range(3):
                peak = surface[i] + (4 if j == occluded[i, 0, 0] else 0)
                similarity[i, j, :GROUPS, peak] += 0.7
        return similarity, occluded

    network = VisibilityNet().train()
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(60):
        similarity, occluded = scene()
        loss = network(similarity).gather(1, occluded[:, None]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    similarity, occluded = scene()
    with torch.no_grad():
        assert network.eval()(similarity).gather(1, occluded[:, None]).mean() < 0.3


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_learns(kind):
    """In the first step all have a gradient, which distributed training waits for, and in the second none is zero."""
    torch.manual_seed(1)
    network = started(kind).train()
    imgs, *others = golden_inputs()
    for step in range(2):
        network.zero_grad()
        outputs = network(imgs, *others)
        losses = [(outputs[stage]["prob_volume"] ** 2).mean() for stage in STAGES]
        losses += [outputs[stage]["var"].mean() for stage in STAGES if kind == "teacher"]
        sum(losses).backward()
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name
            if step:
                assert parameter.grad.abs().max() > 0, name
        nn.init.normal_(network.visibility.weight.weight)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_prediction_is_evaluation(place, kind, monkeypatch):
    """`depth_of_features` and `forward` agree, in slabs of a few rows too."""
    network = place.put(weighed_network(kind).eval())
    with place.autocast():
        outputs = network(*place.put(golden_inputs()))
    assert place.fake or outputs["view_weights"].std() > 0.05
    for slab_bytes in (slabs.SLAB_BYTES, place.slab_bytes):
        monkeypatch.setattr(slabs, "SLAB_BYTES", slab_bytes)
        with place.autocast():
            depth, confidences = predict(network, place)
        place.assert_same("depth in a batch", depth, outputs["depth"])
        for stage, confidence in zip(STAGES, confidences, strict=True):
            place.assert_same("confidence in a batch", confidence, outputs[stage]["photometric_confidence"])


@torch.no_grad()
def test_batch_of_two_equals_two_singles(place):
    """Samples do not disturb each other."""
    network = place.put(weighed_network("student").eval())
    imgs, proj_matrices, depth_values = golden_inputs()
    order = [2, 0, 3, 1]
    other = (1 - imgs[:, order], {k: v[:, order] for k, v in proj_matrices.items()}, depth_values * 1.1 - 20)
    both = {stage: torch.cat([proj_matrices[stage], other[1][stage]]) for stage in STAGES}
    with place.autocast():
        together = network(*place.put((torch.cat([imgs, other[0]]), both, torch.cat([depth_values, other[2]]))))
        for i, sample in enumerate([(imgs, proj_matrices, depth_values), other]):
            alone = network(*place.put(sample))
            place.assert_same("view weights", together["view_weights"][i], alone["view_weights"][0])
            place.assert_same("depth in a batch", together["depth"][i], alone["depth"][0])


@pytest.mark.parametrize("kind", KINDS)
def test_plain_definition_weighs_alike(place, kind, monkeypatch):
    """The device's kernels and the plain definition give the same loss and gradients of the whole network."""
    place.needs(values=True, float64=True)
    results = []
    for implementation in ("plain", "streamed", "auto"):
        monkeypatch.setenv("KDMVS_PLANE_SWEEP", implementation)
        network = place.put(weighed_network(kind).double().eval())
        loss = network(*place.put(golden_inputs_in_double()))["stage1"]["prob_volume"].square().mean()
        loss.backward()
        results.append((loss, {name: p.grad for name, p in network.visibility.named_parameters()}))
    for loss, gradients in results[1:]:
        place.assert_same("loss of the same volume", loss, results[0][0])
        for name, gradient in gradients.items():
            place.assert_same("gradient of the same volume", gradient, results[0][1][name], name)


def golden_inputs_in_double() -> tuple[Tensor, dict[str, Tensor], Tensor]:
    """The golden images in double precision, so that the layers round little; geometry stays in float32."""
    imgs, *others = golden_inputs()
    return imgs.double(), *others


@pytest.mark.parametrize("amp", [False, True])
def test_training_without_gradients_is_training(one_thread, monkeypatch, amp):
    """Prediction's shortcuts depend on the mode: the same depth, and every statistic counted once."""
    monkeypatch.setattr(slabs, "SLAB_BYTES", 1 << 12)
    results = []
    for grad in (True, False):
        network = weighed_network("student").train()
        with torch.set_grad_enabled(grad), torch.autocast("cpu", torch.bfloat16, enabled=amp):
            outputs = network(*golden_inputs())
        results.append((outputs["depth"].detach(), dict(network.named_buffers())))
    assert torch.equal(results[0][0], results[1][0])
    for name, value in results[0][1].items():
        assert torch.equal(value, results[1][1][name]), name
    assert results[0][1]["visibility.consensus.bn.num_batches_tracked"] == 1


def test_checkpointed_stages_train_alike():
    """Computing again in the backward pass changes no gradient and no running statistic."""
    states = []
    for checkpoint_stages in (False, True):
        network = weighed_network("student", checkpoint_stages=checkpoint_stages).train()
        outputs = network(*golden_inputs())
        sum((outputs[stage]["prob_volume"] ** 2).mean() for stage in STAGES).backward()
        states.append(({name: p.grad for name, p in network.named_parameters()}, network.state_dict()))
    for plain, checkpointed in zip(*states, strict=True):
        for name, tensor in plain.items():
            torch.testing.assert_close(checkpointed[name], tensor, rtol=1e-5, atol=1e-8, msg=name)


@torch.no_grad()
def test_a_single_source_counts_as_without_weights():
    """There is nothing to weigh it against."""
    imgs, proj_matrices, depth_values = golden_inputs()
    pair = (imgs[:, :2], {stage: P[:, :2] for stage, P in proj_matrices.items()}, depth_values)
    weighed, plain = weighed_network("student").eval(), golden_network("student").eval()
    assert (weighed(*pair)["view_weights"] == 1).all()
    assert torch.equal(weighed(*pair)["depth"], plain(*pair)["depth"])


def test_programs_train_and_use_a_weighed_inverse_student(tmp_path):
    """From an unweighed checkpoint; what it becomes is stored in its own, which prediction needs no flags for."""
    write_training_layout(tmp_path, {"scan1": 1}, 64, 32, 3, lights=(6,))
    write_exact_labels(tmp_path, "scan1", 3)
    start = write_checkpoint(tmp_path / "start.ckpt")
    data = ("--trainpath", tmp_path, "--trainlist", "all", "--pseudopath", tmp_path / "labels", "--nviews", 3)
    network = ("--loadckpt", start, "--view_weights", "learned", "--spacing", "inverse", "--loss", "paper")
    steps = ("--epochs", 1, "--max_steps", 2, "--logdir", tmp_path / "log")
    succeed(run_program("train_kd.py", *data, *network, *steps, *FAST))
    (path,) = (tmp_path / "log").glob("*.ckpt")
    trained = load_model(path)
    assert (trained.settings.view_weights, trained.settings.spacing) == ("learned", "inverse")
    assert trained.visibility.weight.weight.abs().max() > 0
    flags = ("--testpath", tmp_path, "--outdir", tmp_path / "est", "--loadckpt", path, "--num_view", 3)
    succeed(run_program("tools/predict.py", *flags, *FAST))
    depths = list((tmp_path / "est").rglob("depth_est/*.pfm"))
    assert len(depths) == 3 and all((read_pfm(depth) > 0).all() for depth in depths)

"""Source views that count by pixel in the cost volume, and the similarity that their weights follow from."""

import pytest
import torch
from places import Place
from plane_sweep_inputs import FUSED, HEIGHT, WIDTH, Inputs, fixed_weights, here, random_inputs

from models.plane_sweep import numba_cpu
from models.plane_sweep.definition import project_pixels, source_transforms
from models.plane_sweep.similarity import similarity_volume

Results = tuple[torch.Tensor, ...]


@pytest.fixture(params=["streamed", *FUSED])
def implementation(request, place) -> str:
    """Each implementation but the plain definition, which is what they are compared with."""
    return here(request.param, place)


@pytest.fixture(params=["plain", "streamed", *FUSED])
def any_implementation(request, place) -> str:
    """Each implementation."""
    return here(request.param, place)


@pytest.fixture(params=["plain", "numba"])
def of_similarity(request, place) -> str:
    """Each implementation of the similarity."""
    return here(request.param, place)


def random_weights(inputs: Inputs, seed: int = 6) -> torch.Tensor:
    """Weights [B, N-1, H, W] in 0..2, some of them zero, where the inputs are."""
    batch, views = inputs.features.shape[:2]
    shape = (batch, views - 1, *inputs.hypotheses.shape[-2:])
    weights = (3 * torch.rand(shape, generator=torch.Generator().manual_seed(seed)) - 1).clamp(min=0)
    return weights.to(inputs.features.device)


def gradients(result: torch.Tensor, *inputs: torch.Tensor) -> Results:
    """The result, and the gradients of its sum with fixed weights."""
    return result.detach(), *torch.autograd.grad((fixed_weights(result) * result).sum(), inputs)


def weighed(inputs: Inputs, weights: torch.Tensor, implementation: str) -> Results:
    """The weighed volume, and its gradients to features and weights."""
    features, weights = inputs.features.detach().requires_grad_(), weights.detach().requires_grad_()
    volume = inputs._replace(features=features).volume(implementation, view_weights=weights)
    return gradients(volume, features, weights)


def similarity(inputs: Inputs, implementation: str, groups: int = 4, **options) -> Results:
    """The similarity, and its gradient to the features."""
    features = inputs.features.detach().requires_grad_()
    arguments = (inputs.proj_matrices, inputs.hypotheses, groups, implementation)
    return gradients(similarity_volume(features, *arguments, **options), features)


def assert_same(place: Place, ours: Results, expected: Results) -> None:
    """Results and gradients within what another order of float32 sums changes."""
    place.assert_same("volume", ours[0], expected[0])
    for gradient, theirs in zip(ours[1:], expected[1:], strict=True):
        place.assert_same("weighed volume's gradient", gradient, theirs)


# ---------------------------------------------------------------- the weighed cost volume


def test_a_weight_counts_a_source_so_many_times(place, implementation):
    """Weight 2 is a source seen twice, weight 0 one that is left out."""
    inputs = place.put(random_inputs(views=4, depths=3))
    weights = place.put(torch.tensor([2.0, 1.0, 0.0])[:, None, None].expand(2, -1, HEIGHT, WIDTH))
    order = [0, 1, 1, 2]
    repeated = Inputs(inputs.features[:, order], inputs.proj_matrices[:, order], inputs.hypotheses)
    place.assert_same("volume", inputs.volume(implementation, view_weights=weights), repeated.volume("plain"))


def test_weights_of_one_change_no_bit(place, any_implementation):
    """So that a network whose weights are equal predicts what one without weights does."""
    inputs = place.put(random_inputs(views=5, channels=8, depths=3))
    ones = place.put(torch.ones(2, 4, HEIGHT, WIDTH))
    equal, without = inputs.volume(any_implementation, view_weights=ones), inputs.volume(any_implementation)
    if place.device.type == "cuda" and any_implementation in ("plain", "streamed"):
        place.assert_same("volume", equal, without)  # torch multiplies there by the inverse of a number of views
    else:
        assert torch.equal(equal, without)


@pytest.mark.parametrize(("views", "channels"), [(2, 32), (2, 3), (5, 1), (5, 8)])
def test_same_as_plain(place, implementation, views, channels):
    """Volume and gradients are those of the definition, whose gradients are autograd's."""
    inputs = place.put(random_inputs(views=views, channels=channels, depths=3))
    weights = random_weights(inputs)
    assert_same(place, weighed(inputs, weights, implementation), weighed(inputs, weights, "plain"))


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (5, 1), (2, 300)])
def test_same_as_plain_for_any_size(place, implementation, size):
    """One pixel, row or column, and rows longer than a kernel's tile; a single hypothesis."""
    inputs = place.put(random_inputs(size=size, depths=1, channels=8))
    weights = random_weights(inputs)
    assert_same(place, weighed(inputs, weights, implementation), weighed(inputs, weights, "plain"))


def test_gradients_of_blocks_of_rows(monkeypatch):
    """The backward pass adds up what it finds block by block."""
    inputs = random_inputs(channels=8)
    weights = random_weights(inputs)
    monkeypatch.setattr(numba_cpu, "_BLOCK_VALUES", 1)
    assert_same(Place(torch.device("cpu")), weighed(inputs, weights, "numba"), weighed(inputs, weights, "plain"))


def test_repeated_runs_are_identical(place, implementation):
    """Volume and gradients bit by bit; the definition's gradient to the features is torch's own."""
    if implementation == "streamed" and place.device.type == "cuda":
        pytest.skip("torch adds a gradient up in any order on GPUs")
    inputs = place.put(random_inputs(channels=8, depths=3))
    first, second = (weighed(inputs, random_weights(inputs), implementation) for _ in range(2))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(first, second, strict=True))


def test_weights_that_are_not_finite_stay_visible(place, implementation):
    """In every gradient that they reach: training skips a step by them."""
    inputs = place.put(random_inputs(depths=3))
    weights = random_weights(inputs)
    weights[0, 0, 0, 0] = float("nan")
    _, of_features, of_weights = weighed(inputs, weights, implementation)
    assert not of_features.isfinite().all() and not of_weights.isfinite().all()


@pytest.mark.parametrize(("first_row", "last_row"), [(0, 1), (2, 5), (HEIGHT - 3, HEIGHT)])
def test_rows_are_the_whole_ones(place, any_implementation, first_row, last_row):
    """The volume can be made in slabs, on CPUs bit by bit."""
    inputs, rows = place.put(random_inputs(depths=3)), slice(first_row, last_row)
    weights = random_weights(inputs)
    part = inputs._replace(hypotheses=inputs.hypotheses[..., rows, :])
    volume = part.volume(any_implementation, first_row=first_row, view_weights=weights[..., rows, :])
    whole = inputs.volume(any_implementation, view_weights=weights)[..., rows, :]
    assert torch.equal(volume, whole) or place.device.type != "cpu"
    place.assert_same("volume of other rays", volume, whole)


def test_bfloat16_volume_is_the_rounded_one(place, implementation):
    """As without weights; Triton's interpreter cuts off instead."""
    inputs = place.put(random_inputs(channels=8, depths=3))
    weights = random_weights(inputs)
    exact = inputs.volume(implementation, view_weights=weights)
    volume = inputs.volume(implementation, view_weights=weights, dtype=torch.bfloat16)
    if implementation == "triton" and place.device.type == "cpu":
        torch.testing.assert_close(volume.float(), exact, rtol=2**-7, atol=1e-6)
    else:
        assert torch.equal(volume, exact.bfloat16())


def test_results_do_not_depend_on_the_number_of_threads():
    """One thread, two, and more than there are sources, among which the channels are shared out."""
    inputs = random_inputs(channels=16, size=(40, 60))
    weights = random_weights(inputs)
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2, 2, 7):
            torch.set_num_threads(count)
            results.append((*weighed(inputs, weights, "numba"), *similarity(inputs, "numba")))
    finally:
        torch.set_num_threads(threads)
    for others in results[1:]:
        assert all(torch.equal(other, first) for other, first in zip(others, results[0], strict=True))


def test_samples_do_not_disturb_each_other(place, implementation):
    """A batch of two is two singles."""
    inputs = place.put(random_inputs(depths=3))
    weights = random_weights(inputs)
    alone = Inputs(*(tensor[1:] for tensor in inputs))
    together = inputs.volume(implementation, view_weights=weights)[1:]
    place.assert_same("volume", together, alone.volume(implementation, view_weights=weights[1:]))


def test_weights_of_another_shape_are_refused(place, implementation):
    """Kernels would read beyond them."""
    inputs = place.put(random_inputs())
    weights = random_weights(inputs)
    for wrong in (weights[:, 1:], weights[:1], weights[..., 1:]):
        with pytest.raises(ValueError, match=r"view_weights .* do not go together"):
            inputs.volume(implementation, view_weights=wrong)


# ---------------------------------------------------------------- the similarity


@pytest.mark.parametrize(("channels", "groups"), [(4, 1), (4, 4), (8, 2), (32, 4)])
def test_similarity_is_the_plain_one(place, of_similarity, channels, groups):
    """Volume and gradient of the fused kernel are those of the definition."""
    inputs = place.put(random_inputs(views=4, channels=channels, depths=3))
    assert_same(place, similarity(inputs, of_similarity, groups), similarity(inputs, "plain", groups))


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (5, 1), (2, 300)])
def test_similarity_is_the_plain_one_for_any_size(place, of_similarity, size):
    """One pixel, row or column, and rows longer than a kernel's tile; a single hypothesis."""
    inputs = place.put(random_inputs(size=size, depths=1, channels=8))
    assert_same(place, similarity(inputs, of_similarity), similarity(inputs, "plain"))


@pytest.mark.parametrize(("first_row", "last_row"), [(0, 1), (2, 5), (HEIGHT - 3, HEIGHT)])
def test_rows_of_the_similarity_are_the_whole_ones(place, of_similarity, first_row, last_row):
    """It can be made in slabs, too."""
    inputs, rows = place.put(random_inputs()), slice(first_row, last_row)
    part = inputs._replace(hypotheses=inputs.hypotheses[..., rows, :])
    whole = similarity_volume(*inputs, 4, of_similarity)[..., rows, :]
    slab = similarity_volume(*part, 4, of_similarity, first_row)
    assert torch.equal(slab, whole) or place.device.type != "cpu"
    place.assert_same("volume of other rays", slab, whole)


def test_similarity_of_samples_that_do_not_disturb_each_other(place, of_similarity):
    """A batch of two is two singles."""
    inputs = place.put(random_inputs())
    alone = Inputs(*(tensor[1:] for tensor in inputs))
    together = similarity_volume(*inputs, 4, of_similarity)[1:]
    place.assert_same("volume", together, similarity_volume(*alone, 4, of_similarity))


def test_similarity_of_known_features(place, of_similarity):
    """Equal features are similar by 1 whatever their length, opposite ones by -1, one twice as long by 0.8; group by
    group. With coinciding cameras nothing moves and everything is covered."""
    inputs = place.put(random_inputs(batch=1, views=4, channels=4))
    reference = inputs.features[:, 0] + 5
    factors = place.put(torch.tensor([1.0, 1.0, 2.0, 2.0])[:, None, None])
    features = torch.stack([reference, reference, -reference, factors * reference], dim=1)
    same_place = inputs.proj_matrices[:, :1].expand(-1, 4, -1, -1, -1)
    volume = similarity_volume(features, same_place, inputs.hypotheses, 2, of_similarity)
    inside = volume[..., 1:-1, 1:-1]  # pixels whose position does not round out of the image
    expected = torch.tensor([(1, 1, 1), (-1, -1, 1), (1, 0.8, 1)])[:, :, None, None, None]
    place.assert_same("known similarity", inside, expected.expand(inside.shape))


def test_what_a_source_does_not_see_is_similar_to_nothing(place, of_similarity):
    """Similarity and coverage are exactly zero outside the source and behind it."""
    inputs = place.put(random_inputs())
    volume = similarity_volume(*inputs, 2, of_similarity)
    for j, src_T_ref in enumerate(source_transforms(inputs.proj_matrices)):
        u, v, z = project_pixels(src_T_ref, inputs.hypotheses)
        unseen = (z < 0) | (u < -1) | (u > WIDTH) | (v < -1) | (v > HEIGHT)
        assert unseen.any()
        assert all((volume[:, j, g][unseen] == 0).all() for g in range(3))


def test_groups_that_do_not_divide_the_channels_are_refused():
    """Four channels make no three groups."""
    with pytest.raises(ValueError, match="4 channels do not make 3 equal groups"):
        similarity_volume(*random_inputs(), 3)

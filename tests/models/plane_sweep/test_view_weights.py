"""Source views that count by pixel in the cost volume, and the similarity that their weights follow from."""

import pytest
import torch
from plane_sweep_inputs import HEIGHT, WIDTH, Inputs, random_inputs

from models.plane_sweep import numba_cpu
from models.plane_sweep.definition import project_pixels, source_transforms, variance_volume
from models.plane_sweep.similarity import similarity_volume

Results = tuple[torch.Tensor, ...]


@pytest.fixture(params=["streamed", "numba"])
def implementation(request) -> str:
    """Each implementation that knows weights but the plain definition, which is what they are compared with."""
    return request.param


def random_weights(inputs: Inputs, seed: int = 6) -> torch.Tensor:
    """Weights [B, N-1, H, W] in 0..2, some of them zero."""
    batch, views = inputs.features.shape[:2]
    shape = (batch, views - 1, *inputs.hypotheses.shape[-2:])
    return (3 * torch.rand(shape, generator=torch.Generator().manual_seed(seed)) - 1).clamp(min=0)


def gradients(result: torch.Tensor, *inputs: torch.Tensor) -> Results:
    """The result, and the gradients of its sum with fixed weights."""
    weights = torch.randn(result.shape, generator=torch.Generator().manual_seed(4))
    return result.detach(), *torch.autograd.grad((weights * result).sum(), inputs)


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


def assert_same(ours: Results, expected: Results) -> None:
    """Results and gradients within what another order of float32 sums changes."""
    torch.testing.assert_close(ours[0], expected[0], rtol=1e-5, atol=1e-5)
    for gradient, theirs in zip(ours[1:], expected[1:], strict=True):
        torch.testing.assert_close(gradient, theirs, rtol=1e-4, atol=2e-5)


# ---------------------------------------------------------------- the weighed cost volume


def test_a_weight_counts_a_source_so_many_times(implementation):
    """Weight 2 is a source seen twice, weight 0 one that is left out."""
    inputs = random_inputs(views=4)
    weights = torch.tensor([2.0, 1.0, 0.0])[:, None, None].expand(2, -1, HEIGHT, WIDTH)
    order = [0, 1, 1, 2]
    repeated = Inputs(inputs.features[:, order], inputs.proj_matrices[:, order], inputs.hypotheses)
    volume = inputs.volume(implementation, view_weights=weights)
    torch.testing.assert_close(volume, repeated.volume("plain"), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["plain", "streamed", "numba"])
def test_weights_of_one_change_no_bit(name):
    """So that a network whose weights are equal predicts what one without weights does."""
    inputs = random_inputs(views=5, channels=8)
    ones = torch.ones(2, 4, HEIGHT, WIDTH)
    assert torch.equal(inputs.volume(name, view_weights=ones), inputs.volume(name))


@pytest.mark.parametrize("views", [2, 5])
@pytest.mark.parametrize("channels", [1, 3, 8, 32])
def test_same_as_plain(implementation, views, channels):
    """Volume and gradients are those of the definition, whose gradients are autograd's."""
    inputs = random_inputs(views=views, channels=channels, depths=3)
    weights = random_weights(inputs)
    assert_same(weighed(inputs, weights, implementation), weighed(inputs, weights, "plain"))


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (5, 1), (2, 300)])
def test_same_as_plain_for_any_size(implementation, size):
    """One pixel, row or column, and rows longer than a kernel's tile; a single hypothesis."""
    inputs = random_inputs(size=size, depths=1, channels=8)
    weights = random_weights(inputs)
    assert_same(weighed(inputs, weights, implementation), weighed(inputs, weights, "plain"))
    assert_same(similarity(inputs, implementation), similarity(inputs, "plain"))


def test_gradients_of_blocks_of_rows(monkeypatch):
    """The backward pass adds up what it finds block by block."""
    inputs = random_inputs(channels=8)
    weights = random_weights(inputs)
    monkeypatch.setattr(numba_cpu, "_BLOCK_VALUES", 1)
    assert_same(weighed(inputs, weights, "numba"), weighed(inputs, weights, "plain"))


@pytest.mark.parametrize("name", ["plain", "streamed", "numba"])
@pytest.mark.parametrize(("first_row", "last_row"), [(0, 1), (2, 5), (HEIGHT - 3, HEIGHT)])
def test_rows_are_the_whole_ones(name, first_row, last_row):
    """Both volumes can be made in slabs: bit by bit the rows of the whole."""
    inputs, rows = random_inputs(), slice(first_row, last_row)
    weights = random_weights(inputs)
    part = inputs._replace(hypotheses=inputs.hypotheses[..., rows, :])
    volume = part.volume(name, first_row=first_row, view_weights=weights[..., rows, :])
    assert torch.equal(volume, inputs.volume(name, view_weights=weights)[..., rows, :])
    whole = similarity(inputs, name)[0]
    assert torch.equal(similarity(part, name, first_row=first_row)[0], whole[..., rows, :])


def test_bfloat16_volume_is_the_rounded_one(implementation):
    """As without weights."""
    inputs = random_inputs(channels=8)
    weights = random_weights(inputs)
    exact = inputs.volume(implementation, view_weights=weights)
    volume = inputs.volume(implementation, view_weights=weights, dtype=torch.bfloat16)
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


def test_samples_do_not_disturb_each_other(implementation):
    """A batch of two is two singles."""
    inputs = random_inputs()
    weights = random_weights(inputs)
    alone = Inputs(*(tensor[1:] for tensor in inputs))
    together = weighed(inputs, weights, implementation)[0][1:]
    torch.testing.assert_close(together, weighed(alone, weights[1:], implementation)[0], rtol=1e-5, atol=1e-5)
    together = similarity(inputs, implementation)[0][1:]
    torch.testing.assert_close(together, similarity(alone, implementation)[0], rtol=1e-5, atol=1e-5)


def test_triton_streams_the_views_of_a_weighed_volume(monkeypatch):
    """Its kernels know no weights."""
    pytest.importorskip("triton")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    inputs = random_inputs()
    weights = random_weights(inputs)
    volume = variance_volume(*inputs, implementation="triton", view_weights=weights)
    assert torch.equal(volume, inputs.volume("streamed", view_weights=weights))


def test_weights_of_another_shape_are_refused(implementation):
    """Kernels would read beyond them."""
    inputs = random_inputs()
    weights = random_weights(inputs)
    for wrong in (weights[:, 1:], weights[:1], weights[..., 1:]):
        with pytest.raises(ValueError, match=r"view_weights .* do not go together"):
            inputs.volume(implementation, view_weights=wrong)


# ---------------------------------------------------------------- the similarity


@pytest.mark.parametrize(("channels", "groups"), [(4, 1), (4, 4), (8, 2), (32, 4)])
def test_similarity_is_the_plain_one(channels, groups):
    """Volume and gradient of the fused kernel are those of the definition."""
    inputs = random_inputs(views=4, channels=channels, depths=3)
    assert_same(similarity(inputs, "numba", groups), similarity(inputs, "plain", groups))


@pytest.mark.parametrize("name", ["plain", "numba"])
def test_similarity_of_known_features(name):
    """Equal features are similar by 1 whatever their length, opposite ones by -1, one twice as long by 0.8; group by
    group. With coinciding cameras nothing moves and everything is covered."""
    inputs = random_inputs(batch=1, views=4, channels=4)
    reference = inputs.features[:, 0] + 5
    factors = torch.tensor([1.0, 1.0, 2.0, 2.0])[:, None, None]
    features = torch.stack([reference, reference, -reference, factors * reference], dim=1)
    same_place = inputs.proj_matrices[:, :1].expand(-1, 4, -1, -1, -1)
    volume = similarity_volume(features, same_place, inputs.hypotheses, 2, name)
    inside = volume[..., 1:-1, 1:-1]  # pixels whose position does not round out of the image
    for source, expected in enumerate([(1, 1, 1), (-1, -1, 1), (1, 0.8, 1)]):
        for group, value in enumerate(expected):
            torch.testing.assert_close(
                inside[:, source, group], torch.full_like(inside[:, 0, 0], value), rtol=0, atol=1e-3
            )


@pytest.mark.parametrize("name", ["plain", "numba"])
def test_what_a_source_does_not_see_is_similar_to_nothing(name):
    """Similarity and coverage are exactly zero outside the source and behind it."""
    inputs = random_inputs()
    volume = similarity_volume(*inputs, 2, name)
    for j, src_T_ref in enumerate(source_transforms(inputs.proj_matrices)):
        u, v, z = project_pixels(src_T_ref, inputs.hypotheses)
        unseen = (z < 0) | (u < -1) | (u > WIDTH) | (v < -1) | (v > HEIGHT)
        assert unseen.any()
        assert all((volume[:, j, g][unseen] == 0).all() for g in range(3))


def test_groups_that_do_not_divide_the_channels_are_refused():
    """Four channels make no three groups."""
    with pytest.raises(ValueError, match="4 channels do not make 3 equal groups"):
        similarity_volume(*random_inputs(), 3)

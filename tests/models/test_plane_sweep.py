"""The plane sweep: the official samples, and geometry that can be checked by hand."""

import numpy as np
import pytest
import torch
from helpers import GOLDEN

from models.plane_sweep import (
    full_projection,
    relative_projection,
    variance_volume,
    variance_volume_plain,
    warp_to_hypotheses,
)

HEIGHT, WIDTH = 12, 20
FOCAL = 64.0


def proj_matrix(x: float = 0.0, z: float = 0.0, turned: bool = False) -> torch.Tensor:
    """[2, 4, 4] of a camera at (x, 0, z) that looks along +z, or along -z when turned."""
    matrix = torch.zeros(2, 4, 4)
    matrix[0] = torch.diag(torch.tensor([-1.0, 1.0, -1.0, 1.0] if turned else [1.0, 1.0, 1.0, 1.0]))
    matrix[0, :3, 3] = -matrix[0, :3, :3] @ torch.tensor([x, 0.0, z])
    matrix[1, :3, :3] = torch.tensor([[FOCAL, 0.0, WIDTH / 2], [0.0, FOCAL, HEIGHT / 2], [0.0, 0.0, 1.0]])
    return matrix


def sweep(source: torch.Tensor, reference: torch.Tensor, feature: torch.Tensor, depths: list[float]) -> torch.Tensor:
    """A feature [C, H, W] of the source sampled on planes parallel to the reference: [C, D, H, W]."""
    hypotheses = torch.tensor(depths)[None, :, None, None].expand(1, -1, HEIGHT, WIDTH)
    src_T_ref = relative_projection(full_projection(source[None]), full_projection(reference[None]))
    return warp_to_hypotheses(feature[None], src_T_ref, hypotheses)[0]


@pytest.fixture
def feature() -> torch.Tensor:
    """Random positive features [3, H, W], so that no sample is zero by chance."""
    return torch.rand(3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1)) + 0.5


def test_golden_samples():
    """Every sample of the official warp within 1e-4."""
    golden = {key: torch.from_numpy(value) for key, value in np.load(GOLDEN / "plane_sweep.npz").items()}
    src_T_ref = relative_projection(golden["src_proj"], golden["ref_proj"])
    warped = warp_to_hypotheses(golden["feature"], src_T_ref, golden["depth"])
    torch.testing.assert_close(warped, golden["warped"], rtol=0, atol=1e-4)


def test_a_plane_shifts_by_its_disparity(feature):
    """A camera 2 to the right sees depth d shifted left by 64 * 2 / d pixels: 2 at depth 64, 4 at depth 32."""
    near, far = sweep(proj_matrix(x=2), proj_matrix(), feature, [32.0, 64.0]).unbind(1)
    for warped, shift in ((near, 4), (far, 2)):
        torch.testing.assert_close(warped[:, :, shift:], feature[:, :, :-shift], rtol=0, atol=1e-5)
        assert warped[:, :, :shift].abs().max() < 1e-5  # outside the source image


def test_half_a_pixel_is_interpolated(feature):
    """A disparity of half a pixel takes the mean of two neighbours."""
    warped = sweep(proj_matrix(x=1), proj_matrix(), feature, [128.0])[:, 0]
    torch.testing.assert_close(warped[:, :, 1:], (feature[:, :, 1:] + feature[:, :, :-1]) / 2, rtol=0, atol=1e-5)


def test_points_behind_the_source_are_zero(feature):
    """Points at depth 5 lie behind a source at z = 10, though its image lines would meet them; at 15 before it."""
    behind, before = sweep(proj_matrix(z=10), proj_matrix(), feature, [5.0, 15.0]).unbind(1)
    assert (behind == 0).all()
    assert before[:, HEIGHT // 2, WIDTH // 2].all()
    assert (sweep(proj_matrix(turned=True), proj_matrix(), feature, [50.0]) == 0).all()


def test_points_in_the_plane_of_the_source_centre_are_zero(feature):
    """Where z is exactly 0 the position is infinite; the sample is zero and finite."""
    assert (sweep(proj_matrix(x=3, z=10), proj_matrix(), feature, [10.0]) == 0).all()


def test_points_far_outside_are_zero(feature):
    """A source a million units away, and depths of any size, sample nothing and stay finite."""
    assert (sweep(proj_matrix(x=1e6), proj_matrix(), feature, [1e-3, 1.0, 1e3]) == 0).all()
    assert sweep(proj_matrix(x=1), proj_matrix(), feature, [-1e30, 0.0, 1e30]).isfinite().all()


def test_one_hypothesis(feature):
    """A single depth gives the same samples as among others."""
    source, reference = proj_matrix(x=2), proj_matrix(x=0.3, z=1)
    alone = sweep(source, reference, feature, [50.0])
    among = sweep(source, reference, feature, [40.0, 50.0, 60.0])
    assert alone.shape == (3, 1, HEIGHT, WIDTH)
    torch.testing.assert_close(alone[:, 0], among[:, 1], rtol=0, atol=0)


def test_hypotheses_may_differ_per_pixel(feature):
    """Two halves of the image with depths of their own are sampled as in two sweeps."""
    source, reference = proj_matrix(x=2), proj_matrix()
    src_T_ref = relative_projection(full_projection(source[None]), full_projection(reference[None]))
    hypotheses = torch.full((1, 1, HEIGHT, WIDTH), 32.0)
    hypotheses[..., WIDTH // 2 :] = 64.0
    mixed = warp_to_hypotheses(feature[None], src_T_ref, hypotheses)[0, :, 0]
    near, far = sweep(source, reference, feature, [32.0, 64.0]).unbind(1)
    torch.testing.assert_close(mixed, torch.cat([near[..., : WIDTH // 2], far[..., WIDTH // 2 :]], dim=-1))


def test_no_gradient_through_the_positions():
    """Gradient reaches the features, not the hypotheses."""
    features = torch.rand(1, 2, 3, HEIGHT, WIDTH, requires_grad=True)
    hypotheses = torch.full((1, 4, HEIGHT, WIDTH), 50.0, requires_grad=True)
    proj_matrices = torch.stack([proj_matrix(), proj_matrix(x=1)])[None]
    variance_volume(features, proj_matrices, hypotheses).sum().backward()
    assert features.grad.abs().sum() > 0 and hypotheses.grad is None


def test_variance_is_zero_where_the_views_agree(feature):
    """Two views of one fronto-parallel plane: the variance vanishes at its depth and nowhere else."""
    shifted = torch.roll(feature, -2, dims=2)  # what the camera 2 to the right sees of the plane at depth 64
    features = torch.stack([feature, shifted])[None]
    proj_matrices = torch.stack([proj_matrix(), proj_matrix(x=2)])[None]
    hypotheses = torch.tensor([32.0, 64.0, 128.0])[None, :, None, None].expand(1, -1, HEIGHT, WIDTH)
    volume = variance_volume(features, proj_matrices, hypotheses)[0, :, :, :, 4:-4]
    assert volume.shape[:2] == (3, 3)
    assert volume[:, 1].abs().max() < 1e-5
    assert volume[:, [0, 2]].mean() > 1e-2


def test_variance_of_three_views_is_the_population_variance(feature):
    """With coinciding cameras nothing moves, and the volume is numpy's variance over the views."""
    features = torch.stack([feature, 2 * feature, feature - 1])[None]
    proj_matrices = proj_matrix().expand(1, 3, 2, 4, 4)
    volume = variance_volume(features, proj_matrices, torch.full((1, 1, HEIGHT, WIDTH), 50.0))
    expected = torch.from_numpy(np.var(features.numpy(), axis=1))[:, :, None]
    torch.testing.assert_close(volume, expected, rtol=1e-3, atol=1e-4)


def random_volume_inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features [2, 3, 4, H, W] that record gradients, cameras and hypotheses that also leave the sources."""
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(2, 3, 4, HEIGHT, WIDTH, generator=generator).requires_grad_()
    views = [proj_matrix(), proj_matrix(x=2.3, z=1), proj_matrix(x=-4, z=30)]
    proj_matrices = torch.stack([torch.stack(views), torch.stack(views[::-1])])
    return features, proj_matrices, 20 + 40 * torch.rand(2, 6, HEIGHT, WIDTH, generator=generator)


def test_streamed_volume_equals_its_definition():
    """The cost volume and its gradient to every view's features, computed without storing the warped views."""
    features, proj_matrices, hypotheses = random_volume_inputs()
    volumes = [f(features, proj_matrices, hypotheses) for f in (variance_volume, variance_volume_plain)]
    torch.testing.assert_close(*volumes, rtol=1e-5, atol=1e-5)
    weights = torch.randn(volumes[0].shape, generator=torch.Generator().manual_seed(4))
    gradients = [torch.autograd.grad((weights * volume).sum(), features)[0] for volume in volumes]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-4)


def test_geometry_stays_in_float32_under_autocast():
    """Half precision would move the samples by pixels."""
    features, proj_matrices, hypotheses = random_volume_inputs()
    exact = variance_volume(features, proj_matrices, hypotheses)
    with torch.autocast("cpu", torch.bfloat16):
        volume = variance_volume(features, proj_matrices, hypotheses)
    assert volume.dtype == torch.float32
    torch.testing.assert_close(volume, exact, rtol=0, atol=0)

"""Random views, cameras and hypotheses for the tests of the plane sweep's implementations."""

from typing import NamedTuple

import pytest
import torch
from places import Place

from models.plane_sweep.definition import variance_volume

HEIGHT, WIDTH = 12, 20
FUSED = ("numba", "triton")  # the implementations with kernels of their own


def here(implementation: str, place: Place) -> str:
    """The implementation, where it runs at the place; else the test is skipped."""
    place.needs(dtype=torch.float32)  # what volumes are computed in, whatever the networks are
    if implementation in FUSED and place.fake:
        pytest.skip("fused kernels read memory, which fake tensors have none of")
    if implementation == "numba":
        place.needs(device="cpu")
    if implementation == "triton":
        pytest.importorskip("triton")
        if place.device.type not in ("cpu", "cuda"):
            pytest.skip("Triton's kernels run on cuda, and in its interpreter on a CPU")
    return implementation


class Inputs(NamedTuple):
    """Arguments of variance_volume."""

    features: torch.Tensor
    proj_matrices: torch.Tensor
    hypotheses: torch.Tensor

    def volume(self, implementation: str, **options) -> torch.Tensor:
        """The volume, where the inputs are."""
        return variance_volume(*self, implementation=implementation, **options)

    def volume_and_gradient(self, implementation: str, **options) -> tuple[torch.Tensor, torch.Tensor]:
        """The volume, and the gradient to the features of its sum with fixed weights."""
        features = self.features.detach().requires_grad_()
        volume = self._replace(features=features).volume(implementation, **options)
        return volume.detach(), torch.autograd.grad((fixed_weights(volume) * volume).sum(), features)[0]


def fixed_weights(values: torch.Tensor) -> torch.Tensor:
    """Random numbers of a tensor's shape, where it is; always the same ones."""
    return torch.randn(values.shape, generator=torch.Generator().manual_seed(4)).to(values.device)


def random_inputs(
    batch: int = 2,
    views: int = 3,
    channels: int = 4,
    depths: int = 6,
    size: tuple[int, int] = (HEIGHT, WIDTH),
    seed: int = 3,
) -> Inputs:
    """Cameras that look about in all directions, so that points lie outside the sources and behind them, too."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    proj_matrices = torch.zeros(batch, views, 2, 4, 4)
    spread = torch.linspace(0, 1, views)[:, None, None]  # from the reference's pose to any
    skew = normal(batch, views, 3, 3)
    proj_matrices[:, :, 0, :3, :3] = torch.linalg.matrix_exp(spread * 0.7 * (skew - skew.mT))
    proj_matrices[:, :, 0, :3, 3] = 8 * spread[..., 0] * normal(batch, views, 3)
    proj_matrices[:, :, 0, 3, 3] = 1
    proj_matrices[:, :, 1, :3, :3] = torch.tensor([[20.0, 0, size[1] / 2], [0, 20.0, size[0] / 2], [0, 0, 1]])
    hypotheses = 20 + 40 * torch.rand(batch, depths, *size, generator=generator)
    return Inputs(normal(batch, views, channels, *size), proj_matrices, hypotheses)

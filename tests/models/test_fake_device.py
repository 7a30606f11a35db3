"""On a GPU that is none (tests/places.py): networks, losses and prediction leave no tensor on the CPU.

These run always; `pytest --device fake` takes the numerical tests there, as far as they go without values.
"""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import torch
from helpers import golden_inputs
from places import Place, fake_gpu
from torch import Tensor

from datasets.sample import STAGE_SCALES
from models import CascadeMVSNet, build_model, hypotheses
from models.blocks import fold
from models.losses import DistillationLoss, UnsupervisedLoss
from models.settings import STAGES

WEIGHTS = (0.5, 1.0, 2.0)
SIZE = (64, 96)


@pytest.fixture(params=["cuda", "mps", "xpu"])
def gpu(request) -> Iterator[Place]:
    """A GPU of every maker."""
    with ExitStack() as stack:
        yield stack.enter_context(fake_gpu(request.param))


def assert_here(gpu: Place, value: object) -> None:
    """All tensors of an output are on the GPU."""
    if isinstance(value, Tensor):
        assert value.device.type == gpu.device.type
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ():
        assert_here(gpu, item)


def predict(network: CascadeMVSNet, gpu: Place) -> tuple[Tensor, list[Tensor]]:
    """As the programs predict."""
    imgs, proj_matrices, depth_values = gpu.put(golden_inputs())
    with torch.inference_mode():
        features = [stage.unbind(1) for stage in network.extract_features(imgs)]
        return network.depth_of_features(features, proj_matrices, depth_values)


@pytest.mark.parametrize("settings", [{}, {"view_weights": "learned", "spacing": "auto"}, {"read_out": "median"}])
def test_prediction(gpu, settings):
    """Depth and confidence of every stage, by the folded network."""
    depth, confidences = predict(fold(gpu.put(build_model("student", **settings)).eval()), gpu)
    assert depth.shape == (1, *SIZE)
    assert_here(gpu, (depth, confidences))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_prediction_in_half_precision(gpu, dtype):
    """Depth stays in float32."""
    depth, confidences = predict(fold(gpu.put(build_model("student")).eval(), dtype), gpu)
    assert depth.dtype == confidences[-1].dtype == torch.float32


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
@pytest.mark.parametrize("variant", sorted(UnsupervisedLoss.SMOOTH_WEIGHTS))
def test_teacher_in_training(gpu, dtype, variant):
    """Its outputs and every term of its loss, under autocast too."""
    imgs, proj_matrices, depth_values = gpu.put(golden_inputs())
    network = gpu.put(build_model("teacher")).train()
    with torch.autocast(gpu.device.type, dtype, enabled=dtype is not None):
        outputs = network(imgs, proj_matrices, depth_values)
    losses = UnsupervisedLoss(variant)(outputs, imgs, proj_matrices, WEIGHTS)
    assert_here(gpu, (outputs, losses))
    assert losses["total"].dtype == torch.float32 and losses["total"].requires_grad


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
@pytest.mark.parametrize("variant", DistillationLoss.VARIANTS)
def test_student_in_training(gpu, dtype, variant):
    """With weighed source views, and labels of every stage."""
    network = gpu.put(build_model("student", view_weights="learned")).train()
    with torch.autocast(gpu.device.type, dtype, enabled=dtype is not None):
        outputs = network(*gpu.put(golden_inputs()))
    full = gpu.put(torch.full((1, *SIZE), 600.0))
    labels = [{stage: (full + shift)[:, ::k, ::k] for stage, k in STAGE_SCALES.items()} for shift in (0, -599)]
    mask = {stage: value > 0 for stage, value in labels[0].items()}
    losses = DistillationLoss(variant)(outputs, *labels, mask, WEIGHTS)
    assert_here(gpu, (outputs, losses))
    assert all(outputs[stage]["depth"].dtype == torch.float32 for stage in STAGES)


def test_a_tensor_made_on_the_cpu_is_found(gpu, monkeypatch):
    """A planted mistake: hypotheses that are counted on the CPU, as `torch.arange` does where no device is told."""

    def evenly_spaced(first: Tensor, last: Tensor, count: int) -> Tensor:
        return first + torch.arange(count)[:, None, None] * ((last - first) / (count - 1))

    network = gpu.put(build_model("student")).eval()
    predict(network, gpu)
    monkeypatch.setattr(hypotheses, "_evenly_spaced", evenly_spaced)
    with pytest.raises(RuntimeError, match="two different devices"):
        predict(network, gpu)

"""On a GPU that is none (tests/places.py): networks, losses and prediction leave no tensor on the CPU.

These run always; `pytest --device fake` takes the numerical tests there, as far as they go without values.
"""

import dataclasses
from collections.abc import Iterator

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


@pytest.fixture
def gpu() -> Iterator[Place]:
    """One of Nvidia's, which torch always knows enough of."""
    with fake_gpu() as place:
        yield place


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


@pytest.mark.parametrize(
    ("settings", "dtype"),
    [
        ({}, torch.float32),
        ({"view_weights": "learned", "spacing": "auto"}, torch.bfloat16),
        ({"read_out": "median"}, torch.float16),
    ],
)
def test_prediction(gpu, settings, dtype):
    """Depth and confidence of every stage, in float32 whatever the folded network computes in."""
    depth, confidences = predict(fold(gpu.put(build_model("student", **settings)).eval(), dtype), gpu)
    assert depth.shape == (1, *SIZE)
    assert depth.dtype == confidences[-1].dtype == torch.float32
    assert_here(gpu, (depth, confidences))


@pytest.mark.parametrize("maker", ["mps", "xpu"])
def test_prediction_on_other_makers_gpus(maker):
    """Apple's and Intel's."""
    with fake_gpu(maker) as gpu:
        assert_here(gpu, predict(fold(gpu.put(build_model("student")).eval()), gpu))


@pytest.mark.parametrize("maker", ["mps", "xpu"])
def test_training_on_other_makers_gpus(maker):
    """The teacher's loss."""
    with fake_gpu(maker) as gpu:
        imgs, proj_matrices, depth_values = gpu.put(golden_inputs())
        outputs = gpu.put(build_model("teacher")).train()(imgs, proj_matrices, depth_values)
        losses = UnsupervisedLoss()(outputs, imgs, proj_matrices, WEIGHTS)
        assert_here(gpu, (outputs, losses))


@pytest.mark.parametrize(("variant", "dtype"), [("official", torch.float32), ("per_pixel", torch.bfloat16)])
def test_teacher_in_training(gpu, variant, dtype):
    """Its outputs and every term of its loss, under autocast too."""
    imgs, proj_matrices, depth_values = gpu.put(golden_inputs())
    network = gpu.put(build_model("teacher")).train()
    with dataclasses.replace(gpu, dtype=dtype).autocast():
        outputs = network(imgs, proj_matrices, depth_values)
    losses = UnsupervisedLoss(variant)(outputs, imgs, proj_matrices, WEIGHTS)
    assert_here(gpu, (outputs, losses))
    assert losses["total"].dtype == torch.float32 and losses["total"].requires_grad


@pytest.mark.parametrize(("variant", "dtype"), [("official", torch.float32), ("paper", torch.bfloat16)])
def test_student_in_training(gpu, variant, dtype):
    """With weighed source views, and labels of every stage."""
    network = gpu.put(build_model("student", view_weights="learned")).train()
    with dataclasses.replace(gpu, dtype=dtype).autocast():
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
    monkeypatch.setattr(hypotheses, "_evenly_spaced", evenly_spaced)
    with pytest.raises(RuntimeError, match="devices"):
        predict(network, gpu)

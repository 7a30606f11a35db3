"""What --device means, and how tensors get to a device and back."""

import pytest
import torch

from datasets.files import DataError
from tools.prediction.predictor import delayed
from tools.runtime import devices, distributed
from tools.runtime.devices import Arriving, chosen_device, move_to, resolved_amp, sent_to


@pytest.mark.parametrize("flag", ["tpu!", "meta", "cuda:-1", "vulkan", ""])
def test_devices_that_are_unknown(flag):
    """What torch knows beside GPUs computes nothing here."""
    with pytest.raises(DataError, match=f"--device {flag}: use auto, cpu, cuda, cuda:N, mps or xpu"):
        chosen_device(flag)


@pytest.mark.parametrize(("flag", "name"), [("cuda:1", "CUDA"), ("mps", "Apple"), ("xpu", "Intel")])
def test_devices_that_this_machine_lacks(monkeypatch, flag, name):
    """One line, before anything is loaded onto it."""
    monkeypatch.setattr(devices, "_is_available", lambda kind: False)
    with pytest.raises(DataError, match=rf"--device {flag}: no {name}.* device is available; use --device cpu"):
        chosen_device(flag)


@pytest.mark.parametrize("flag", ["mps", "xpu"])
def test_apples_and_intels_devices(monkeypatch, flag):
    """They are taken where they are there, with the streamed plane sweep and in float32, one process each."""
    monkeypatch.setattr(devices, "_is_available", lambda kind: True)
    monkeypatch.delenv("KDMVS_PLANE_SWEEP", raising=False)
    device = distributed.start(flag)
    assert device.type == flag and resolved_amp("auto", device) == "off"
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(DataError, match=f"--device {flag}: several processes"):
        distributed.start(flag)


def test_there_and_back(place):
    """Values and layout survive both ways."""
    place.needs(values=True)
    image = torch.rand(4, 5, 3).permute(2, 0, 1)[None]
    there = sent_to(place.device, image)
    assert there.device.type == place.device.type
    back, moved = Arriving([there, move_to({"image": image}, place.device)["image"]]).get()
    assert back.device.type == "cpu" and torch.equal(back, image) and torch.equal(moved, image)


def test_delayed():
    """All items come in their order, each after so many more were made."""
    made = []

    def items():
        for number in range(4):
            made.append(number)
            yield number

    seen = [(item, len(made)) for item in delayed(items(), 1)]
    assert seen == [(0, 2), (1, 3), (2, 4), (3, 4)]
    assert list(delayed(items(), 0)) == [0, 1, 2, 3] == list(delayed(range(4), 9))

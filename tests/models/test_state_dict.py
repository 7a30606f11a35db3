"""The official checkpoints' keys and shapes."""

import json

import pytest
from helpers import GOLDEN

from models import build_model


@pytest.mark.parametrize("kind", ["student", "teacher"])
def test_keys_and_shapes_are_the_official_ones(kind):
    """Same keys, same shapes, same order: optimizer states list parameters by number."""
    official = json.loads((GOLDEN / "state_dict_keys.json").read_text())[kind]
    ours = {key: list(value.shape) for key, value in build_model(kind).state_dict().items()}
    assert list(ours.items()) == list(official.items())


@pytest.mark.parametrize(("kind", "count"), [("student", 939_536), ("teacher", 1_468_491)])
def test_number_of_parameters(kind, count):
    """As published for the official networks."""
    assert sum(parameter.numel() for parameter in build_model(kind).parameters()) == count

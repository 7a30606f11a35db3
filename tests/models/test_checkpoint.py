"""Checkpoints: the official format in and out, and files that are not what they should be."""

import os
import pickle

import pytest
import torch
from helpers import golden_inputs, golden_network, write_checkpoint

from models import NetworkSettings, build_model
from models.checkpoint import (
    CheckpointError,
    averaged_weights,
    file_digest,
    load_model,
    load_optimizer,
    load_start,
    load_weights,
    network_kind,
    read_checkpoint,
)


@pytest.mark.parametrize("kind", ["student", "teacher"])
def test_kind_and_weights_come_from_the_file(tmp_path, kind):
    """The network of a file is told by its keys, comes with its weights and in evaluation mode."""
    model = load_model(write_checkpoint(tmp_path / "model.ckpt", kind))
    assert model.kind == kind and not model.training
    for key, value in golden_network(kind, 61).state_dict().items():
        torch.testing.assert_close(model.state_dict()[key], value, rtol=0, atol=0)


def test_official_format(tmp_path):
    """A file holds epoch, model and optimizer, beside them what its network is, and torch itself reads it."""
    content = torch.load(write_checkpoint(tmp_path / "model.ckpt"), weights_only=True)
    assert content.keys() == {"epoch", "model", "optimizer", "network"} and content["epoch"] == 0
    assert content["optimizer"].keys() == {"state", "param_groups"}


def test_the_mean_of_several(tmp_path):
    """Every weight and statistic is the mean of the files'; another kind of network has no mean with them."""
    paths = [write_checkpoint(tmp_path / f"{seed}.ckpt", seed=seed) for seed in (61, 62, 63)]
    states = [load_model(path).state_dict() for path in paths]
    mean = averaged_weights(paths)
    assert mean.keys() == states[0].keys()
    for name, value in mean.items():
        if value.is_floating_point():
            torch.testing.assert_close(value, (states[0][name] + states[1][name] + states[2][name]) / 3)
    other = write_checkpoint(tmp_path / "teacher.ckpt", "teacher")
    with pytest.raises(CheckpointError, match=r"teacher\.ckpt: its network is another than that of .*61\.ckpt"):
        averaged_weights([paths[0], other])


def test_prefix_of_distributed_training_is_accepted(tmp_path):
    """Official checkpoints of several GPUs name every key "module.<key>"."""
    state = {f"module.{key}": value for key, value in golden_network("teacher").state_dict().items()}
    torch.save({"epoch": 3, "model": state, "optimizer": {}}, tmp_path / "model.ckpt")
    assert load_model(tmp_path / "model.ckpt").kind == "teacher"


@pytest.mark.parametrize("settings", [{"cr_base_chs": (8, 4, 2)}, {"share_cr": True}])
def test_other_regularisation(tmp_path, settings):
    """Base channels are read off the weights; sharing is told by the flag, as the keys are the same."""
    path = write_checkpoint(tmp_path / "model.ckpt", **settings)
    model = load_model(path, share_cr=settings.get("share_cr", False))
    expected = golden_network("student", 61, **settings)
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in expected.parameters())


def test_weights_of_the_views_are_told_by_the_keys(tmp_path):
    """A file of a weighed network is loaded as one, another as none, whatever its record says."""
    for view_weights in ("equal", "learned"):
        path = write_checkpoint(tmp_path / "model.ckpt", view_weights=view_weights)
        assert load_model(path).settings.view_weights == view_weights
        content = torch.load(path, weights_only=True)
        assert content["network"]["view_weights"] == view_weights
        del content["network"]
        torch.save(content, path)
        assert load_model(path).settings.view_weights == view_weights
        other = {"equal": "learned", "learned": "equal"}[view_weights]
        with pytest.raises(CheckpointError, match=r"is of another network: (lacks|has) visibility\."):
            load_model(path, view_weights=other)


def test_a_checkpoint_knows_its_network(tmp_path):
    """What the weights do not tell is stored, and taken unless something else is asked for."""
    settings = {"ndepths": (16, 8, 8), "depth_interval_ratios": (3, 1, 0.25), "spacing": "inverse", "share_cr": True}
    path = write_checkpoint(tmp_path / "model.ckpt", "teacher", **settings)
    found = load_model(path, ratios=(4, 1, 0.4)).settings
    assert settings.items() <= vars(found).items() and found.kind == "teacher"
    assert load_model(path, spacing="linear", ndepths=None).settings.spacing == "linear"


def test_official_checkpoints_tell_nothing(tmp_path):
    """Their network is the official one; a program's own ratios stand in for the training's."""
    torch.save({"epoch": 3, "model": golden_network("student").state_dict(), "optimizer": {}}, tmp_path / "model.ckpt")
    assert load_model(tmp_path / "model.ckpt").settings == NetworkSettings("student", extra_input_conv=True)
    assert load_model(tmp_path / "model.ckpt", ratios=(4, 1, 0.4)).settings.depth_interval_ratios == (4, 1, 0.4)


@pytest.mark.parametrize(
    "record", [3, {"ndepths": 8}, {"ndepths": [True, 8, 8]}, {"spacing": 1}, {"ndepths": [8.5] * 3}]
)
def test_a_damaged_record_of_the_network(tmp_path, record):
    """It is refused with one line."""
    torch.save({"model": golden_network("student").state_dict(), "network": record}, tmp_path / "model.ckpt")
    with pytest.raises(CheckpointError, match="record of the network is damaged"):
        load_model(tmp_path / "model.ckpt")


def test_settings_that_the_weights_do_not_allow(tmp_path):
    """Stages of different base channels share nothing."""
    path = write_checkpoint(tmp_path / "model.ckpt", cr_base_chs=(8, 4, 2))
    with pytest.raises(CheckpointError, match=r"model\.ckpt: does not go with these settings: share_cr"):
        load_model(path, share_cr=True)


def test_kind_by_keys():
    """Neither network's keys are no network of ours."""
    assert network_kind({"var_regression.0.var.bias": torch.zeros(1)}) == "teacher"
    assert network_kind({"cost_regularization.0.convini.conv.weight": torch.zeros(1)}) == "student"
    assert network_kind({"fc.weight": torch.zeros(1)}) is None


class Malicious:
    """Unpickling this runs a command."""

    def __init__(self, marker) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("save", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))])
def test_code_in_a_file_is_refused_and_not_run(tmp_path, save):
    """Neither a checkpoint with code in it nor a bare pickle is executed."""
    path, marker = tmp_path / "model.ckpt", tmp_path / "ran"
    save({"epoch": 0, "model": golden_network("student").state_dict(), "extra": Malicious(marker)}, path)
    with pytest.raises(CheckpointError, match=r"model\.ckpt: .*not loaded for safety"):
        read_checkpoint(path)
    assert not marker.exists()


@pytest.mark.parametrize("size", [0, 10, 1000, 100_000, -1, -1000])
def test_truncated_file(tmp_path, size):
    """A copy that broke off, wherever, is reported as such."""
    path = write_checkpoint(tmp_path / "model.ckpt")
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(CheckpointError, match=r"model\.ckpt: .*not a checkpoint"):
        load_model(path)


@pytest.mark.parametrize("content", [b"hello", b"\x80\x02garbage", b"PK\x03\x04" + bytes(200)])
def test_garbage(tmp_path, content):
    """Text, a broken pickle, a broken archive."""
    (tmp_path / "model.ckpt").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.ckpt: .*not a checkpoint"):
        load_model(tmp_path / "model.ckpt")


@pytest.mark.parametrize("content", [{"state_dict": {}}, {"model": 3}, {"model": {"a": 1}}, [1, 2], torch.zeros(2)])
def test_file_without_a_model(tmp_path, content):
    """A file that torch reads but that holds no state dict under "model"."""
    torch.save(content, tmp_path / "model.ckpt")
    with pytest.raises(CheckpointError, match="holds no 'model' state dict"):
        load_model(tmp_path / "model.ckpt")


def test_another_network(tmp_path):
    """Keys of neither network, or of half a one."""
    torch.save({"model": {"fc.weight": torch.zeros(3, 3)}}, tmp_path / "model.ckpt")
    with pytest.raises(CheckpointError, match=r"model\.ckpt: is of another network"):
        load_model(tmp_path / "model.ckpt")


def test_differences_are_named():
    """What a state dict lacks, has too much and has in another shape; three examples and the number of the rest."""
    model = build_model("student")
    state = model.state_dict()
    del state["feature.out1.weight"]
    state["feature.out9.weight"] = torch.zeros(1)
    state["feature.out2.weight"] = torch.zeros(2, 2)
    with pytest.raises(CheckpointError) as error:
        load_weights(model, state, "x.ckpt")
    message = str(error.value)
    assert message.startswith("x.ckpt: is of another network: lacks feature.out1.weight; has feature.out9.weight; ")
    assert "feature.out2.weight is (2, 2) instead of (16, 32, 3, 3)" in message
    with pytest.raises(CheckpointError, match=r"and \d+ more$"):
        load_weights(build_model("teacher"), build_model("student").state_dict(), "x.ckpt")


def changed(tmp_path, key: str, change):
    """A student's checkpoint with one weight changed."""
    content = torch.load(write_checkpoint(tmp_path / "model.ckpt"), weights_only=True)
    content["model"][key] = change(content["model"][key])
    torch.save(content, tmp_path / "model.ckpt")
    return tmp_path / "model.ckpt"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weight: weight.int(), r"is of another network: feature\.out1\.weight is of torch\.int32 instead of"),
        (lambda weight: weight.bool(), "is of torch.bool instead of torch.float32"),
        (lambda weight: weight[:1], r"feature\.out1\.weight is \(1, 32, 1, 1\) instead of \(32, 32, 1, 1\)"),
        (lambda weight: weight / 0, r"cannot be used: feature\.out1\.weight is not finite; take an earlier"),
        (lambda weight: weight * float("nan"), "is not finite"),
        (lambda weight: weight[:1].expand(weight.shape), r"entries of 'feature\.out1\.weight' that are no weights"),
        (lambda weight: weight.to(torch.complex64), "holds more than tensors and numbers"),
        (lambda weight: weight.to_sparse(), "holds more than tensors and numbers"),
        (lambda weight: weight.to("meta"), "holds more than tensors and numbers"),
        (lambda weight: weight.tolist(), "holds no 'model' state dict"),
    ],
)
def test_weights_of_other_kinds(tmp_path, change, message):
    """Whole numbers, complex ones, other shapes, not finite, sparse or repeated ones are refused, and named."""
    with pytest.raises(CheckpointError, match=rf"model\.ckpt: .*({message})"):
        load_model(changed(tmp_path, "feature.out1.weight", change))


def test_half_precision_is_accepted(tmp_path):
    """The same numbers in another precision are the same network."""
    path = changed(tmp_path, "feature.out1.weight", lambda weight: weight.half())
    weight = load_model(path).state_dict()["feature.out1.weight"]
    assert weight.dtype == torch.float32
    torch.testing.assert_close(weight, golden_network("student", 61).state_dict()["feature.out1.weight"].half().float())


@pytest.mark.parametrize("model", [{3: torch.zeros(1)}, {"a": torch.zeros(1), "module.a": torch.ones(1)}])
def test_keys_that_are_no_names(tmp_path, model):
    """Numbers, and names that are given twice."""
    torch.save({"model": model}, tmp_path / "model.ckpt")
    with pytest.raises(CheckpointError, match=r"model\.ckpt: holds entries .* that are no weights"):
        read_checkpoint(tmp_path / "model.ckpt")


def test_wide_network_that_the_file_does_not_hold(tmp_path):
    """The network that a weight's shape asks for is compared with the file before it is built."""
    state = golden_network("student").state_dict()
    state["cost_regularization.0.conv1.conv.weight"] = torch.zeros(100_000, 8, 3, 3, 3)
    torch.save({"model": state}, tmp_path / "model.ckpt")
    with pytest.raises(CheckpointError, match=r"is of another network: .* and \d+ more"):
        load_model(tmp_path / "model.ckpt")


def test_files_of_old_torch(tmp_path):
    """Official checkpoints may have been written by torch before 1.6; code in them is refused as well."""
    path = tmp_path / "model.ckpt"
    state = golden_network("teacher").state_dict()
    torch.save({"epoch": 1, "model": state, "optimizer": {}}, path, _use_new_zipfile_serialization=False)
    assert load_model(path).kind == "teacher"
    torch.save({"model": state, "x": Malicious(tmp_path / "ran")}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match="not loaded for safety"):
        load_model(path)
    assert not (tmp_path / "ran").exists()


def test_optimizer_state(tmp_path):
    """It comes back for the same parameters and is refused for others, or when it is something else."""
    parameters = [torch.nn.Parameter(torch.ones(2, 3)), torch.nn.Parameter(torch.ones(4))]
    optimizer = torch.optim.Adam(parameters)
    sum(parameter.sum() for parameter in parameters).backward()
    optimizer.step()
    saved = optimizer.state_dict()
    fresh = torch.optim.Adam(parameters)
    load_optimizer(fresh, saved, "x.ckpt")
    torch.testing.assert_close(fresh.state[parameters[0]]["exp_avg"], saved["state"][0]["exp_avg"])
    moved = {**saved, "state": {0: saved["state"][1], 1: saved["state"][0]}}
    for state in (moved, None, [], {}, {"state": 3, "param_groups": 4}, {**saved, "param_groups": []}):
        with pytest.raises(CheckpointError, match=r"x\.ckpt: cannot be resumed from"):
            load_optimizer(torch.optim.Adam(parameters), state, "x.ckpt")


def test_missing_file(tmp_path):
    """Both reading and digesting name a file that is not there."""
    for read in (load_model, file_digest):
        with pytest.raises(CheckpointError, match=r"nowhere\.ckpt: no such checkpoint"):
            read(tmp_path / "nowhere.ckpt")


def test_folder_instead_of_a_file(tmp_path):
    """A folder is no checkpoint."""
    with pytest.raises(CheckpointError):
        load_model(tmp_path)


# ---------------------------------------------------------------- starts


def test_a_student_starts_from_an_official_teacher():
    """Its probabilities are the teacher's, though it has one more layer: that one does nothing at first."""
    teacher, student = golden_network("teacher").eval(), build_model("student").eval()
    load_start(student, teacher.state_dict(), "teacher.ckpt")
    with torch.no_grad():
        theirs, ours = (network(*golden_inputs())["stage1"]["prob_volume"] for network in (teacher, student))
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_a_teacher_starts_from_a_student():
    """With the student's layers it has the student's probabilities, and a fresh branch for the variance."""
    student, teacher = golden_network("student").eval(), build_model("teacher", extra_input_conv=True).eval()
    fresh = {key: value.clone() for key, value in teacher.state_dict().items() if key.startswith("var_regression.")}
    load_start(teacher, student.state_dict(), "student.ckpt")
    with torch.no_grad():
        theirs, ours = (network(*golden_inputs())["stage1"]["prob_volume"] for network in (student, teacher))
    assert torch.equal(ours, theirs)
    assert fresh and all(torch.equal(teacher.state_dict()[key], value) for key, value in fresh.items())


def test_a_start_of_another_width_is_refused():
    """As load_weights refuses it."""
    with pytest.raises(CheckpointError, match=r"x\.ckpt: is of another network"):
        load_start(build_model("student"), build_model("teacher", cr_base_chs=(8, 8, 4)).state_dict(), "x.ckpt")

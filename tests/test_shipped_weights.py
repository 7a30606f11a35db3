"""The student that comes with the project: small, in the official format, what programs take by default, and good."""

import numpy as np
import pytest
import torch
from helpers import ROOT, run_program, succeed

from datasets.formats.pfm import read_pfm
from datasets.layouts.general import GeneralScans
from datasets.synthetic.scans import Look, write_test_layout
from models.checkpoint import load_model, network_kind
from tools.runtime.flags import SHIPPED_CHECKPOINT


def test_the_file_is_small_and_official():
    """A student's keys and numbers only, under 5 MB, with a model card beside it."""
    assert SHIPPED_CHECKPOINT == ROOT / "ckpt" / "kdmvs.ckpt" and SHIPPED_CHECKPOINT.stat().st_size < 5e6
    content = torch.load(SHIPPED_CHECKPOINT, weights_only=True)
    assert {"epoch", "model"} <= set(content) <= {"epoch", "model", "network", "read_out"}
    assert network_kind(content["model"]) == "student"
    assert all(value.isfinite().all() for value in content["model"].values())
    assert load_model(SHIPPED_CHECKPOINT).settings.read_out == content.get("network", content)["read_out"]
    card = (ROOT / "ckpt" / "README.md").read_text()
    assert all(word in card for word in ("Data", "Recipe", "Scores", "Weaknesses"))


@pytest.mark.parametrize("rig", ["ring", "arc"])
def test_programs_take_it_by_default_and_it_predicts_depth(tmp_path, rig):
    """On a scene that was never in a training most pixels are within two hypothesis intervals of the exact depth."""
    write_test_layout(tmp_path / "scenes", {"scan77": 77_000}, 256, 192, 5, look=Look(rich=True, rig=rig))
    succeed(
        run_program(
            "test.py", "--testpath", tmp_path / "scenes", "--outdir", tmp_path / "out", "--filter_method", "none"
        )
    )
    layout, errors = GeneralScans(tmp_path / "scenes"), []
    for view in range(5):
        depth = read_pfm(tmp_path / "out" / "scan77" / "depth_est" / f"{view:08d}.pfm")
        truth = layout.ground_truth("scan77", view, depth.shape[::-1])
        errors.append(np.abs(depth - truth) / layout.camera("scan77", view).depth_line[1])
    assert (np.concatenate(errors) < 2).mean() > 0.5

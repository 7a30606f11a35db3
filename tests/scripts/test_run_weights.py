"""The driver that makes the weights in ckpt/, on a scene of each kind."""

import pytest
from helpers import change_times
from test_drivers import own_scenes, run_driver

from datasets.files import read_json
from models.checkpoint import load_model


@pytest.mark.slow
def test_rendered_scenes_then_rounds_of_real_ones(quick_python, tmp_path):
    """The first round's student makes the labels of the second, which has large scenes; places come last; a rerun makes
    nothing anew."""
    made, real = tmp_path / "weights", own_scenes(tmp_path / "real", "garden")
    size = {"WIDTH": 96, "HEIGHT": 64, "LARGE_WIDTH": 128, "LARGE_HEIGHT": 96}
    settings = size | {"WEIGHTS_DIR": made, "REAL_DIR": real, "AMP": "off", "PYTHON_BIN": quick_python}
    settings |= {"SCENES": 1, "LARGE_SCENES": 1, "STEPS": 1, "REAL_STEPS": "1 1", "REAL_SHARE": 2}
    settings |= {"ROOMS": 1, "STREETS": 1, "PLACE_STEPS": 1, "LAST_STEPS": 1, "MORE_STEPS": 1}
    result = run_driver("run_weights.sh", **settings)
    assert result.returncode == 0, result.stderr
    scenes = [sorted(path.name for path in (made / f"round_{k}/mixed/scenes").iterdir()) for k in (1, 2)]
    both = ["real_garden_1", "real_garden_2", "scan30000"]
    assert scenes == [both, [*both, "scan31000"]]
    for folder, start in (("round_1", "student"), ("round_2", "round_1/student")):
        flags = read_json(made / folder / "student" / "flags.json")
        assert flags["loadckpt"] == str(made / start / "model_000000.ckpt")
        assert flags["pseudopath"] == str(made / folder / "mixed" / "labels")
    last = read_json(made / "last_student" / "flags.json")
    assert last["loadckpt"] == str(made / "places_student" / "model_000000.ckpt")
    assert read_json(made / "more_student" / "flags.json")["loadckpt"] == str(made / "mean.ckpt")
    assert (made / "places" / "scans.txt").read_text().split() == ["scan40000", "scan41000"]
    network = load_model(made / "kdmvs.ckpt").settings
    assert (network.kind, network.view_weights, network.spacing) == ("student", "learned", "auto")

    times = change_times(made, "model_*.ckpt")
    assert len(times) == 6
    result = run_driver("run_weights.sh", **settings)
    assert result.returncode == 0, result.stderr
    assert change_times(made, "model_*.ckpt") == times

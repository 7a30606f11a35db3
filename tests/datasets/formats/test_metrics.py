"""Numbers come back from metrics.jsonl as they were logged, also after crashes."""

import numpy as np
import pytest

from datasets.files import DataError
from datasets.formats.metrics import METRICS, read_metrics, read_scalars
from tools.training.log import TrainingLog


def log(folder, values, first_step=1):
    """Log (step, loss) pairs; returns the file."""
    writer = TrainingLog(folder, first_step)
    for step, value in values:
        writer.scalars("train", {"loss": value, "lr": 0.1}, step)
    writer.close()
    return folder / METRICS


def test_numbers_with_their_steps(tmp_path):
    path = log(tmp_path, [(1, 3.5), (50, 2.25)])
    for scalars in (read_scalars(tmp_path), read_metrics(path)):
        assert set(scalars) == {"train/loss", "train/lr"}
        np.testing.assert_array_equal(scalars["train/loss"], [[1, 3.5], [50, 2.25]])


def test_a_new_start_replaces_what_is_later(tmp_path):
    """The first run came to step 30, the checkpoint to 20: steps from 21 on are those of the second run."""
    log(tmp_path, [(10, 5), (20, 4), (30, 9)])
    log(tmp_path, [(30, 3), (40, 2)], first_step=21)
    np.testing.assert_array_equal(read_scalars(tmp_path)["train/loss"], [[10, 5], [20, 4], [30, 3], [40, 2]])


def test_a_folder_without_metrics_has_no_numbers(tmp_path):
    (tmp_path / "flags.json").write_text("{}")
    assert read_scalars(tmp_path) == {}
    with pytest.raises(DataError, match="nowhere: cannot list"):
        read_scalars(tmp_path / "nowhere")


def test_what_a_killed_process_left_ends_the_file(tmp_path):
    """Cut anywhere, the file gives the lines before the cut, and a training goes on after them."""
    path = log(tmp_path / "whole", [(1, 3.5), (50, 2.25)])
    content = path.read_bytes()
    for length in range(len(content)):
        cut = tmp_path / METRICS
        cut.write_bytes(content[:length])
        assert len(read_metrics(cut).get("train/loss", ())) == content[:length].count(b"\n")
    log(tmp_path, [(50, 2.25)], first_step=50)
    assert (tmp_path / METRICS).read_bytes() == content


@pytest.mark.parametrize(
    "line",
    [
        b"\xff",
        b"{}",
        b"[1]",
        b'{"step": 1, "train/loss": NaN}',
        b'{"step": 1, "train/loss": "3"}',
        b'{"step": true}',
        b'{"step": -1}',
        b'{"step": 1, "train/loss": 1' + b"0" * 400 + b"}",
        b'{"step": 1' + b"0" * 5000 + b"}",
        b'{"step": 1, "a": ' + b"[" * 100_000,
    ],
    ids=lambda line: repr(line[:24]),
)
def test_damage_is_told(tmp_path, line):
    """A line that is no object of numbers, or has no step, is named."""
    path = tmp_path / METRICS
    path.write_bytes(b'{"step": 1}\n' + line + b"\n")
    with pytest.raises(DataError, match="line 2 is damaged; move this file away"):
        read_metrics(path)


def test_steps_do_not_go_back(tmp_path):
    """Two trainings at once in one folder are told, not drawn as one curve."""
    path = tmp_path / METRICS
    path.write_bytes(b'{"step": 5}\n{"step": 4}\n')
    with pytest.raises(DataError, match="line 2 is of step 4, after step 5"):
        read_metrics(path)

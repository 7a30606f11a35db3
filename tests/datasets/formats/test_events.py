"""Scalars come back from event files as they were logged, also after crashes."""

import numpy as np
import pytest

from datasets.files import DataError
from datasets.formats.events import read_event_file, read_scalars
from tools.training.log import EventLog


def log(folder, values, first_step=1, name=None):
    """Log (step, loss) pairs into a file of its own; with a picture too large to be looked at."""
    writer = EventLog(folder, first_step)
    for step, value in values:
        writer.scalars("train", {"loss": value, "lr": 0.1}, step)
    writer.images("train", {"noise": np.random.default_rng(0).random((3, 200, 200))}, values[-1][0])
    writer.close()
    (path,) = (path for path in folder.iterdir() if not path.name.endswith(".done"))
    return path.rename(path.with_name(f"{name or path.name}.done"))


def test_scalars_with_steps(tmp_path):
    path = log(tmp_path, [(1, 3.5), (50, 2.25)])
    assert path.stat().st_size > 100_000
    for scalars in (read_scalars(tmp_path), read_event_file(path)):
        assert set(scalars) == {"train/loss", "train/lr"}
        np.testing.assert_array_equal(scalars["train/loss"], [[1, 3.5], [50, 2.25]])


def test_a_new_start_replaces_what_is_later(tmp_path):
    """The first run came to step 30, the checkpoint to 20: steps from 21 on are those of the second run."""
    log(tmp_path, [(10, 5), (20, 4), (30, 9)], name="events.out.tfevents.1.a")
    log(tmp_path, [(30, 3), (40, 2)], first_step=21, name="events.out.tfevents.2.a")
    np.testing.assert_array_equal(read_scalars(tmp_path)["train/loss"], [[10, 5], [20, 4], [30, 3], [40, 2]])


def test_a_folder_without_events_has_no_scalars(tmp_path):
    (tmp_path / "flags.json").write_text("{}")
    assert read_scalars(tmp_path) == {}
    with pytest.raises(DataError, match="nowhere: cannot list"):
        read_scalars(tmp_path / "nowhere")


def test_what_a_killed_process_left_ends_the_file(tmp_path):
    """Cut anywhere, the file gives the events before the cut, or it is no event file yet."""
    path = log(tmp_path, [(1, 3.5), (50, 2.25)])
    content = path.read_bytes()[:400]
    most = 0
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        steps = len(read_event_file(path).get("train/loss", ()))
        assert steps >= most
        most = steps
    assert most == 2


@pytest.mark.parametrize("place", [3, 9, 20, 60, 90])
def test_damage_is_told(tmp_path, place):
    """A wrong byte in a length, in a checksum or in an event."""
    path = log(tmp_path, [(1, 3.5)])
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)
    with pytest.raises(DataError, match="this event file is damaged"):
        read_event_file(path)


def test_other_files_are_refused(tmp_path):
    from tensorboardX.record_writer import RecordWriter

    path = tmp_path / "records"
    writer = RecordWriter(str(path))
    writer.write(b"")
    writer.close()
    with pytest.raises(DataError, match="is not an event file"):
        read_event_file(path)
    with pytest.raises(DataError, match="no such file"):
        read_event_file(tmp_path / "none")
    with pytest.raises(DataError, match="is not a file"):
        read_event_file("/dev/null")

"""The event files of a training; its metrics.jsonl is read in tests/datasets/formats/test_metrics.py."""

import os

import numpy as np
import pytest

from datasets.files import DataError
from tools.training.log import TrainingLog


def test_what_is_logged_can_be_read_back(tmp_path):
    """Scalars and pictures arrive with their names and steps; numbers that are not finite are left out."""
    log = TrainingLog(tmp_path, first_step=3)
    log.scalars("train", {"loss": 1.5, "broken": float("nan")}, step=7)
    log.images("train", {"depth": np.full((1, 4, 6), 0.5, np.float32)}, step=7)
    log.close()
    (path,) = tmp_path.glob("events.out.tfevents.*")
    events = list(_events(path.read_bytes()))
    values = {value.tag: (event.step, value) for event in events for value in event.summary.value}
    assert events[1].session_log.status == 1 and events[1].step == 3  # TensorBoard drops older files' steps from 3 on
    assert set(values) == {"train/loss", "train/depth"}
    assert values["train/loss"][0] == 7 and values["train/loss"][1].simple_value == 1.5
    picture = values["train/depth"][1].image
    assert (picture.height, picture.width) == (4, 6)


def _events(content: bytes):
    """The events of a file of records: length (8 bytes), its checksum (4), event, checksum (4)."""
    from tensorboardX.proto.event_pb2 import Event

    while content:
        length = int.from_bytes(content[:8], "little")
        event = Event()
        event.ParseFromString(content[12 : 12 + length])
        yield event
        content = content[16 + length :]


def test_every_start_has_its_own_file(tmp_path):
    """Started again, it leaves an older file alone, with half an event that a killed process left there."""
    first = TrainingLog(tmp_path)
    first.scalars("train", {"loss": 1.0}, step=1)
    (older,) = tmp_path.glob("events*")
    torn = older.read_bytes()[:-5]
    older.rename(older.with_name(older.name + ".0"))
    (older.with_name(older.name + ".0")).write_bytes(torn)
    TrainingLog(tmp_path, first_step=1).close()
    assert len(list(tmp_path.glob("events*"))) == 2 and older.with_name(older.name + ".0").read_bytes() == torn


def test_without_a_folder_nothing_happens():
    """Processes that do not log call it all the same."""
    log = TrainingLog(None)
    log.scalars("train", {"loss": 1.0}, step=1)
    log.close()
    assert not log.active


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full, a disk that is always full")
def test_a_full_disk_ends_in_an_error_and_never_hangs(tmp_path):
    """With the full device in the file's place the next write says so, and closing afterwards is harmless."""
    log = TrainingLog(tmp_path)
    log._writer._py_recordio_writer._writer = open("/dev/full", "wb")  # noqa: SIM115
    with pytest.raises(DataError, match=r"No space left"):
        log.scalars("train", {"loss": 1.0}, step=1)
    assert not log.active
    log.close()

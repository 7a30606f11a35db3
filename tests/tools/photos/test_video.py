"""A phone's video as photos: sharp frames, an equal way apart, and no more than poses need."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import change_times

from datasets.files import DataError, read_json
from datasets.formats.images import read_image, read_image_size
from tools.photos.gathering import gather
from tools.photos.video import Look, choose, frames_of_video

WIDTH, HEIGHT = 320, 240
SPEED = 4  # pixels from frame to frame
BLURRED = 3  # of four frames so many shake


def picture() -> np.ndarray:
    """Something to walk along: blobs of all sizes, uint8 [H, W, 3]."""
    rng = np.random.default_rng(0)
    layers = [cv2.GaussianBlur(rng.normal(size=(HEIGHT, 2000)).astype(np.float32), (0, 0), s) * s for s in (1, 3, 8)]
    grey = np.sum(layers, axis=0)
    return np.repeat(np.clip(128 + 40 * grey / grey.std(), 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def write_video(path: Path, places: list[float], blurred: set[int]) -> Path:
    """A video that shows the picture from these places on, in 10 frames a second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 10, (WIDTH, HEIGHT))
    whole = picture()
    for k, place in enumerate(places):
        frame = whole[:, round(place) : round(place) + WIDTH]
        writer.write(cv2.blur(frame, (15, 1)) if k in blurred else frame)
    writer.release()
    return path


@pytest.fixture(scope="module")
def walk(tmp_path_factory) -> tuple[Path, list[float], set[int]]:
    """The camera walks, stands for thirty frames with a trembling hand, and walks on; most frames are blurred."""
    rng = np.random.default_rng(1)
    places = [SPEED * k for k in range(80)]
    places += [places[-1] + rng.uniform(0, 2) for _ in range(30)]
    places += [places[79] + SPEED * k for k in range(80)]
    blurred = {k for k in range(len(places)) if k % (BLURRED + 1)}
    path = write_video(tmp_path_factory.mktemp("video") / "walk.mp4", places, blurred)
    return path, places, blurred


def test_frames_are_sharp_and_an_equal_way_apart(walk, tmp_path):
    """None while the camera stands; of each four the sharp one."""
    video, places, blurred = walk
    names = frames_of_video(video, tmp_path, most=100)
    numbers = [int(name[:6]) for name in names]
    assert read_image_size(tmp_path / names[0]) == (WIDTH, HEIGHT)
    assert 15 <= len(numbers) <= 45 and not blurred & set(numbers)
    steps = np.diff([places[number] for number in numbers])
    assert steps.min() > 4 and steps.max() < 3 * np.median(steps)
    assert numbers[0] <= 4 and numbers[-1] >= len(places) - 6  # from one end to the other


def test_no_more_than_asked_for(walk, tmp_path):
    """Fewer frames are farther apart."""
    video, places, _ = walk
    names = frames_of_video(video, tmp_path, most=8)
    ways = np.diff([places[int(name[:6])] for name in names])
    assert len(names) <= 8 and ways.min() > 40


def test_a_rerun_goes_on(walk, tmp_path):
    """Frames that are there stay; one that is missing is written again; another wish begins anew."""
    names = frames_of_video(walk[0], tmp_path, most=20)
    times = change_times(tmp_path, "*")
    assert frames_of_video(walk[0], tmp_path, most=20) == names and change_times(tmp_path, "*") == times
    first = read_image(tmp_path / names[0])
    (tmp_path / names[0]).unlink()
    assert frames_of_video(walk[0], tmp_path, most=20) == names
    np.testing.assert_array_equal(read_image(tmp_path / names[0]), first)
    fewer = frames_of_video(walk[0], tmp_path, most=10)
    assert sorted(path.name for path in tmp_path.glob("*.jpg")) == fewer
    assert read_json(tmp_path / "frames.json")["frames"] == [int(name[:6]) for name in fewer]


def test_videos_are_taken_where_there_are_no_photos(walk, tmp_path):
    """A video itself, or a folder of videos; beside photos they are named, but for those of live photos."""
    claimed = []
    photos = gather(walk[0], tmp_path / "frames", 12, lambda: claimed.append(1))
    assert photos.folder == tmp_path / "frames" and all(name.startswith("walk/") for name in photos.names)
    assert claimed == [1] and len(photos.names) >= 8
    again = gather(walk[0].parent, tmp_path / "frames", 12, lambda: claimed.append(1))
    assert again == photos and claimed == [1]


def test_videos_beside_photos(tmp_path, capsys):
    """They are named; not those that a phone adds to each photo."""
    for name in ("IMG_1.JPG", "IMG_2.JPG", "IMG_1.MOV", "clip.mp4"):
        (tmp_path / name).touch()
    photos = gather(tmp_path, tmp_path / "frames", 12, lambda: None)
    assert photos.names == ["IMG_1.JPG", "IMG_2.JPG"]
    said = capsys.readouterr().out
    assert "clip.mp4" in said and "IMG_1.MOV" not in said


def test_a_camera_that_stands(tmp_path):
    """One frame is all that it shows: no photos of a scene."""
    video = write_video(tmp_path / "still.mp4", [100.0] * 20, set())
    with pytest.raises(DataError, match="gives only one frame: nothing in it moves"):
        gather(video, tmp_path / "frames", 50, lambda: None)


def test_what_is_no_video(tmp_path):
    """Whatever its name says."""
    (tmp_path / "a.mp4").write_bytes(b"not a video")
    with pytest.raises(DataError, match=r"a\.mp4: is no video that can be read"):
        frames_of_video(tmp_path / "a.mp4", tmp_path / "frames", 50)


def test_the_sharpest_around_each_place():
    """Also where the way jumps, and no frame shows the places between."""
    ways = [0.0, 0.005, 0.01, 0.3, 0.305, 0.31, 0.6, 0.605, 0.61]
    looks = [Look(k, float(k % 3), way) for k, way in enumerate(ways)]  # of three frames the last is the sharpest
    assert [looks[k].way for k in choose(looks, most=50)] == [0.01, 0.31, 0.61]

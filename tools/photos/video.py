"""Frames of a video as photos: sharp ones, each taken from somewhere else than the last.

First all of the video is looked at, small and in grey: how sharp each frame is, and how far points of it have moved
since the start. Then frames are taken an equal way apart, of those around each place the sharpest, and written.
"""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from datasets.files import DataError, read_json, write_json
from datasets.formats.images import write_image
from tools.runtime.program import Progress

_RECORD = "frames.json"

# Looked at are so many frames a second, this long on their longer side, pixels.
_PER_SECOND, _SMALL = 10, 480
# Between two frames points move by this share of the diagonal: nine tenths of what one shows is in the next.
_STEP, _FEWEST = 0.05, 20
_SAME_PLACE = 0.012  # share of the diagonal by which a hand shakes
_AROUND = 0.5  # share of a step before and behind a place among which the sharpest is taken
_POINTS, _FEWEST_TRACKED = 400, 40
_SHARE_TRACKED = 0.4  # of the points; with fewer new ones are found
_VERSION = 1


@dataclasses.dataclass(frozen=True)
class Look:
    """What is known of a frame: its number, its sharpness, and how far it is along the way, in diagonals."""

    number: int
    sharpness: float
    way: float


def frames_of_video(video: Path, folder: Path, most: int) -> list[str]:
    """Write at most so many frames of a video to a folder; returns their names, in order.

    What an earlier run has chosen and written of the same video is not made again. Raises DataError for a video that
    cannot be read.
    """
    stat = video.stat()
    made_from = {"size": stat.st_size, "changed": stat.st_mtime_ns, "most": most, "version": _VERSION}
    numbers = _chosen_before(folder / _RECORD, made_from)
    if numbers is None:
        for stale in folder.glob("*.jpg"):
            stale.unlink()
        looks = list(look_through(video))
        numbers = [looks[i].number for i in choose(looks, most)]
        write_json(folder / _RECORD, {"made_from": made_from, "frames": numbers})
        print(f"{video}: {len(numbers)} frames of {looks[-1].number + 1} are used", flush=True)
    missing = [number for number in numbers if not (folder / _name(number)).exists()]
    if missing:
        _write_frames(video, folder, missing)
    return [_name(number) for number in numbers if (folder / _name(number)).exists()]


def _chosen_before(record: Path, made_from: dict[str, Any]) -> list[int] | None:
    with contextlib.suppress(DataError):
        content = read_json(record) if record.exists() else None
        if isinstance(content, dict) and content.get("made_from") == made_from:
            frames = content.get("frames")
            if isinstance(frames, list) and all(type(number) is int for number in frames):
                return frames
    return None


def _name(number: int) -> str:
    return f"{number:06d}.jpg"


def choose(looks: Sequence[Look], most: int) -> list[int]:
    """The places, among frames looked at, of those to take: an equal way apart, the sharpest around each place."""
    way, sharpness = (np.array([getattr(look, name) for look in looks]) for name in ("way", "sharpness"))
    whole = float(way[-1])
    if whole < _STEP:  # the camera stands
        return [int(sharpness.argmax())]
    steps = max(1, min(most - 1, max(round(whole / _STEP), min(_FEWEST, round(whole / _SAME_PLACE)))))
    step = whole / steps
    chosen = []
    for place in np.linspace(0, whole, steps + 1):
        near = np.flatnonzero(np.abs(way - place) <= _AROUND * step)
        if len(near):  # the camera may have jumped over it
            chosen.append(int(near[sharpness[near].argmax()]))
    return sorted(set(chosen))


# ---------------------------------------------------------------- looking through a video


def look_through(video: Path) -> Iterator[Look]:
    """Every frame that is looked at, in order."""
    with _opened(video) as capture:
        rate, count = (capture.get(which) for which in (cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_COUNT))
        every = max(1, round(rate / _PER_SECOND)) if 1 <= rate <= 1000 else 3
        tracker, number = _Way(), 0
        with Progress(max(0, int(count)) // every, "video", unit="frame") as progress:
            while capture.grab():
                if number % every == 0:
                    ok, frame = capture.retrieve()
                    if ok:
                        small = _small_grey(frame)
                        yield Look(number, _sharpness(small), tracker.advance(small))
                        progress.step()
                number += 1
        if number == 0:
            raise DataError(f"{video}: holds no frame that can be read; save it again as MP4 (H.264)")


@contextlib.contextmanager
def _opened(video: Path) -> Iterator[cv2.VideoCapture]:
    """The video's reader, which turns frames upright as phones say."""
    capture = cv2.VideoCapture(str(video))
    try:
        if not capture.isOpened():
            raise DataError(f"{video}: is no video that can be read; save it again as MP4 (H.264)")
        yield capture
    finally:
        capture.release()


def _small_grey(frame: np.ndarray) -> np.ndarray:
    grey = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
    scale = min(1.0, _SMALL / max(grey.shape))
    return cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def _sharpness(grey: np.ndarray) -> float:
    """The variance of the Laplacian: less for what is blurred, of frames that show the same."""
    return float(cv2.Laplacian(grey, cv2.CV_32F).var())


class _Way:
    """How far the points of a video have moved, frame by frame, in diagonals of the image.

    Points are followed from an anchor on. The way grows by their median shift; shifts that a shaking hand makes never
    become a new anchor, so they do not add up.
    """

    def __init__(self) -> None:
        self._way = 0.0
        self._last: np.ndarray | None = None
        self._from = self._to = np.empty((0, 1, 2), np.float32)

    def advance(self, grey: np.ndarray) -> float:
        """The way up to a frame [H, W] uint8."""
        if self._last is None:
            self._begin(grey)
            return self._way
        found, status, _ = (
            cv2.calcOpticalFlowPyrLK(self._last, grey, self._to, None) if len(self._to) else (self._to, None, None)
        )
        kept = np.zeros(len(self._to), bool) if status is None else status[:, 0] > 0
        shift = _SAME_PLACE  # where nothing can be followed the frame shows something else
        if kept.sum() >= _FEWEST_TRACKED // 2:
            moves = np.linalg.norm((found - self._from)[kept, 0], axis=1)
            shift = float(np.median(moves)) / float(np.hypot(*grey.shape))
        self._last = grey
        way = self._way + shift
        if shift >= _SAME_PLACE or kept.sum() < max(_FEWEST_TRACKED, _SHARE_TRACKED * len(self._from)):
            self._way = way
            self._begin(grey)
        else:
            self._from, self._to = self._from[kept], found[kept]
        return way

    def _begin(self, grey: np.ndarray) -> None:
        """Make a frame the anchor."""
        points = cv2.goodFeaturesToTrack(grey, _POINTS, 0.01, 7)
        self._from = self._to = np.empty((0, 1, 2), np.float32) if points is None else points
        self._last = grey


# ---------------------------------------------------------------- writing frames


def _write_frames(video: Path, folder: Path, numbers: Sequence[int]) -> None:
    """Write the frames of these numbers, ascending."""
    wanted, last = set(numbers), max(numbers)
    with _opened(video) as capture, Progress(len(numbers), "frames", unit="frame") as progress:
        for number in range(last + 1):
            if not capture.grab():
                break
            if number in wanted:
                ok, frame = capture.retrieve()
                if ok:
                    write_image(folder / _name(number), np.ascontiguousarray(frame[..., ::-1]), quality=98)
                    progress.step()

"""The depth that a mesh is made of: of every view what the cloud's own check kept, in files while the work lasts."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from datasets.camera import Camera, local_origin
from datasets.files import DataError
from datasets.predictions import Predictions
from fusion.builtin import fuse_views, read_views, rebuilt
from fusion.consistency import Check
from fusion.filters import check_prediction
from fusion.normals import slants
from fusion.others import other_views
from fusion.rims import beyond_edges

_IN_MEMORY = 8  # views


# Depth that only a looser check keeps closes holes, and must not move what others are sure of: it counts so much.
_UNSURE = 0.05
# It is taken up to so many pixels from what is sure, as far as the depth goes on without a step of more than so many
# widths of a pixel. Then the rim grows by so many pixels, for a voxel at a border has no neighbour to make faces with.
_REACH, _STEP, _RIM = 12, 3.0, 1
# The looser checks: thresholds so many times as large, and this share of the views, at least one.
_LOOSER, _FEWER = 4.0, 0.5


@dataclasses.dataclass(frozen=True)
class KeptView:
    """A view's depth [H, W] float32, 0 where no check kept any, its camera at this size, and its number.

    sure [H, W] bool: what the cloud's own check kept; the rest passed a looser one. baseline: distance of the cameras
    that it was checked against, world units; the median.
    """

    depth: np.ndarray
    sure: np.ndarray
    camera: Camera
    number: int
    baseline: float

    def without(self, pixels: np.ndarray) -> "KeptView":
        """The view without the depth of some pixels, bool [H, W], sure or not."""
        return dataclasses.replace(self, depth=np.where(pixels, np.float32(0), self.depth), sure=self.sure & ~pixels)


def kept_by_fusibile(
    predictions: Predictions,
    views: Sequence[int],
    prob_threshold: float,
    disp_threshold: float,
    num_consistent: float,
    fill: bool,
    sources: int = 0,
    agree_widths: float = 0.0,
) -> Iterator[KeptView]:
    """The pixels that the built-in fuser makes points of, view by view, at the depth of these points.

    fill: also those of a looser check that go on from these (`grown`). sources and agree_widths: as for
    fusion.builtin.scan_points.
    """
    views = sorted(set(views))
    depths, images, cameras = read_views(predictions, views, prob_threshold)
    others = other_views(depths, cameras, sources)
    thresholds = [(disp_threshold, num_consistent, agree_widths)]
    if fill:
        thresholds.insert(0, (disp_threshold * _LOOSER, _fewer(num_consistent), agree_widths * _LOOSER))
    passes = [
        fuse_views(depths, images, cameras, disparity, needed, others=others, agree_widths=widths)
        for disparity, needed, widths in thresholds
    ]
    rows = zip(views, depths, rebuilt(cameras, depths), others, *passes, strict=True)
    for view, whole, camera, chosen, *fused in rows:
        kept = np.zeros(whole.shape, np.float32)
        for points, _, _, pix in fused:
            _, _, kept.reshape(-1)[pix] = camera.project(points)
        sure = np.zeros(whole.shape, bool)
        sure.reshape(-1)[fused[-1].pix] = True
        baseline = _baseline(camera, [cameras[other] for other in chosen])
        yield KeptView(grown(kept, sure, camera) if fill else kept, sure, camera, view, baseline)


def kept_by_check(
    predictions: Predictions, pair_path: Path, conf: float, check: Check, fill: bool
) -> Iterator[KeptView]:
    """The pixels that the normal or the dynamic check makes points of, view by view, at their mean depth.

    fill: also those of a looser check that go on from these (`grown`).
    """
    looser = Check(
        tuple(threshold * _LOOSER for threshold in check.pixel_thresholds),
        tuple(threshold * _LOOSER for threshold in check.depth_thresholds),
        tuple(_fewer(required) for required in check.required),
    )
    for reference, sources in predictions.checked_pairs(pair_path):
        view = predictions.view(reference)
        possible = np.isfinite(view.depth) & (view.depth > 0)
        agreement = check_prediction(predictions, reference, sources, check)
        sure = possible & agreement.passed & (predictions.confidence(reference) > conf)
        depth = np.where(sure, agreement.mean, np.float32(0))
        if fill:
            unsure = possible & ~sure & check_prediction(predictions, reference, sources, looser).passed
            depth[unsure] = view.depth[unsure]
            depth = grown(depth, sure, view.camera)
        baseline = _baseline(view.camera, [predictions.view(source).camera for source in sources])
        yield KeptView(depth, sure, view.camera, reference, baseline)


def _baseline(camera: Camera, others: Sequence[Camera]) -> float:
    """The median distance to other cameras; infinite where there are none."""
    return float(np.median([np.linalg.norm(camera.centre - other.centre) for other in others] or [np.inf]))


def without_rims(views: Iterator[KeptView], predictions: Predictions, rim: float) -> Iterator[KeptView]:
    """The views without what reaches beyond the edges of things, at most `rim` of the longer side (fusion.rims)."""
    for view in views:
        beyond = beyond_edges(view.depth > 0, predictions.image(view.number), round(rim * max(view.depth.shape)))
        yield view.without(beyond)


def grown(depth: np.ndarray, sure: np.ndarray, camera: Camera) -> np.ndarray:
    """The depth [H, W] that is sure (bool [H, W]), what goes on from it without a step, and a rim around both."""
    widest = _STEP / camera.shorter_focal
    taken = np.where(sure, depth, np.float32(0))
    for _ in range(_REACH):
        new = np.zeros(depth.shape, bool)
        for beside in _beside(taken):
            new |= (beside > 0) & (np.abs(depth - beside) <= widest * beside)
        new &= (depth > 0) & (taken == 0)
        if not new.any():
            break
        taken[new] = depth[new]
    for _ in range(_RIM):
        around = np.stack(_beside(taken))
        count = (around > 0).sum(axis=0)
        farthest, nearest = around.max(axis=0), np.where(around > 0, around, np.inf).min(axis=0)
        rim = (taken == 0) & (count > 0) & (farthest - nearest <= widest * farthest)
        taken[rim] = around.sum(axis=0)[rim] / count[rim]
    return taken


def _beside(depth: np.ndarray) -> list[np.ndarray]:
    """The depth left, right, above and below, each [H, W]; 0 beyond the border."""
    padded = np.pad(depth, 1)
    return [padded[1:-1, :-2], padded[1:-1, 2:], padded[:-2, 1:-1], padded[2:, 1:-1]]


def _fewer(views: float) -> int:
    """How many views must agree in a looser check."""
    return max(1, int(views * _FEWER))


class KeptMaps:
    """Views that were kept in a folder, read when they are asked for; lengths are around `origin`, a world point [3].

    Raises DataError where no pixel of any view was kept.
    """

    def __init__(
        self, views: Iterator[KeptView], predictions: Predictions, folder: Path, done: Callable[[], None]
    ) -> None:
        self._predictions, self._folder = predictions, folder
        world: dict[int, Camera] = {}
        depths, pixels = [], []
        for view in views:
            known = view.depth[view.sure & (view.depth > 0)]
            if len(known):
                world[view.number] = view.camera
                depths.append(float(np.median(known)))
                pixels.append(depths[-1] / float(np.sqrt(abs(view.camera.K[0, 0] * view.camera.K[1, 1]))))
                np.save(folder / f"{view.number}.npy", view.depth)
                np.save(folder / f"{view.number}_sure.npy", view.sure)
            done()
        if not world:
            raise DataError(
                f"{predictions.folder}: no view has depth that the others confirm; make the cloud with looser settings"
            )
        self.origin = local_origin(list(world.values()))
        self.world_cameras = world
        self.cameras = {number: camera.around(self.origin) for number, camera in world.items()}
        self.median_depth = float(np.median(depths))
        self.footprint = float(np.median(pixels))
        self.depth = functools.lru_cache(_IN_MEMORY)(self._read)

    @property
    def views(self) -> list[int]:
        """The numbers of the views with depth, in order."""
        return sorted(self.cameras)

    def _read(self, view: int) -> np.ndarray:
        return np.load(self._folder / f"{view}.npy")

    def weights(self, view: int) -> np.ndarray:
        """How much a view's pixels count, float32 [H, W]: their confidence, 1 where that is unknown; a little where it
        is none, and where only a looser check kept them."""
        confidence = np.clip(np.nan_to_num(self._predictions.confidence(view), nan=1.0), 0.01, 1)
        sure = np.load(self._folder / f"{view}_sure.npy")
        return (confidence * np.where(sure, 1, _UNSURE)).astype(np.float32)

    def slants(self, view: int) -> np.ndarray:
        """How directly a view looks at what it sees, float32 [H, W] (fusion.normals); kept for other tiles."""
        path = self._folder / f"{view}_slants.npy"
        if not path.exists():
            np.save(path, slants(self.depth(view), self.cameras[view]))
        return np.load(path)

    def seen_depth(self, view: int) -> np.ndarray:
        """All of a view's depth [H, W], also what no check kept: of leaves, say, through which the others look."""
        return self._predictions.view(view).depth

    def image(self, view: int) -> np.ndarray:
        """The view's image, RGB uint8 [H, W, 3]."""
        return self._predictions.image(view)

    def up(self) -> np.ndarray:
        """The direction [3] that is up for the photographer, over all views."""
        up = -np.mean([camera.cam_T_world[1, :3] for camera in self.cameras.values()], axis=0)
        length = np.linalg.norm(up)
        return up / length if length > 0 else np.array([0.0, 1.0, 0.0])

"""Features of views for prediction: computed once per view however many references use it, within a memory budget."""

import mmap
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import Executor, Future
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from datasets.camera import Camera
from datasets.mvs import MVSDataset, ViewKey
from datasets.sample import View


class SeenView(NamedTuple):
    """A view's image [H, W, 3] uint8, its camera, and its features [1, C, h, w] of every stage."""

    image: np.ndarray
    camera: Camera
    features: tuple[Tensor, ...]

    @property
    def bytes(self) -> int:
        """Memory that it holds."""
        return self.image.nbytes + sum(feature.nbytes for feature in self.features)


class ViewFeatures:
    """The views used last, up to `budget` bytes of them; `extract` maps an image [1, 3, H, W] to stages of features.

    Views of a scan are dropped when the first one of another scan is asked for: finished scans hold no memory.
    Images are read by the executor's threads: `expect` starts on those that `get` will soon ask for. `get` keeps a GPU
    waiting, so that it does as little as it can.
    """

    def __init__(
        self, dataset: MVSDataset, extract: Callable[[Tensor], Iterable[Tensor]], budget: float, readers: Executor
    ) -> None:
        self._dataset, self._extract, self._budget, self._readers = dataset, extract, budget, readers
        self._seen: OrderedDict[ViewKey, SeenView] = OrderedDict()
        self._reading: dict[ViewKey, Future[tuple[View, np.ndarray]]] = {}
        self._bytes = 0

    def expect(self, keys: Iterable[ViewKey]) -> None:
        """Start reading the images that are not at hand."""
        for key in keys:
            if key not in self._seen and key not in self._reading:
                self._reading[key] = self._readers.submit(_read, self._dataset, key)

    def get(self, key: ViewKey) -> SeenView:
        """The view with its features; raises DataError when its image cannot be used."""
        if key in self._seen:
            self._seen.move_to_end(key)
            return self._seen[key]
        if self._seen and next(iter(self._seen)).scan != key.scan:
            self._seen.clear()
            self._bytes = 0
        self.expect([key])
        view, image = self._reading.pop(key).result()
        features = tuple(map(_in_own_pages, self._extract(torch.from_numpy(view.image).permute(2, 0, 1)[None])))
        seen = SeenView(image, view.camera, features)
        self._seen[key] = seen
        self._bytes += seen.bytes
        while self._bytes > self._budget and len(self._seen) > 1:
            self._bytes -= self._seen.popitem(last=False)[1].bytes
        return seen


def _read(dataset: MVSDataset, key: ViewKey) -> tuple[View, np.ndarray]:
    """A view, and its image as results keep it."""
    view = dataset.load(key)
    return view, view.pixels()


def order_of_reuse(needs: Sequence[Sequence[Hashable]], capacity: int) -> list[int]:
    """An order of tasks, given by the views that each needs, in which a memory of the `capacity` views used last has to
    read few of them twice: next comes the task that misses the fewest, and of those the one whose views the fewest of
    the remaining ones need.
    """
    users: dict[Hashable, list[int]] = {}
    for task, views in enumerate(needs):
        for view in views:
            users.setdefault(view, []).append(task)
    remaining = {view: len(tasks) for view, tasks in users.items()}
    left, kept, order = dict.fromkeys(range(len(needs))), OrderedDict[Hashable, None](), []

    def cost(task: int) -> tuple[int, int, int]:
        return sum(view not in kept for view in needs[task]), sum(remaining[view] for view in needs[task]), task

    while left:
        near = {task for view in kept for task in users[view] if task in left}
        chosen = min(near, key=cost, default=next(iter(left)))
        del left[chosen]
        order.append(chosen)
        for view in needs[chosen]:
            remaining[view] -= 1
            kept[view] = None
            kept.move_to_end(view)
        while len(kept) > capacity:
            kept.popitem(last=False)
    return order


def _in_own_pages(tensor: Tensor) -> Tensor:
    """A copy of a CPU tensor in memory of its own: kept long, it would split the heap for those that follow."""
    if tensor.device.type != "cpu":
        return tensor
    flat = torch.frombuffer(mmap.mmap(-1, tensor.nbytes), dtype=tensor.dtype)
    return flat.as_strided(tensor.shape, tensor.stride()).copy_(tensor)

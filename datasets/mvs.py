"""The dataset of all layouts: every reference view of every scan with its source views, as samples."""

import dataclasses
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from datasets.camera import Camera
from datasets.files import DataError, PathLike
from datasets.formats.images import read_image_size
from datasets.formats.pfm import read_pfm
from datasets.layouts import LAYOUTS
from datasets.layouts.base import Layout, folder_names
from datasets.results import LabelFiles
from datasets.sample import View, fitted_size, load_view, make_sample, stage_maps


@dataclasses.dataclass(frozen=True)
class Settings:
    """How samples are made.

    views: the reference and its sources; numdepth depth values, their interval scaled by interval_scale; max_size
    (width, height) for layouts that scale images; light: one light, or None for every light there is; augment: one
    random change of colours for all views of a sample; labels: folder of pseudo-labels; ground_truth: whether to add it
    where it is known.
    """

    views: int
    numdepth: int = 192
    interval_scale: float = 1.0
    max_size: tuple[int, int] = (1600, 1200)
    light: int | None = None
    augment: bool = False
    labels: Path | None = None
    ground_truth: bool = False


class Entry(NamedTuple):
    """Index entry of one sample."""

    scan: str
    light: int
    reference: int
    sources: tuple[int, ...]


class ViewKey(NamedTuple):
    """An image as a sample takes it: size is (width, height), the reference view's for all views of a sample."""

    scan: str
    light: int
    view: int
    size: tuple[int, int]


class MVSDataset(Dataset):
    """Samples (datasets.sample) of the scans; the index is made, and the files' presence checked, at the start."""

    def __init__(self, layout: Layout, scans: list[str], settings: Settings) -> None:
        if settings.views < 2:
            raise DataError(f"{settings.views} views are too few: a reference needs at least one source view")
        self.layout, self.settings = layout, settings
        self.entries = [entry for scan in scans for entry in self._index(scan)]

    def _index(self, scan: str) -> list[Entry]:
        lights, samples = self._lights(scan), []
        for reference, candidates in self.layout.pairs(scan):
            if candidates:
                chosen = candidates[: self.settings.views - 1]
                # As in the official code the best source is repeated when too few are listed.
                chosen = chosen + [candidates[0]] * (self.settings.views - 1 - len(chosen))
                samples.append((reference, tuple(chosen)))
        used = chain.from_iterable((reference, *chosen) for reference, chosen in samples)
        self.layout.check_views(scan, dict.fromkeys(used), lights)  # each once: a view is the source of many others
        if self.settings.labels is not None:
            self._check_labels(scan, [reference for reference, _ in samples])
        return [Entry(scan, light, *sample) for light in lights for sample in samples]

    def _lights(self, scan: str) -> list[int]:
        """The lights under which the scan is used."""
        lights, wanted = self.layout.lights(scan), self.settings.light
        if wanted is None or not self.layout.has_lights:
            return lights
        if wanted not in lights:
            raise DataError(f"{self.layout.root}: {scan} has no light {wanted}, only {lights}; see --light_idx")
        return [wanted]

    def _label_paths(self, scan: str, view: int) -> tuple[Path, Path]:
        """The files of mu and sigma."""
        files = LabelFiles(self.settings.labels / scan, view)
        return files.mean, files.deviation

    def _check_labels(self, scan: str, views: list[int]) -> None:
        for paths in zip(*(self._label_paths(scan, view) for view in views), strict=True):
            folder = paths[0].parent
            names = folder_names(str(folder)) if folder.is_dir() else ()
            for path in paths:
                if path.name not in names:
                    raise DataError(f"{path}: this pseudo-label is missing; make it with tools/check_and_encode.py")

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> dict[str, Any]:
        entry, settings = self.entries[index], self.settings
        keys = self.view_keys(index)
        views = [self.load(key) for key in keys]
        size, camera = keys[0].size, views[0].camera
        depth_values = self.depth_values(index, camera)
        sample = make_sample(views, depth_values, entry.scan, entry.reference)
        if settings.augment:
            sample["imgs"] = _jitter(torch.from_numpy(sample["imgs"]))
        if settings.ground_truth:
            depth = self.layout.ground_truth(entry.scan, entry.reference, size)
            if depth is not None:
                sample["depth"] = stage_maps(depth)
                sample["depth_mask"] = stage_maps((depth >= depth_values[0]) & (depth <= depth_values[-1]))
        if settings.labels is not None:
            sample.update(self._labels(entry, size, camera.depth_range(settings.numdepth)))
        return sample

    def view_keys(self, index: int) -> list[ViewKey]:
        """The images of a sample, the reference first."""
        entry, layout = self.entries[index], self.layout
        size = read_image_size(layout.image_path(entry.scan, entry.reference, entry.light))
        if layout.scales_images:
            size = fitted_size(*size, self.settings.max_size)
        return [ViewKey(entry.scan, entry.light, view, size) for view in (entry.reference, *entry.sources)]

    def sizes(self, scan: str) -> dict[int, tuple[int, int]]:
        """The size (width, height) that each reference view of a scan is predicted at."""
        return {
            entry.reference: self.view_keys(i)[0].size for i, entry in enumerate(self.entries) if entry.scan == scan
        }

    def load(self, key: ViewKey) -> View:
        """The image with its camera, both at the key's size."""
        path = self.layout.image_path(key.scan, key.view, key.light)
        return load_view(path, self.layout.camera(key.scan, key.view), key.size, self.layout.scales_images)

    def depth_values(self, index: int, camera: Camera) -> np.ndarray:
        """A sample's depth hypotheses, float32 [numdepth], from its reference view's camera."""
        entry, settings = self.entries[index], self.settings
        path = self.layout.camera_path(entry.scan, entry.reference)
        return camera.depth_values(settings.numdepth, settings.interval_scale, path)

    def _labels(self, entry: Entry, size: tuple[int, int], depth_range: tuple[float, float]) -> dict[str, Any]:
        """Pseudo-labels of the reference view; valid where mu lies inside the camera file's depth range."""
        maps = []
        for path in self._label_paths(entry.scan, entry.reference):
            maps.append(read_pfm(path))
            if maps[-1].shape != size[::-1]:
                found = "x".join(map(str, maps[-1].shape[::-1]))
                raise DataError(f"{path}: is {found}, the image {size[0]}x{size[1]}; make the labels at this size")
        mu, sigma = maps
        valid = (mu > depth_range[0]) & (mu < depth_range[1])
        return {"mu": stage_maps(mu), "sigma": stage_maps(sigma), "label_mask": stage_maps(valid)}


def _jitter(imgs: torch.Tensor) -> torch.Tensor:
    """One random change of brightness, contrast, saturation and hue for all views [N, 3, H, W]."""
    from torchvision.transforms import ColorJitter  # slow to import, rarely needed

    return ColorJitter(brightness=0.3, contrast=0.3, saturation=0.2, hue=0.02)(imgs)


def open_dataset(name: str, root: PathLike, scan_list: PathLike, settings: Settings) -> MVSDataset:
    """The dataset `name` (a key of LAYOUTS) over the scans of a list file, or "all"."""
    layout = LAYOUTS[name](root)
    return MVSDataset(layout, layout.scans(scan_list), settings)

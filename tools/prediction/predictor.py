"""Depth and confidence of every view of a dataset, by a network."""

import dataclasses
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from datasets.camera import Camera
from datasets.files import DataError, PathLike
from datasets.formats.images import colour_map, write_image
from datasets.formats.pfm import write_pfm
from datasets.io import write_camera
from datasets.masks import read_view_mask
from datasets.mvs import MVSDataset, Settings
from datasets.records import map_digest, write_marker
from datasets.results import ViewFiles
from datasets.sample import STAGE_SCALES, View, stage_projections
from models.blocks import fold
from models.cascade import CascadeMVSNet
from models.checkpoint import file_digest, load_model
from models.plane_sweep.definition import choose_implementation
from tools.prediction.origins import Origin, Origins, check_outdir, is_finished, layout_name
from tools.prediction.settings import ImportSettings, PredictionSettings, SweepSettings, recorded
from tools.prediction.view_features import SeenView, ViewFeatures, order_of_reuse
from tools.runtime import distributed
from tools.runtime.devices import AMP_TYPES, Arriving, move_to, resolved_amp, sent_to
from tools.runtime.program import KEPT_TENSOR, Progress, keep_freed_memory, return_freed_memory

Item = TypeVar("Item")
Reference = tuple[int, np.ndarray, Camera]  # a view's index in the dataset, its image uint8 [H, W, 3] and camera


def sample_settings(settings: PredictionSettings | SweepSettings | ImportSettings) -> Settings:
    """How a dataset makes samples for prediction."""
    names = ("views", "numdepth", "interval_scale", "max_size", "light")
    return Settings(**{name: getattr(settings, name) for name in names})


def load_for_prediction(checkpoint: PathLike, settings: PredictionSettings, device: torch.device) -> CascadeMVSNet:
    """A checkpoint's network on the device, its BatchNorm folded into convolutions of the precision that is set.

    Raises CheckpointError for a file that is none, and DataError where this machine has no such plane sweep.
    """
    try:
        choose_implementation(device.type)
    except ValueError as error:
        raise DataError(str(error)) from None
    model = load_model(checkpoint, settings.official_ratios, **dataclasses.asdict(settings.network))
    return prepared(model, settings.amp, device)


def prepared(model: CascadeMVSNet, amp: str, device: torch.device) -> CascadeMVSNet:
    """A network in evaluation mode made ready for prediction, in place; `amp` is a value of --amp."""
    return fold(model, AMP_TYPES[resolved_amp(amp, device)] or torch.float32).to(device)


def largest_tensor(model: CascadeMVSNet, dataset: MVSDataset) -> int:
    """Bytes of what the last 3D U-Net's layers hand on, for the dataset's first view."""
    width, height = dataset.view_keys(0)[0].size
    channels = model.feature.out_channels[-1]
    return channels * model.settings.ndepths[-1] * width * height * next(model.buffers()).itemsize


def tune_memory(model: CascadeMVSNet, dataset: MVSDataset) -> None:
    """Have the C library treat freed memory as suits the dataset's images."""
    if len(dataset):
        keep_freed_memory() if largest_tensor(model, dataset) <= KEPT_TENSOR else return_freed_memory()


def predict(
    checkpoint: PathLike,
    dataset: MVSDataset,
    outdir: Path,
    settings: PredictionSettings,
    device: torch.device,
    refined: bool = False,
) -> None:
    """Write depth and confidence of every reference view of the dataset that is not finished yet.

    A view is finished when it was made from the same weights, settings, cameras and images. `refined`: scans whose
    depth is refined already (tools.prediction.refine) stay so. Under torchrun all processes call it, and share the
    work. Raises DataError and CheckpointError.
    """
    check_outdir(dataset, outdir)
    model = load_for_prediction(checkpoint, settings, device)
    tune_memory(model, dataset)
    origins = Origins(dataset, outdir, prediction_record(checkpoint, settings, dataset, model, device))
    origins.begin(refined)
    unfinished = unfinished_batches(dataset, outdir, settings.batch_size)
    distributed.barrier()  # all processes have the same list before one of them finishes a view of it
    batches = distributed.share_runs(_neighbours_together(dataset, unfinished, model, settings.cache_gb))
    with Progress(sum(map(len, batches)), "depth", quiet=not distributed.is_main()) as progress:
        for _ in _predicted(settings, origins, model, device, batches):
            progress.step()
    distributed.barrier()


def _predicted(
    settings: PredictionSettings,
    origins: Origins,
    model: CascadeMVSNet,
    device: torch.device,
    batches: list[list[int]],
) -> Iterator[int]:
    """Predict and write the views of index batches; yields each one's index. Threads read ahead and write behind."""
    threads, dataset, outdir = max(1, settings.workers), origins.dataset, origins.outdir
    with ThreadPoolExecutor(threads) as writers:
        written: deque[Future[int]] = deque()
        for view in predicted_views(model, dataset, device, batches, threads, settings.cache_gb):
            maps = (view.image, view.camera, view.depth, view.confidence(settings.confidence))
            origin = origins.of(view.index)
            written.append(writers.submit(write_prediction, outdir, dataset, view.index, *maps, origin))
            while len(written) > 2 * threads:
                yield written.popleft().result()
        while written:
            yield written.popleft().result()


class PredictedView(NamedTuple):
    """A view that was predicted: its index in the dataset, image uint8 [H, W, 3] and camera, depth float32 [H, W] and
    the stages' confidences [h, w], coarse to fine."""

    index: int
    image: np.ndarray
    camera: Camera
    depth: np.ndarray
    confidences: list[np.ndarray]

    def confidence(self, kind: str = "product") -> np.ndarray:
        """Confidence float32 [H, W]: the "product" of the stages' confidences, or the "last" one's own."""
        return combined_confidence(self.confidences if kind == "product" else self.confidences[-1:])


def predicted_views(
    model: CascadeMVSNet,
    dataset: MVSDataset,
    device: torch.device,
    batches: list[list[int]] | None = None,
    threads: int = 1,
    cache_gb: float = PredictionSettings.cache_gb,
) -> Iterator[PredictedView]:
    """The views of index batches, predicted in memory by a network that is `prepared`; `threads` read ahead.

    Without `batches` every reference view of the dataset, one after the other.
    """
    batches = [[index] for index in range(len(dataset))] if batches is None else batches
    with ThreadPoolExecutor(threads) as readers:
        launched = _launched(model, dataset, device, batches, cache_gb, readers)
        # A GPU is given the next batch before the last one's maps are waited for; a CPU would only hold them longer.
        for references, maps in delayed(launched, 1 if device.type == "cuda" else 0):
            yield from _arrived(references, maps)


def delayed(items: Iterable[Item], count: int) -> Iterator[Item]:
    """The items in their order, each only when `count` more have been made."""
    made: deque[Item] = deque()
    for item in items:
        made.append(item)
        if len(made) > count:
            yield made.popleft()
    yield from made


def _launched(
    model: CascadeMVSNet,
    dataset: MVSDataset,
    device: torch.device,
    batches: list[list[int]],
    cache_gb: float,
    readers: ThreadPoolExecutor,
) -> Iterator[tuple[list[Reference], Arriving]]:
    """Of every batch the reference views and their maps, which a device may still be computing."""
    views = ViewFeatures(dataset, partial(_extract, model, device), cache_gb * 1e9, readers)
    keys_of_batches = ([dataset.view_keys(index) for index in batch] for batch in batches)
    for batch, (keys, following) in zip(batches, pairwise(chain(keys_of_batches, [[]])), strict=True):
        views.expect(chain(*keys, *following))
        samples = [[views.get(key) for key in sample] for sample in keys]
        depth_values = [dataset.depth_values(i, sample[0].camera) for i, sample in zip(batch, samples, strict=True)]
        references = [(i, sample[0].image, sample[0].camera) for i, sample in zip(batch, samples, strict=True)]
        yield references, _run(model, samples, depth_values, device)


def _arrived(references: list[Reference], maps: Arriving) -> Iterator[PredictedView]:
    """The views of a batch, with their depths and confidences."""
    depths, *confidences = maps.get()
    for i, reference in enumerate(references):
        yield PredictedView(*reference, depths[i].numpy(), [confidence[i].numpy() for confidence in confidences])


def predicted_view(
    model: CascadeMVSNet, views: Sequence[View], depth_values: np.ndarray, device: torch.device
) -> PredictedView:
    """One view, the first, from views of equal size in memory, by a network that is `prepared`; its index is 0.

    depth_values: float32 [numdepth] of the reference.
    """
    images = [torch.from_numpy(view.image).permute(2, 0, 1)[None] for view in views]
    seen = [
        SeenView(view.image, view.camera, _extract(model, device, image))
        for view, image in zip(views, images, strict=True)
    ]
    (found,) = _arrived([(0, views[0].pixels(), views[0].camera)], _run(model, [seen], [depth_values], device))
    return found


def prediction_record(
    checkpoint: PathLike,
    settings: PredictionSettings,
    dataset: MVSDataset,
    model: CascadeMVSNet,
    device: torch.device,
) -> dict[str, Any]:
    """What the results of all views depend on, as it is kept beside them."""
    samples = dataclasses.asdict(dataset.settings)
    samples.pop("labels")
    network = {"confidence": settings.confidence, "amp": resolved_amp(settings.amp, device)}
    record = {"weights_sha256": file_digest(checkpoint), "layout": layout_name(dataset.layout)}
    return recorded(record | samples | model.settings.stored() | network)


def unfinished_batches(dataset: MVSDataset, outdir: Path, batch_size: int) -> list[list[int]]:
    """`index_batches` of the whole dataset, without the views whose depth is there already."""
    entries = dataset.entries
    finished = {i for i, entry in enumerate(entries) if is_finished(outdir / entry.scan, entry.reference)}
    return index_batches(dataset, [i for i in range(len(entries)) if i not in finished], batch_size)


def index_batches(dataset: MVSDataset, indices: Sequence[int], batch_size: int) -> list[list[int]]:
    """Samples of a dataset in batches of one scan and image size each."""
    groups = defaultdict(list)
    for index in indices:
        size = dataset.view_keys(index)[0].size if batch_size > 1 else None
        groups[dataset.entries[index].scan, size].append(index)
    return [group[i : i + batch_size] for group in groups.values() for i in range(0, len(group), batch_size)]


def _neighbours_together(
    dataset: MVSDataset, batches: list[list[int]], model: CascadeMVSNet, cache_gb: float
) -> list[list[int]]:
    """The batches, scan by scan, in an order that uses features while they are held."""
    if not batches:
        return []
    width, height = dataset.view_keys(batches[0][0])[0].size
    stages = zip(model.feature.out_channels, STAGE_SCALES.values(), strict=True)
    values = width * height * sum(channels / scale**2 for channels, scale in stages)
    view_bytes = values * next(model.buffers()).itemsize + 3 * width * height
    capacity = max(1, int(cache_gb * 1e9 / max(1, view_bytes)))  # reading refuses images that are too small
    scans = defaultdict(list)
    for batch in batches:
        scans[dataset.entries[batch[0]].scan].append(batch)
    ordered = []
    for of_scan in scans.values():
        entries = [[dataset.entries[index] for index in batch] for batch in of_scan]
        needs = [[view for entry in batch for view in (entry.reference, *entry.sources)] for batch in entries]
        ordered += [of_scan[i] for i in order_of_reuse(needs, capacity)]
    return ordered


@torch.inference_mode()
def _extract(model: CascadeMVSNet, device: torch.device, image: Tensor) -> tuple[Tensor, ...]:
    """Features of one image [1, 3, H, W] in 0..1."""
    return model.feature(sent_to(device, image).contiguous(memory_format=torch.channels_last))


@torch.inference_mode()
def _run(
    model: CascadeMVSNet, samples: list[list[SeenView]], depth_values: list[np.ndarray], device: torch.device
) -> Arriving:
    """Depth [B, H, W] and the stages' confidences of samples of equal size, on their way to the CPU."""
    views = list(zip(*samples, strict=True))  # for each of a sample's views, that of every sample
    features = [
        [
            torch.cat([view.features[stage] for view in same]) if len(same) > 1 else same[0].features[stage]
            for same in views
        ]
        for stage in range(len(STAGE_SCALES))
    ]
    projections = default_collate([stage_projections([view.camera for view in sample]) for sample in samples])
    depth, confidences = model.depth_of_features(
        features, move_to(projections, device), torch.from_numpy(np.stack(depth_values)).to(device)
    )
    return Arriving([depth, *confidences])


def combined_confidence(stages: list[np.ndarray]) -> np.ndarray:
    """Product of the stages' confidences [h, w], the coarse ones resized to the last one's size (docs/method.md 2)."""
    *coarse, product = stages
    height, width = product.shape
    for confidence in coarse:
        product = product * cv2.resize(confidence, (width, height), interpolation=cv2.INTER_LINEAR)
    return product


def write_prediction(
    outdir: Path,
    dataset: MVSDataset,
    index: int,
    image: np.ndarray,
    camera: Camera,
    depth: np.ndarray,
    confidence: np.ndarray,
    origin: Origin,
) -> int:
    """Write the files of a sample's reference view, the depth map last: it marks the view as finished.

    image uint8 [H, W, 3] and its camera; depth and confidence [H, W], which become 0 outside the image's mask. Returns
    the index.
    """
    entry = dataset.entries[index]
    files = ViewFiles(outdir / entry.scan, entry.reference)
    mask = dataset.layout.mask_path(entry.scan, entry.reference)
    if mask is not None:
        inside = read_view_mask(mask, depth.shape[::-1])
        depth, confidence = (np.where(inside, values, np.float32(0)) for values in (depth, confidence))
    record = origin.record() | {"depth": map_digest(depth), "confidence": map_digest(confidence)}

    write_without_depth(files, image, result_camera(camera, dataset.settings.numdepth), confidence)
    write_image(files.confidence_preview, colour_map(confidence, 0.0, 1.0))
    write_image(files.depth_preview, colour_map(depth))
    write_marker(files.depth, depth, files.record, record)
    return index


def result_camera(camera: Camera, numdepth: int) -> Camera:
    """A view's camera as results keep it: the last line tells the whole range of depths."""
    depth_min, depth_max = camera.depth_range(numdepth)
    return dataclasses.replace(camera, depth_line=(depth_min, (depth_max - depth_min) / numdepth, numdepth, depth_max))


def write_without_depth(files: ViewFiles, image: np.ndarray, camera: Camera, confidence: np.ndarray) -> None:
    """Write what fusion and labels need of a view beside its depth, which marks it as finished."""
    write_camera(files.camera, camera)
    write_image(files.image, image)
    write_pfm(files.confidence, confidence)

"""Depth and confidence of every view of a dataset, by a network."""

import argparse
import dataclasses
from collections import defaultdict, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from datasets.camera import Camera
from datasets.formats.images import colour_map, write_image
from datasets.formats.pfm import write_pfm
from datasets.io import write_camera
from datasets.mvs import MVSDataset, Settings
from datasets.results import DEPTH_FOLDER, PREDICTION_RECORD, view_path
from datasets.sample import STAGE_SCALES, stage_projections
from models.blocks import fold
from models.cascade import CascadeMVSNet
from models.checkpoint import file_digest, load_model
from tools.prediction import refine
from tools.prediction.view_features import SeenView, ViewFeatures, order_of_reuse
from tools.runtime import distributed
from tools.runtime.devices import AMP_TYPES, move_to, resolved_amp
from tools.runtime.flags import (
    add_depth_flags,
    add_machine_flags,
    add_network_flags,
    add_size_flags,
    check_depth_flags,
    network_settings,
)
from tools.runtime.program import (
    KEPT_TENSOR,
    Progress,
    float_list,
    keep_freed_memory,
    positive_int,
    return_freed_memory,
)
from tools.runtime.records import begin_results, has_results

_RESULTS = (DEPTH_FOLDER, "confidence", "cams", "images")


# Memory for features of views that come up again.
CACHE_GB = 0.35


def add_prediction_flags(parser: argparse.ArgumentParser, ratios: str, max_w: int, max_h: int) -> None:
    """The flags that tools/predict.py and test.py share."""
    parser.add_argument("--testlist", default="all", help='file of scan names, or "all"')
    parser.add_argument("--batch_size", type=positive_int, default=1, help="reference views predicted together")
    parser.add_argument("--num_view", type=int, default=5, help="views used: the reference and its sources")
    add_network_flags(parser, ratios)
    parser.set_defaults(official_ratios=float_list(ratios))
    parser.add_argument(
        "--confidence",
        choices=("product", "last"),
        default="product",
        help="what the confidence files hold: the product of the stages' confidences, or the last stage's own",
    )
    add_depth_flags(parser, 1.06)
    add_size_flags(parser, max_w, max_h)
    parser.add_argument(
        "--cache_gb", type=float, default=CACHE_GB, help="memory for features of views used again, in GB"
    )
    add_machine_flags(parser, amp="auto")


def prediction_settings(args: argparse.Namespace, light: int | None) -> Settings:
    """How samples are made for prediction."""
    check_depth_flags(args)
    return Settings(
        views=args.num_view,
        numdepth=args.numdepth,
        interval_scale=args.interval_scale,
        max_size=(args.max_w, args.max_h),
        light=light,
    )


def load_for_prediction(args: argparse.Namespace, device: torch.device) -> CascadeMVSNet:
    """The checkpoint's network on the device, its BatchNorm folded into convolutions of the type that --amp says."""
    model = load_model(args.loadckpt, args.official_ratios, **network_settings(args))
    return prepared(model, args.amp, device)


def prepared(model: CascadeMVSNet, amp: str, device: torch.device) -> CascadeMVSNet:
    """A network in evaluation mode made ready for prediction, in place; `amp` is a value of --amp."""
    return fold(model, AMP_TYPES[resolved_amp(amp, device)] or torch.float32).to(device)


def largest_tensor(model: CascadeMVSNet, dataset: MVSDataset) -> int:
    """Bytes of what the last 3D U-Net's layers hand on, for the dataset's first view."""
    width, height = dataset.view_keys(0)[0].size
    channels = model.feature.out_channels[-1]
    return channels * model.settings.ndepths[-1] * width * height * next(model.buffers()).itemsize


def begin_prediction(folder: Path, record: dict[str, Any], refined: bool = False) -> None:
    """Let a rerun skip the views of a scan folder that are finished; stale results of another `record` are removed.

    `refined`: refined depth of the same predictions may stay, else depth_est/ becomes the network's depth again.
    """
    if not (refined and refine.is_refined(folder) and has_results(folder, PREDICTION_RECORD, record)):
        refine.restore(folder)
    begin_results(folder, PREDICTION_RECORD, record, _RESULTS)


def predict(args: argparse.Namespace, dataset: MVSDataset, device: torch.device, refined: bool = False) -> None:
    """Write depth and confidence of every reference view of the dataset that is not finished yet.

    `refined`: scans whose depth is refined already (tools.prediction.refine) stay so.
    """
    outdir = Path(args.outdir)
    model = load_for_prediction(args, device)
    if len(dataset):
        keep_freed_memory() if largest_tensor(model, dataset) <= KEPT_TENSOR else return_freed_memory()
    if distributed.is_main():
        record = _record(args, model, dataset, device)
        for scan in dict.fromkeys(entry.scan for entry in dataset.entries):
            begin_prediction(outdir / scan, record, refined)
    distributed.barrier()
    unfinished = unfinished_batches(dataset, outdir, args.batch_size)
    distributed.barrier()  # all processes have the same list before one of them finishes a view of it
    skipped = len(dataset) - sum(map(len, unfinished))
    if skipped > 0 and distributed.is_main():
        print(f"{skipped} views are finished already", flush=True)
    batches = distributed.share_runs(_neighbours_together(dataset, unfinished, model, args.cache_gb))
    progress = Progress(sum(map(len, batches)), "depth", quiet=not distributed.is_main())
    for _ in _predicted(args, dataset, model, device, batches):
        progress.step()
    progress.close()
    distributed.barrier()


def _predicted(
    args: argparse.Namespace,
    dataset: MVSDataset,
    model: CascadeMVSNet,
    device: torch.device,
    batches: list[list[int]],
) -> Iterator[int]:
    """Predict and write the views of index batches; yields each one's index. Threads read ahead and write behind."""
    threads = max(1, args.num_workers)
    with ThreadPoolExecutor(threads) as writers:
        written: deque[Future[int]] = deque()
        for index, *maps, confidences in predicted_views(model, dataset, device, batches, threads, args.cache_gb):
            counted = confidences if args.confidence == "product" else confidences[-1:]
            written.append(writers.submit(write_prediction, Path(args.outdir), dataset, index, *maps, counted))
            while len(written) > 2 * threads:
                yield written.popleft().result()
        while written:
            yield written.popleft().result()


class PredictedView(NamedTuple):
    """A view that was predicted: its index in the dataset, image uint8 [H, W, 3] and camera, depth float32 [H, W] and
    the stages' confidences."""

    index: int
    image: np.ndarray
    camera: Camera
    depth: np.ndarray
    confidences: list[np.ndarray]


def predicted_views(
    model: CascadeMVSNet,
    dataset: MVSDataset,
    device: torch.device,
    batches: list[list[int]],
    threads: int = 1,
    cache_gb: float = CACHE_GB,
) -> Iterator[PredictedView]:
    """The views of index batches, predicted by a network in evaluation mode; `threads` read ahead."""
    extract = partial(_extract, model, device)
    with ThreadPoolExecutor(threads) as readers:
        views = ViewFeatures(dataset, extract, cache_gb * 1e9, readers)
        keys_of_batches = ([dataset.view_keys(index) for index in batch] for batch in batches)
        for batch, (keys, following) in zip(batches, pairwise(chain(keys_of_batches, [[]])), strict=True):
            views.expect(chain(*keys, *following))
            samples = [[views.get(key) for key in sample] for sample in keys]
            depth_values = [dataset.depth_values(i, sample[0].camera) for i, sample in zip(batch, samples, strict=True)]
            depths, confidences = _run(model, samples, depth_values, device)
            for i, index in enumerate(batch):
                stages = [confidence[i].numpy() for confidence in confidences]
                yield PredictedView(index, samples[i][0].image, samples[i][0].camera, depths[i].numpy(), stages)


def _record(
    args: argparse.Namespace, model: CascadeMVSNet, dataset: MVSDataset, device: torch.device
) -> dict[str, Any]:
    """What the results depend on; other results are stale."""
    settings = dataclasses.asdict(dataset.settings)
    settings.pop("labels")
    network = model.settings.stored() | {"confidence": args.confidence, "amp": resolved_amp(args.amp, device)}
    record = {"weights_sha256": file_digest(args.loadckpt), **settings, **network}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in record.items()}


def unfinished_batches(dataset: MVSDataset, outdir: Path, batch_size: int) -> list[list[int]]:
    """Index batches of one scan and image size each, without the views whose depth is there already."""
    groups = defaultdict(list)
    for index, entry in enumerate(dataset.entries):
        if not view_path(outdir, entry.scan, "depth_est", entry.reference, ".pfm").exists():
            size = dataset.view_keys(index)[0].size if batch_size > 1 else None
            groups[entry.scan, size].append(index)
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
    return model.feature(image.to(device, memory_format=torch.channels_last))


@torch.inference_mode()
def _run(
    model: CascadeMVSNet, samples: list[list[SeenView]], depth_values: list[np.ndarray], device: torch.device
) -> tuple[Tensor, list[Tensor]]:
    """Depth [B, H, W] and the stages' confidences of samples of equal size, on the CPU."""
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
    return depth.cpu(), [confidence.cpu() for confidence in confidences]


def combined_confidence(stages: list[np.ndarray]) -> np.ndarray:
    """Product of the stages' confidences [h, w], the coarse ones resized to the last one's size (specs: kdmvs 2)."""
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
    confidences: list[np.ndarray],
) -> int:
    """Write the files of a sample's reference view, the depth map last: it marks the view as finished.

    image uint8 [H, W, 3] and its camera; depth [H, W]; confidences of the stages. Returns the index.
    """
    entry, numdepth = dataset.entries[index], dataset.settings.numdepth
    depth_min, depth_max = camera.depth_range(numdepth)
    depth_line = (depth_min, (depth_max - depth_min) / numdepth, numdepth, depth_max)
    path = partial(view_path, outdir, entry.scan, view=entry.reference)
    confidence = combined_confidence(confidences)

    write_camera(path("cams", suffix="_cam.txt"), dataclasses.replace(camera, depth_line=depth_line))
    write_image(path("images", suffix=".jpg"), image)
    write_pfm(path("confidence", suffix=".pfm"), confidence)
    write_image(path("confidence", suffix=".png"), colour_map(confidence, 0.0, 1.0))
    write_image(path("depth_est", suffix=".png"), colour_map(depth))
    write_pfm(path("depth_est", suffix=".pfm"), depth)
    return index

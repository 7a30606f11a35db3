"""Depth and confidence for every view of every scan; the first step of pseudo-labels, and of testing.

    python tools/predict.py --testpath DTU --testlist LIST --loadckpt model_000000.ckpt --outdir OUT

Works with a teacher's or a student's checkpoint. Per scan under --outdir: depth_est/, confidence/ (PFM and previews),
cams/, images/. A rerun skips the views that are finished; under torchrun each process takes its share.
"""

import argparse
import dataclasses
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

if not __package__:  # run as a file: find the packages beside this folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from datasets.io import Camera, colour_map, write_camera, write_image, write_pfm
from datasets.mvs import MVSDataset, Settings, open_dataset
from datasets.sample import STAGE_SCALES
from models.cascade import CascadeMVSNet
from models.checkpoint import file_digest, load_model
from tools import distributed
from tools.engine import move_to
from tools.flags import (
    AMP_TYPES,
    add_dataset_flag,
    add_depth_flags,
    add_machine_flags,
    add_network_flags,
    add_size_flags,
    check_ndepths,
)
from tools.program import Formatter, Progress, begin_results, positive_int, run_program

RESULTS = ("depth_est", "confidence", "cams", "images")
RECORD = "prediction.json"


def add_prediction_flags(parser: argparse.ArgumentParser, ratios: str, max_w: int, max_h: int) -> None:
    """The flags that tools/predict.py and test.py share."""
    parser.add_argument("--testlist", default="all", help='file of scan names, or "all"')
    parser.add_argument("--batch_size", type=positive_int, default=1, help="reference views predicted together")
    parser.add_argument("--num_view", type=int, default=5, help="views used: the reference and its sources")
    add_network_flags(parser, ratios)
    add_depth_flags(parser, 1.06)
    add_size_flags(parser, max_w, max_h)
    add_machine_flags(parser)


def prediction_settings(args: argparse.Namespace, light: int | None) -> Settings:
    """How samples are made for prediction."""
    check_ndepths(args)
    return Settings(
        views=args.num_view,
        numdepth=args.numdepth,
        interval_scale=args.interval_scale,
        max_size=(args.max_w, args.max_h),
        light=light,
    )


def load_for_prediction(args: argparse.Namespace, device: torch.device) -> CascadeMVSNet:
    """The checkpoint's network on the device."""
    model = load_model(args.loadckpt, args.ndepths, args.depth_inter_r, args.share_cr)
    return model.to(device)


def view_path(outdir: Path, scan: str, folder: str, view: int, suffix: str) -> Path:
    """Where a view's result lies, for example <outdir>/<scan>/depth_est/00000000.pfm."""
    return outdir / scan / folder / f"{view:08d}{suffix}"


def predict(args: argparse.Namespace, dataset: MVSDataset, device: torch.device) -> None:
    """Write depth and confidence of every reference view of the dataset that is not finished yet."""
    outdir = Path(args.outdir)
    model = load_for_prediction(args, device)
    if distributed.is_main():
        record = _record(args, dataset)
        for scan in dict.fromkeys(entry.scan for entry in dataset.entries):
            begin_results(outdir / scan, RECORD, record, RESULTS)
    distributed.barrier()
    batches = distributed.share(_unfinished_batches(dataset, outdir, args.batch_size))
    views = sum(len(batch) for batch in batches)
    skipped = len(distributed.share(range(len(dataset)))) - views
    if skipped > 0 and distributed.is_main():
        print(f"{skipped} views are finished already", flush=True)
    loader = DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=args.num_workers if batches else 0,
        pin_memory=args.pin_m and device.type == "cuda",
    )
    progress = Progress(views, "depth", quiet=not distributed.is_main())
    for batch in loader:
        outputs = _run(model, batch, device, AMP_TYPES[args.amp])
        for i in range(len(batch["view"])):
            _write_view(outdir, dataset, batch, outputs, i)
            progress.step()
    progress.close()
    distributed.barrier()


def _record(args: argparse.Namespace, dataset: MVSDataset) -> dict[str, Any]:
    """What the results depend on; other results are stale."""
    settings = dataclasses.asdict(dataset.settings)
    settings.pop("labels")
    network = {"ndepths": args.ndepths, "depth_inter_r": args.depth_inter_r, "share_cr": args.share_cr, "amp": args.amp}
    record = {"weights_sha256": file_digest(args.loadckpt), **settings, **network}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in record.items()}


def _unfinished_batches(dataset: MVSDataset, outdir: Path, batch_size: int) -> list[list[int]]:
    """Index batches of one scan and image size each, without the views whose depth is there already."""
    groups = defaultdict(list)
    for index, entry in enumerate(dataset.entries):
        if not view_path(outdir, entry.scan, "depth_est", entry.reference, ".pfm").exists():
            size = dataset.image_size(index) if batch_size > 1 else None
            groups[entry.scan, size].append(index)
    return [group[i : i + batch_size] for group in groups.values() for i in range(0, len(group), batch_size)]


@torch.inference_mode()
def _run(model: CascadeMVSNet, batch: dict[str, Any], device: torch.device, amp_type: torch.dtype | None) -> dict:
    """The network's depth and its stages' confidences, on the CPU."""
    batch = move_to(batch, device)
    with torch.autocast(device.type, amp_type, enabled=amp_type is not None):
        outputs = model(batch["imgs"], batch["proj_matrices"], batch["depth_values"])
    maps = {stage: outputs[stage]["photometric_confidence"].float().cpu() for stage in STAGE_SCALES}
    return {"depth": outputs["depth"].float().cpu(), **maps}


def combined_confidence(stages: list[np.ndarray]) -> np.ndarray:
    """Product of the stages' confidences [h, w], the coarse ones resized to the last one's size (specs: kdmvs 2)."""
    *coarse, product = stages
    height, width = product.shape
    for confidence in coarse:
        product = product * cv2.resize(confidence, (width, height), interpolation=cv2.INTER_LINEAR)
    return product


def _write_view(outdir: Path, dataset: MVSDataset, batch: dict[str, Any], outputs: dict[str, Tensor], i: int) -> None:
    """Write one view's files, the depth map last: it marks the view as finished."""
    scan, view = batch["scan"][i], int(batch["view"][i])
    numdepth = dataset.settings.numdepth
    depth_min, depth_max = dataset.layout.camera(scan, view).depth_range(numdepth)
    extrinsic, intrinsic = batch["proj_matrices"]["stage3"][i, 0].double().numpy()
    depth_line = (depth_min, (depth_max - depth_min) / numdepth, numdepth, depth_max)
    camera = Camera(intrinsic[:3, :3], extrinsic, depth_line)
    image = (batch["imgs"][i, 0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)  # truncated, like the official files
    depth = outputs["depth"][i].numpy()
    confidence = combined_confidence([outputs[stage][i].numpy() for stage in STAGE_SCALES])

    write_camera(view_path(outdir, scan, "cams", view, "_cam.txt"), camera)
    write_image(view_path(outdir, scan, "images", view, ".jpg"), image)
    write_pfm(view_path(outdir, scan, "confidence", view, ".pfm"), confidence)
    write_image(view_path(outdir, scan, "confidence", view, ".png"), colour_map(confidence, 0.0, 1.0))
    write_image(view_path(outdir, scan, "depth_est", view, ".png"), colour_map(depth))
    write_pfm(view_path(outdir, scan, "depth_est", view, ".pfm"), depth)


def main() -> None:
    """Parse the flags and predict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Formatter)
    add_dataset_flag(parser, "dtu_yao")
    parser.add_argument("--testpath", required=True, help="folder of the data")
    parser.add_argument("--loadckpt", required=True, help="checkpoint of a teacher or a student")
    parser.add_argument("--outdir", required=True, help="folder for the results")
    parser.add_argument("--light_idx", type=int, default=6, help="light whose images are used (DTU training layout)")
    add_prediction_flags(parser, "4,1,0.5", 640, 512)
    args = parser.parse_args()
    settings = prediction_settings(args, args.light_idx)
    device = distributed.start(args.device)
    dataset = open_dataset(args.dataset, args.testpath, args.testlist, settings)
    predict(args, dataset, device)
    distributed.finish()


if __name__ == "__main__":
    run_program(main)

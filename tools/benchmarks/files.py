"""The files of prediction without the network: how fast a GPU may be before reading and writing hold it up."""

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from datasets.mvs import MVSDataset, open_dataset
from tools.benchmarks.measure import Case, Comparison, Figures
from tools.prediction.origins import Origins
from tools.prediction.predictor import sample_settings, write_prediction
from tools.prediction.settings import PredictionSettings

_WORKERS = (1, 2, 4)


def files_comparison(scans: Path, size: tuple[int, int]) -> Comparison:
    """Every view's image read once and its results written, by so many threads (--workers)."""
    cases = (Case(f"{n} threads", read_and_write, {"scans": scans, "size": size, "workers": n}) for n in _WORKERS)
    return Comparison("files", f"{size[0]}x{size[1]}", "depth map", tuple(cases))


def read_and_write(scans: Path, size: tuple[int, int], workers: int) -> Figures:
    """Seconds, and seconds of all cores together, of a view; its depth and confidence are random but smooth."""
    settings = PredictionSettings(views=2, max_size=size)
    dataset = open_dataset("general_eval", scans, "all", sample_settings(settings))
    ramp = np.linspace(0, 1, size[0] * size[1], dtype=np.float32).reshape(size[::-1])
    noise = np.random.default_rng(1).random(ramp.shape, np.float32)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(workers) as pool:
        origins = Origins(dataset, Path(folder), {})

        def work(index: int) -> None:
            _read_and_write_one(dataset, origins, index, 500 + 200 * ramp + noise, noise)

        work(0)
        started, busy = time.perf_counter(), time.process_time()
        list(pool.map(work, range(len(dataset))))
        seconds = (time.perf_counter() - started) / len(dataset)
        busy = (time.process_time() - busy) / len(dataset)
    return [seconds], {"per_second": round(1 / seconds, 1), "core_seconds": round(busy, 4)}


def _read_and_write_one(
    dataset: MVSDataset, origins: Origins, index: int, depth: np.ndarray, confidence: np.ndarray
) -> None:
    view = dataset.load(dataset.view_keys(index)[0])
    maps = (view.pixels(), view.camera, depth, confidence)
    write_prediction(origins.outdir, dataset, index, *maps, origins.of(index))

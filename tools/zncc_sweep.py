"""Depth by plain plane sweep with ZNCC: no network, no training; what a network has to beat.

    python tools/zncc_sweep.py --testpath SCENES --testlist LIST --outdir OUT

Every pixel tries --hypotheses depths, spaced evenly in inverse depth over the range that test.py searches with the same
flags. A depth's score is the mean of the --best highest of the sources' zero-mean normalised cross-correlations with
the reference, of grey windows of --window x --window pixels; the highest score wins, and a parabola through it and its
two neighbours refines the depth. The files are those of test.py: per scan under --outdir depth_est/, confidence/ (the
winning score, 0 where negative), cams/, images/. A pixel that no source sees gets depth 0. A rerun skips the views that
are finished.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

if not __package__:  # run as a file: find the packages beside this folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from datasets.files import DataError
from datasets.mvs import LAYOUTS, MVSDataset, Settings, open_dataset
from datasets.sample import View
from models.plane_sweep import relative_projection, warp_to_hypotheses
from tools.flags import add_depth_flags, add_size_flags
from tools.predict import begin_prediction, unfinished_batches, write_prediction
from tools.program import Formatter, Progress, positive_int, run_program

# Added to variances of grey values in 0..1: a quarter of a grey level, squared. Keeps rounding out of flat windows.
_FLAT = 1e-6
_UNSEEN = -1.0  # the score of a window that lies partly outside the source; no score is lower
_WHOLE = 0.999


class Patches:
    """The windows around every pixel of a grey image float32 [H, W] in 0..1, mirrored at its border."""

    def __init__(self, image: np.ndarray, window: int) -> None:
        self.image, self._size = image, (window, window)
        self.mean = self.averaged(image)
        self.variance = np.maximum(self.averaged(image * image) - self.mean * self.mean, 0) + _FLAT

    def averaged(self, values: np.ndarray) -> np.ndarray:
        """The mean [H, W] of values [H, W] in every window."""
        return cv2.blur(values, self._size)

    def zncc(self, other: "Patches") -> np.ndarray:
        """Zero-mean normalised cross-correlation [H, W] in -1..1 with the windows of another image of this size."""
        covariance = self.averaged(self.image * other.image) - self.mean * other.mean
        return covariance / np.sqrt(self.variance * other.variance)


class Peaks:
    """The highest of a sequence of score maps [H, W], with its neighbours in the sequence, in the memory of five maps.

    Only scores above `least` count.
    """

    def __init__(self, shape: tuple[int, int], least: float) -> None:
        self.index = np.full(shape, -1)
        self.score = np.full(shape, least, np.float32)
        self._before, self._after, self._last = (np.full(shape, np.nan, np.float32) for _ in range(3))

    def add(self, index: int, score: np.ndarray) -> None:
        """The next map, number `index` from 0 on."""
        follows, better = self.index == index - 1, score > self.score
        np.copyto(self._after, score, where=follows)
        np.copyto(self._before, self._last, where=better)
        np.copyto(self._after, np.nan, where=better)
        np.copyto(self.score, score, where=better)
        self.index[better] = index
        self._last = score

    def position(self) -> np.ndarray:
        """Where in the sequence the peak of the parabola through the three scores lies [H, W]; -1 where none counted.

        Within half a step of the highest score, which itself is the answer at either end of the sequence.
        """
        curvature = self._before - 2 * self.score + self._after
        with np.errstate(divide="ignore", invalid="ignore"):
            offset = np.nan_to_num((self._before - self._after) / (2 * curvature), posinf=0, neginf=0)
        return self.index + offset


def inverse_depths(nearest: float, farthest: float, count: int) -> np.ndarray:
    """`count` inverse depths in equal steps, from that of the nearest to that of the farthest depth."""
    return np.linspace(1 / nearest, 1 / farthest, count)


@torch.inference_mode()
def sweep(views: Sequence[View], inverse: np.ndarray, window: int, best: int) -> tuple[np.ndarray, np.ndarray]:
    """Depth and score, each float32 [H, W], of the first of the views, whose images are of one size.

    inverse: increasing or decreasing inverse depths in equal steps; depth is 0 where no source sees the pixel at any.
    """
    images = [cv2.cvtColor(view.image, cv2.COLOR_RGB2GRAY) for view in views]
    reference, sources = Patches(images[0], window), torch.from_numpy(np.stack(images[1:]))
    projections = torch.from_numpy(np.stack([view.camera.projection() for view in views]))
    src_T_ref = relative_projection(projections[1:], projections[0]).float()
    # A second channel of ones tells, warped with the image, where the source sees something.
    sources = torch.stack([sources, torch.ones_like(sources)], dim=1)
    peaks = Peaks(images[0].shape, _UNSEEN)
    for index, value in enumerate(inverse):
        hypothesis = torch.full((len(sources), 1, *images[0].shape), 1 / value)
        warped = warp_to_hypotheses(sources, src_T_ref, hypothesis)[:, :, 0].numpy()
        peaks.add(index, _mean_of_best([_score(reference, *pair, window) for pair in warped], best))
    position = peaks.position()
    found = np.interp(position, np.arange(len(inverse)), inverse)
    return np.where(position < 0, 0, 1 / found).astype(np.float32), peaks.score


def _score(reference: Patches, warped: np.ndarray, seen: np.ndarray, window: int) -> np.ndarray:
    """Scores [H, W] of a source's grey image warped into the reference; `seen` [H, W] is 1 where it is inside."""
    return np.where(reference.averaged(seen) > _WHOLE, reference.zncc(Patches(warped, window)), np.float32(_UNSEEN))


def _mean_of_best(scores: list[np.ndarray], best: int) -> np.ndarray:
    """Mean [H, W] of the highest `best` of the scores at each pixel, of all where there are fewer."""
    return torch.from_numpy(np.stack(scores)).topk(min(best, len(scores)), dim=0).values.mean(dim=0).numpy()


def predict_view(dataset: MVSDataset, index: int, args: argparse.Namespace) -> None:
    """Sweep one of the dataset's reference views and write its files."""
    keys = list(dict.fromkeys(dataset.view_keys(index)))  # the dataset repeats a source where too few are listed
    views = [dataset.load(key) for key in keys]
    values = dataset.depth_values(index, views[0].camera)
    depth, score = sweep(views, inverse_depths(values[0], values[-1], args.hypotheses), args.window, args.best)
    image = (views[0].image * 255).astype(np.uint8)  # truncated, as test.py does
    write_prediction(Path(args.outdir), dataset, index, image, views[0].camera, depth, [np.maximum(score, 0)])


def parse_flags() -> argparse.Namespace:
    """Those of test.py that say what is predicted from what, and the method's own; raises DataError for bad ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Formatter)
    parser.add_argument("--dataset", choices=LAYOUTS, default="general_eval", help="layout of the data")
    parser.add_argument("--testpath", required=True, help="folder of scans")
    parser.add_argument("--testlist", default="all", help='file of scan names, or "all"')
    parser.add_argument("--outdir", default="outputs", help="folder for the results")
    parser.add_argument("--light_idx", type=int, default=6, help="light whose images are used (DTU training layout)")
    parser.add_argument("--num_view", type=int, default=5, help="views used: the reference and its sources")
    parser.add_argument("--hypotheses", type=positive_int, default=128, help="depths that are tried")
    parser.add_argument("--window", type=positive_int, default=7, help="side of the windows, pixels; odd")
    parser.add_argument("--best", type=positive_int, default=2, help="sources whose scores count, the best ones")
    add_depth_flags(parser, 1.06)
    add_size_flags(parser, 1152, 864)
    args = parser.parse_args()
    if args.window % 2 == 0 or args.window < 3:
        raise DataError(f"--window {args.window}: must be odd, and 3 or more")
    if args.hypotheses < 2:
        raise DataError(f"--hypotheses {args.hypotheses}: a sweep needs at least two depths")
    if args.interval_scale <= 0 or args.numdepth < 2:
        raise DataError("--interval_scale must be positive, and --numdepth 2 or more")
    return args


def main() -> None:
    """Parse the flags and sweep every view that is not finished."""
    args = parse_flags()
    settings = Settings(
        views=args.num_view,
        numdepth=args.numdepth,
        interval_scale=args.interval_scale,
        max_size=(args.max_w, args.max_h),
        light=args.light_idx,
    )
    dataset, outdir = open_dataset(args.dataset, args.testpath, args.testlist, settings), Path(args.outdir)
    names = ("num_view", "numdepth", "interval_scale", "max_w", "max_h", "light_idx", "hypotheses", "window", "best")
    record = {"method": "zncc_sweep"} | {name: getattr(args, name) for name in names}
    for scan in dict.fromkeys(entry.scan for entry in dataset.entries):
        begin_prediction(outdir / scan, record)
    unfinished = [index for (index,) in unfinished_batches(dataset, outdir, 1)]
    if len(unfinished) < len(dataset):
        print(f"{len(dataset) - len(unfinished)} views are finished already", flush=True)
    progress = Progress(len(unfinished), "plane sweep")
    for index in unfinished:
        predict_view(dataset, index, args)
        progress.step()
    progress.close()


if __name__ == "__main__":
    run_program(main)

"""A report of a result: a page for the run and one per scan."""

import dataclasses
import importlib.metadata
import platform
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from datasets.files import DataError, read_json, write_bytes
from datasets.formats.images import write_image
from datasets.formats.metrics import read_scalars
from datasets.results import DEPTH_FOLDER, PREDICTION_RECORD, REFINE_RECORD, find_scans, is_refined, scan_number
from fusion.clouds import Points
from tools.evaluation.scan_results import ScanResult
from tools.reports.beside import downloads, read_left_out, read_measures, read_shown_mesh, read_verdict
from tools.reports.cloud import Cloud, Measures, read_cloud, viewer_data
from tools.reports.index_page import index_page
from tools.reports.kept import kept_pixels
from tools.reports.measures import ScanMeasures, error_limit, measure_scan, pooled
from tools.reports.parts import Run, Training, page_name
from tools.reports.pictures import depth_limits, render_cloud, sheet, turned_views
from tools.reports.scan_page import Shown, Surroundings, scan_page
from tools.reports.settings import ReportSettings
from tools.reports.thinning import voxel_thinned
from tools.reports.tiles import Scales, Tile, legend_bar, make_scales, strip_pictures, view_tiles
from tools.runtime.program import Progress

_PACKAGES = ("torch", "numpy", "opencv-python", "numba", "scipy", "pillow", "tensorboardX")


_CARD_SIZE = (400, 300)


_CARD_POINTS = 100_000


_TURN = 25.0  # degrees between the views of a cloud


def write_report(settings: ReportSettings) -> Path:
    """Measure every scan and write the pages; returns the first one. Raises DataError for what cannot be read."""
    trainings = tuple(read_training(folder) for folder in settings.logdir)
    scans = predicted_scans(settings)
    results = [ScanResult(settings.outdir, scan, settings.testpath, settings.dataset) for scan in scans]
    scores = read_scores(settings.outdir)
    progress = Progress(2 * len(results), "report", "scan")
    measures = []
    for result in results:
        measures.append(measure_scan(result, kept_pixels(result, settings)))
        progress.step()
    run = describe_run(settings, results)
    largest_error = settings.error_limit or error_limit(pooled(measures))
    cards = {}
    for i, (result, measured) in enumerate(zip(results, measures, strict=True)):
        before, after = scans[i - 1] if i else None, scans[i + 1] if i + 1 < len(scans) else None
        around = Surroundings(before, after)
        if len(scans) == 1:
            around = Surroundings(is_only=True, trainings=trainings, scores=scores.get(result.name, {}))
        cards[result.name] = write_scan(settings, run, result, measured, largest_error, around)
        progress.step()
    progress.close()
    write_bytes(settings.index, index_page(run, measures, cards, list(trainings), scores))
    return settings.index


def predicted_scans(settings: ReportSettings) -> list[str]:
    """The scans that the report is about: none where it is about trainings that nothing was predicted with yet."""
    if settings.logdir and settings.testlist == "all" and not any(settings.outdir.glob(f"*/{DEPTH_FOLDER}")):
        print(f"{settings.outdir}: nothing is predicted there yet, so the report shows the trainings alone")
        return []
    return find_scans(settings.outdir, settings.testlist)


def write_scan(
    settings: ReportSettings,
    run: Run,
    result: ScanResult,
    measured: ScanMeasures,
    largest_error: float,
    around: Surroundings,
) -> list[np.ndarray]:
    """Write a scan's page, and its PNG files where wanted; returns the pictures of its card."""
    views = evenly(result.views, settings.max_views)
    measures = read_measures(result, settings.unit)
    scales = make_scales(_depth_limits(result, views), largest_error, measures.unit)
    kept = kept_pixels(result, settings)  # anew: the masks of all scans would be much memory
    tiles = {view: view_tiles(result, view, scales, kept.masks(view), settings.picture_size) for view in views}
    cloud, folder = read_cloud(result), settings.index.parent
    points = None if cloud is None else cloud.points
    others = [view for view in result.views if view not in tiles]
    shown = Shown(
        tiles,
        scales,
        None if cloud is None or not len(cloud) else model_data(settings, result, measured, measures, cloud),
        strip_pictures(result, others, settings.picture_size),
        downloads(result, folder),
        read_verdict(result),
        read_left_out(result),
    )
    write_bytes(folder / page_name(result.name), scan_page(run, measured, shown, around))
    if settings.png:
        write_image(folder / f"{result.name}_views.png", contact_sheet(measured, tiles, scales))
        if points is not None:
            pictures = cloud_pictures(result, points, settings.picture_size)
            write_image(folder / f"{result.name}_cloud.png", np.hstack(pictures))
    return [tiles[views[0]][0].picture, card_picture(result, points, tiles[views[0]][1].picture)]


def model_data(
    settings: ReportSettings, result: ScanResult, measured: ScanMeasures, measures: Measures, cloud: Cloud
) -> dict[str, Any]:
    """What the page's viewer draws."""
    cameras = {measured.title(view): result.predictions.view(view) for view in result.views}
    return viewer_data(cloud, cameras, settings.max_points, measures, read_shown_mesh(result))


def evenly(views: list[int], most: int) -> list[int]:
    """At most so many of the views, from the first to the last."""
    return [views[i] for i in np.linspace(0, len(views) - 1, min(most, len(views))).round().astype(int)]


def _depth_limits(result: ScanResult, views: list[int]) -> tuple[float, float]:
    """The range of the views' true depths, of the predicted ones where these are not known."""
    truths = {view: result.truth(view) for view in views}
    maps = [result.depth(view) if truth is None else truth for view, truth in truths.items()]
    return depth_limits(np.concatenate([depth[depth > 0] for depth in maps]))


def contact_sheet(measured: ScanMeasures, tiles: dict[int, list[Tile]], scales: Scales) -> np.ndarray:
    """RGB uint8 sheet with a row per view, and the colour scales under it."""
    rows = []
    for view, row in tiles.items():
        titles = [measured.title(view), *(tile.title if not rows else "" for tile in row[1:])]
        rows.append([(title, tile.picture) for title, tile in zip(titles, row, strict=True)])
    pictures = sheet(rows)
    used = {tile.scale for row in tiles.values() for tile in row}
    named = {"depth": scales.depth, "error": scales.error, "confidence": scales.confidence}
    bar = legend_bar({name: scale for name, scale in named.items() if name in used}, pictures.shape[1])
    return np.vstack([pictures, bar])


def cloud_pictures(result: ScanResult, points: Points, width: int) -> list[np.ndarray]:
    """Views of the cloud from beside the first camera, from it, and from its other side."""
    first = result.predictions.view(result.views[0])
    scale = width / first.depth.shape[1]
    size = (width, round(scale * first.depth.shape[0]))
    splat = max(2, round(scale) + 1)
    return turned_views(points.xyz, points.colors, first.camera.scaled(scale, scale), size, _TURN, splat)


def card_picture(result: ScanResult, points: Points | None, depth: np.ndarray) -> np.ndarray:
    """A small view of the cloud through the first camera, or the picture of the depth where there is no cloud."""
    if points is None or not len(points):
        return depth
    few = points[voxel_thinned(points.xyz, _CARD_POINTS).indices]
    first = result.predictions.view(result.views[0])
    scale = max(size / side for size, side in zip(_CARD_SIZE, first.depth.shape[::-1], strict=True))
    width, height = (round(scale * side) for side in first.depth.shape[::-1])
    return render_cloud(few.xyz, few.colors, first.camera.scaled(scale, scale), (width, height), splat=4)


def read_training(folder: Path) -> Training:
    """The curves of a log folder, its flags and its times."""
    facts: dict[str, object] = {"folder": folder}
    for name in ("training.json", "flags.json"):
        if (folder / name).exists():
            facts |= _object(folder / name)
    return Training("/".join(folder.resolve().parts[-2:]), read_scalars(folder), facts)


def read_scores(outdir: Path) -> dict[str, dict[str, float]]:
    """Accuracy, completeness and overall of scans, where tools/eval_dtu.py has written them beside the results."""
    path = outdir / "dtu_score.json"
    if not path.exists():
        return {}
    scans = _object(path).get("scans")
    if not isinstance(scans, dict):
        raise DataError(f"{path}: is no result of tools/eval_dtu.py; move it away")
    return {
        f"scan{number}": {name: value for name, value in score.items() if type(value) is float}
        for number, score in scans.items()
        if scan_number(f"scan{number}") is not None and isinstance(score, dict)
    }


def _object(path: Path) -> dict[str, object]:
    """A JSON file that holds names and values."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise DataError(f"{path}: holds no names and values; move it away")
    return content


def describe_run(settings: ReportSettings, results: list[ScanResult]) -> Run:
    """What all pages say."""
    records = {result.name: result.folder / PREDICTION_RECORD for result in results}
    predictions = {scan: _object(path) for scan, path in records.items() if path.exists()}
    for result in results:
        if result.name in predictions and is_refined(result.folder):
            predictions[result.name] |= {"refine": _object(result.folder / REFINE_RECORD).get("passes")}
    told: dict[str, dict[str, object]] = {"flags of this report": _told(settings)}
    if predictions and all(record == next(iter(predictions.values())) for record in predictions.values()):
        told["settings of the prediction"] = next(iter(predictions.values()))
    else:
        told |= {f"settings of the prediction of {scan}": record for scan, record in predictions.items()}
    title = results[0].name if len(results) == 1 else settings.outdir.resolve().name
    unit = read_measures(results[0], settings.unit).unit if results else settings.unit  # all clouds lie in one folder
    return Run(title, settings.thresholds, unit, versions(), told)


def _told(settings: ReportSettings) -> dict[str, object]:
    """The settings that have a value."""
    values = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    return {name: value for name, value in values.items() if value is not None}


def versions() -> dict[str, object]:
    """Of what made the report."""
    found = {"python": platform.python_version(), "system": platform.platform()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    root = Path(__file__).resolve().parents[2]
    try:
        command = ["git", "-C", str(root), "describe", "--always", "--dirty"]
        found["project"] = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        pass  # no git, or no checkout
    return found

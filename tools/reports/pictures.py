"""Sheets of depth maps beside their images, and views of a point cloud."""

import dataclasses
from pathlib import Path

import cv2
import numpy as np

from datasets.camera import Camera
from datasets.formats.images import colour_map, read_image
from datasets.layouts.general import GeneralScans
from datasets.predictions import read_map
from datasets.results import ViewFiles

_ROWS = 6


def depth_sheet(layout: GeneralScans, predictions: dict[str, Path], scans: list[str]) -> np.ndarray:
    """RGB uint8 sheet with a row per scan: image, true depth where known, then each prediction's depth and error."""
    rows = []
    for scan in scans[:_ROWS]:
        view = next(reference for reference, sources in layout.pairs(scan) if sources)
        depths = {label: read_map(ViewFiles(folder / scan, view).depth) for label, folder in predictions.items()}
        height, width = next(iter(depths.values())).shape
        truth = layout.ground_truth(scan, view, (width, height))
        limits = depth_limits(next(iter(depths.values())) if truth is None else truth)
        image = read_image(layout.image_path(scan, view, layout.lights(scan)[0]))
        tiles = [("image", cv2.resize(image, (width, height)))]
        if truth is not None:
            tiles.append(("true depth", colour_map(truth, *limits)))
        for label, depth in depths.items():
            depth = cv2.resize(depth, (width, height), interpolation=cv2.INTER_NEAREST)
            tiles.append((label, colour_map(depth, *limits)))
            if truth is not None:
                error = np.where(truth > 0, np.abs(depth - truth), 0)
                tiles.append((f"{label}: error", colour_map(error + 1e-6, 0.0, 0.05 * limits[0])))
        rows.append([("" if rows else title, tile) for title, tile in tiles])
    return sheet(rows)


def sheet(rows: list[list[tuple[str, np.ndarray]]]) -> np.ndarray:
    """RGB uint8 sheet of rows of (title, RGB uint8 tile)."""
    drawn = [np.hstack([_titled(tile, title) for title, tile in row]) for row in rows]
    width = max(row.shape[1] for row in drawn)
    return np.vstack([np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0))) for row in drawn])


def depth_limits(depth: np.ndarray) -> tuple[float, float]:
    """The depths between which nearly all positive ones of an array lie."""
    valid = depth[np.isfinite(depth) & (depth > 0)]
    low, high = np.percentile(valid, (1, 99)) if len(valid) else (0.0, 1.0)
    return float(low), float(high)


def _titled(tile: np.ndarray, title: str) -> np.ndarray:
    """The tile with a thin frame and, in its corner, a title."""
    tile = np.pad(tile, ((1, 1), (1, 1), (0, 0)), constant_values=255)
    if title:
        write_words(tile, title, (4, 13), outline=3)
    return tile


def write_words(picture: np.ndarray, words: str, place: tuple[int, int], outline: int = 0) -> None:
    """Small letters drawn into an RGB picture from a place (x, y of the baseline): dark, or white with an outline."""
    if outline:
        cv2.putText(picture, words, place, cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), outline, cv2.LINE_AA)
    color = (255, 255, 255) if outline else (40, 40, 40)
    cv2.putText(picture, words, place, cv2.FONT_HERSHEY_SIMPLEX, 0.4, color, 1, cv2.LINE_AA)


def render_cloud(
    points: np.ndarray, colors: np.ndarray, camera: Camera, size: tuple[int, int], splat: int = 2
) -> np.ndarray:
    """RGB uint8 [H, W, 3] picture of a cloud (points [N, 3] world, RGB uint8 colors [N, 3]) as the camera sees it.

    Each point covers splat x splat pixels; nearer points hide farther ones. Background white.
    """
    width, height = size
    u, v, z = camera.project(points)
    front = z > 0
    order = np.flatnonzero(front)[np.argsort(-z[front])]  # far to near: the nearest is drawn last
    column, row = np.rint(u[order]), np.rint(v[order])
    picture = np.full((height, width, 3), 255, np.uint8)
    for dy in range(splat):
        for dx in range(splat):
            x, y = column + dx, row + dy
            inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            picture[y[inside].astype(int), x[inside].astype(int)] = colors[order[inside]]
    return picture


def turned(camera: Camera, center: np.ndarray, degrees: float) -> Camera:
    """The camera moved on a circle around a world point [3], about its own vertical axis, still looking at it."""
    angle = np.deg2rad(degrees)
    x, y, z = (camera.cam_T_world @ np.append(center, 1))[:3]
    turn = np.eye(4)
    turn[:3, :3] = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    turn[:3, 3] = np.array([x, y, z]) - turn[:3, :3] @ [x, y, z]
    return dataclasses.replace(camera, cam_T_world=turn @ camera.cam_T_world)


def turned_views(
    points: np.ndarray, colors: np.ndarray, camera: Camera, size: tuple[int, int], degrees: float, splat: int = 2
) -> list[np.ndarray]:
    """Pictures of a cloud from beside the camera, from it, and from its other side."""
    center = np.median(points, axis=0) if len(points) else np.zeros(3)
    cameras = [turned(camera, center, turn) for turn in (-degrees, 0, degrees)]
    return [render_cloud(points, colors, camera, size, splat) for camera in cameras]

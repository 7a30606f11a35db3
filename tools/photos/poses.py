"""A folder of ordinary photos, or a video, becomes a COLMAP model."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets.files import DataError, read_json, write_json
from datasets.formats.colmap import find_model, read_colmap
from datasets.masks import MASK_FOLDER
from datasets.photos.left_out import write_left_out
from tools.photos.coverage import measure_coverage
from tools.photos.features import Group, Search, import_pycolmap
from tools.photos.gathering import Photos, gather
from tools.photos.importing import check_outdir, named
from tools.photos.prepare import Prepared, prepare_photos
from tools.photos.settings import PoseSettings
from tools.photos.sfm import TURNED, Poses, find_poses, forget
from tools.runtime.alive import Alive

_RECORD = "poses.json"
_FRAMES = "frames"
_ADVICE = "take photos between these and the others, each sharing two thirds with the next"

_UNFINISHED, _PREPARED = "unfinished", "prepared"


def photos_to_poses(source: Path, outdir: Path, settings: PoseSettings) -> int:
    """Find the poses of a folder's photos, or of a video's frames: a COLMAP model in outdir/sparse/0, upright photos
    in outdir/images, their masks in outdir/masks; outdir/left_out.json says which have no pose, and why.

    Where they are there already, made from the same photos and settings, nothing is done; a search that was cut off
    goes on. Returns the number of photos. Raises DataError when there are too few, none fit together, the camera only
    turned, or pycolmap is missing.
    """
    check_outdir(outdir, _RECORD, ("images", "sparse", MASK_FOLDER, _FRAMES))
    photos = gather(source, outdir / _FRAMES, settings.most_frames, lambda: write_json(outdir / _RECORD, {}))
    record = _made_from(settings, photos)
    before = _read_record(outdir)
    if find_model(outdir) and before == record:
        print(f"{outdir}: the poses of these photos are there already", flush=True)
        return len(photos.names)
    import_pycolmap()
    prepared = _prepared_before(before, record)
    if prepared is None:
        write_json(outdir / _RECORD, {})  # from here on the folder is ours, and not finished
        forget(outdir)
        prepared = prepare_photos(photos, outdir, settings.max_side, settings.strict)
        write_json(outdir / _RECORD, {_UNFINISHED: record, _PREPARED: _as_json(prepared)})
    masks = outdir / MASK_FOLDER if prepared.masked else None
    search = Search(settings.matching, settings.seed, settings.threads or -1, masks)
    poses = find_poses(outdir / "images", prepared.groups, outdir, search)
    with Alive("poses"):
        coverage = measure_coverage(read_colmap(outdir))
    if coverage is None or coverage.only_turned:
        raise DataError(f"{source}: {TURNED}")
    missing = _without_pose(poses, prepared.names)
    _print_poses(poses, prepared, missing)
    write_left_out(outdir, prepared.left_out | {prepared.own_names[name]: why for name, why in missing.items()})
    write_json(outdir / _RECORD, record)
    return len(photos.names)


def _made_from(settings: PoseSettings, photos: Photos) -> dict[str, Any]:
    """What the poses depend on."""
    told = {"max_side": settings.max_side, "matching": settings.matching, "seed": settings.seed}
    return {"photos": photos.stamps(), **told}


def _read_record(outdir: Path) -> dict[str, Any]:
    with contextlib.suppress(DataError):
        content = read_json(outdir / _RECORD)
        if isinstance(content, dict):
            return content
    return {}


def _as_json(prepared: Prepared) -> dict[str, Any]:
    groups = [[group.names, list(group.size), group.focal] for group in prepared.groups]
    return {"groups": groups, "own": prepared.own_names, "left_out": prepared.left_out, "masked": prepared.masked}


def _prepared_before(before: Mapping[str, Any], record: Mapping[str, Any]) -> Prepared | None:
    """What an unfinished search with the same photos and settings had prepared."""
    if before.get(_UNFINISHED) != record:
        return None
    kept = before[_PREPARED]
    groups = [Group(names, tuple(size), focal) for names, size, focal in kept["groups"]]
    return Prepared(groups, kept["own"], kept["left_out"], kept["masked"])


def _without_pose(poses: Poses, names: list[str]) -> dict[str, str]:
    """The photos that are not in the largest model, and why."""
    best, *others = map(set, poses.models)
    why = {}
    for number, group in enumerate(others, 1):
        for name in sorted(group - best - why.keys()):
            why[name] = f"fits together with {len(group) - 1} others only, not with the rest (group {number + 1})"
    for name in names:
        if name not in best and name not in why:
            why[name] = "has no pose: it shares too little with the others, or is blurred"
    return why


def _print_poses(poses: Poses, prepared: Prepared, missing: Mapping[str, str]) -> None:
    """Say which photos have a pose, and what to do about those that have none."""
    best, *others = poses.models
    print(
        f"poses: {len(best)} of {len(prepared.names)} photos, {poses.points} points, error {poses.error:.2f} pixels",
        flush=True,
    )
    in_groups = {name for other in others for name in other}
    for words, names in (
        ("a group that does not connect to the larger one", [name for name in missing if name in in_groups]),
        ("without a pose", [name for name in missing if name not in in_groups]),
    ):
        if names:
            print(f"left out, {words}: {named(names)}; {_ADVICE}, or remove them if blurred", flush=True)

"""Photos whose poses a capture app has measured (ARKit's transforms.json): they are kept as they are, in metres.

Such files tell no points. Those that the photos have in common are found by matching features with the poses held, so
that sources and depth ranges come from what is seen. Where asked, the cameras are then turned until the points fit.
"""

import dataclasses
import shutil
from pathlib import Path

import cv2

from datasets.files import DataError, read_json, write_json
from datasets.formats.colmap import find_model
from datasets.formats.images import read_image, write_image
from datasets.masks import MASK_FOLDER
from datasets.photos.left_out import write_left_out
from datasets.photos.posed import Lens, PosedPhoto, PosedPhotos
from datasets.photos.remarks import Remarks
from datasets.photos.undistort import straight_lens, straighten
from tools.photos.features import Search, import_pycolmap
from tools.photos.importing import check_outdir, lenses_of_images, read_posed_photos, with_files
from tools.photos.prepare import without_spaces
from tools.photos.scan_masks import ScanMasks, write_mask
from tools.photos.settings import PoseSettings
from tools.photos.sfm import forget
from tools.photos.triangulation import ADJUSTING, FEWEST_SURE, KnownPhoto, Triangulated, triangulate
from tools.runtime.program import Progress

_FILE = "transforms.json"
_RECORD = "poses.json"
_WELL_MEASURED = 0.5  # pixels that points are off in the mean; poses found from the photos have 0.3 to 0.5


def has_known_poses(folder: Path) -> bool:
    """Whether a folder of photos holds what a capture app wrote of their poses."""
    return (folder / _FILE).is_file()


def measured_by(folder: Path) -> str | None:
    """Who measured the poses of such a folder in metres; None where they were found from the photos, as nerfstudio's
    converter does, which then notes COLMAP's numbers of the images."""
    content = read_json(folder / _FILE)
    frames = content.get("frames") if isinstance(content, dict) else None
    if not isinstance(frames, list) or any("colmap_im_id" in frame for frame in frames if isinstance(frame, dict)):
        return None
    return f"the poses in {_FILE}, which capture apps measure"


def pose_known_photos(folder: Path, outdir: Path, settings: PoseSettings) -> int:
    """A COLMAP model of photos with known poses in outdir/sparse/0, the photos straightened in outdir/images, their
    masks in outdir/masks. Returns the number of photos that the folder's file names.

    Where it is there already, made from the same, nothing is done. Raises DataError where fewer than two photos can be
    read, and without pycolmap.
    """
    check_outdir(outdir, _RECORD, ("images", "sparse", MASK_FOLDER))
    remarks, left_out = Remarks(settings.strict), {}
    scene, folders = read_posed_photos(folder / _FILE, None, remarks)
    count = len(scene.photos)
    scene, files = with_files(scene, folders, folder / _FILE, remarks, left_out)
    stamps = [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in (folder / _FILE, *files)]
    record = {
        "known": stamps,
        "max_side": settings.max_side,
        "seed": settings.seed,
        "adjust": settings.adjust and ADJUSTING,
    }
    if find_model(outdir) and (outdir / _RECORD).exists() and read_json(outdir / _RECORD) == record:
        print(f"{outdir}: the model of these photos is there already", flush=True)
        return count
    import_pycolmap()
    write_json(outdir / _RECORD, {})  # from here on the folder is ours, and not finished
    forget(outdir)
    lenses = lenses_of_images(scene, files)
    masks = ScanMasks(scene.photos, files, lenses, folders)
    known = _write_photos(scene, files, lenses, masks, outdir, settings, remarks)
    if len(known) < 2:
        raise DataError(f"{folder / _FILE}: fewer than two of its photos can be read")
    search = Search(settings.matching, settings.seed, settings.threads or -1, _folder_of_masks(outdir))
    found = triangulate(outdir / "images", known, outdir, search, settings.adjust)
    if found.sure < FEWEST_SURE:
        raise DataError(
            f"{folder / _FILE}: only {found.sure} points of its photos fit together with its poses; are photos and "
            "poses of one capture? without the file poses are found from the photos alone"
        )
    print(f"poses: {len(known)} of {count} photos, {_fit(found, settings.adjust)}", flush=True)
    write_left_out(outdir, left_out)
    write_json(outdir / _RECORD, record)
    return count


def _fit(found: Triangulated, asked: bool) -> str:
    """How well poses and photos fit together, in words; `asked`: whether the poses were to be adjusted."""
    points = f"{found.points} points in common, {found.error:.2f} pixels off in the mean"
    if found.adjusted_error is not None:
        return f"adjusted from those of {_FILE}; {points}, now {found.adjusted_error:.2f}"
    remark = ""
    if asked:
        remark = "; nothing is gained by adjusting them"
    elif found.error > _WELL_MEASURED:
        remark = "; --adjust_poses (ADJUST_POSES=1) may mend that"
    return f"as {_FILE} has them; {points}{remark}"


def _folder_of_masks(outdir: Path) -> Path | None:
    return outdir / MASK_FOLDER if (outdir / MASK_FOLDER).is_dir() else None


def _write_photos(
    scene: PosedPhotos,
    files: list[Path],
    lenses: list[Lens],
    masks: ScanMasks,
    outdir: Path,
    settings: PoseSettings,
    remarks: Remarks,
) -> list[KnownPhoto]:
    """Write the photos as pinhole cameras would have taken them, at most so large, and their masks."""
    for name in ("images", MASK_FOLDER):
        shutil.rmtree(outdir / name, ignore_errors=True)
    straight = {id(lens): straight_lens(lens, files[0].parent) for lens in lenses}
    known, taken = [], {photo.name for photo in scene.photos}
    with Progress(len(files), "photos", unit="photo") as progress:
        for place, (photo, file, lens) in enumerate(zip(scene.photos, files, lenses, strict=True)):
            progress.step()
            try:
                image = straighten(read_image(file, grey16=True), lens, straight[id(lens)])
            except DataError as error:
                remarks.leave_out(str(error))
                continue
            written = _fitted(straight[id(lens)], settings.max_side)
            if written.size != image.shape[1::-1]:
                image = cv2.resize(image, written.size, interpolation=cv2.INTER_AREA)
            name = without_spaces(photo.name, taken)
            taken.add(name)
            write_image(outdir / "images" / name, image, quality=98)
            inside = masks.of(place, straight[id(lens)], written.size, remarks)
            if inside is not None:
                write_mask(outdir / MASK_FOLDER / f"{name}.png", inside)
            known.append(_known(dataclasses.replace(photo, name=name, lens=written)))
    return known


def _fitted(lens: Lens, max_side: int) -> Lens:
    scale = min(1.0, max_side / max(lens.size))
    return lens if scale == 1 else lens.scaled(tuple(max(1, round(scale * side)) for side in lens.size))


def _known(photo: PosedPhoto) -> KnownPhoto:
    K = photo.lens.K
    return KnownPhoto(photo.name, photo.lens.size, (K[0, 0], K[1, 1], K[0, 2], K[1, 2]), photo.cam_T_world)

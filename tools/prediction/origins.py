"""What predicted depth was made from, view by view, and which of a scan's results are stale."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from datasets.camera import Camera
from datasets.files import DataError
from datasets.layouts import LAYOUTS
from datasets.layouts.base import Layout
from datasets.mvs import MVSDataset
from datasets.records import ImageStamp, camera_facts, digest, image_stamp, keep_record, read_record, recorded_stamp
from datasets.results import (
    PREDICTION_RECORD,
    ViewFiles,
    cloud_files,
    cloud_path,
    mapped_views,
    mesh_files,
    network_folder,
)
from tools.prediction import refine
from tools.runtime import distributed


class Origin(NamedTuple):
    """What a view's depth is made from: the digest of it all, and the stamp of the view's own image."""

    digest: str
    image: ImageStamp

    def record(self) -> dict[str, Any]:
        """Its part of the view's record."""
        return {"made_from": self.digest, "image": list(self.image)}


def layout_name(layout: Layout) -> str:
    """The name by which --dataset takes a layout, or one that it extends."""
    for kind in type(layout).__mro__:
        for name, known in LAYOUTS.items():
            if kind is known:
                return name
    return type(layout).__name__


def entries_by_scan(dataset: MVSDataset) -> dict[str, list[int]]:
    """The indices of each scan's samples."""
    scans = defaultdict(list)
    for index, entry in enumerate(dataset.entries):
        scans[entry.scan].append(index)
    return dict(scans)


def scan_origins(
    dataset: MVSDataset, indices: Iterable[int], record: Mapping[str, Any], folder: Path
) -> dict[int, Origin]:
    """The origin of every reference view of one scan, whose results lie in `folder`.

    `record` are the settings that hold for all views. Images whose size and time are those of an earlier run are not
    read again. Raises DataError for a camera or an image that cannot be read.
    """
    settings, layout = digest(dict(record)), dataset.layout
    cameras: dict[int, Camera] = {}
    stamps: dict[tuple[int, int], ImageStamp] = {}
    origins = {}

    def facts(scan: str, light: int, view: int) -> list:
        if view not in cameras:
            cameras[view] = layout.camera(scan, view)
        if (view, light) not in stamps:
            known = recorded_stamp(read_record(ViewFiles(folder, view, network_folder(folder)).record))
            stamps[view, light] = image_stamp(layout.image_path(scan, view, light), known)
        return [camera_facts(cameras[view]), stamps[view, light].digest]

    for index in indices:
        scan, light, reference, sources = dataset.entries[index]
        views = [facts(scan, light, view) for view in (reference, *sources)]
        camera = cameras[reference]
        values = dataset.depth_values(index, camera)
        depths = [*camera.depth_range(dataset.settings.numdepth), float(values[0]), float(values[-1])]
        mask = layout.mask_path(scan, reference)
        masks = [] if mask is None else [image_stamp(mask).digest]
        origins[reference] = Origin(digest(settings, views, depths, *masks), stamps[reference, light])
    return origins


def begin_prediction(
    outdir: Path, scan: str, record: dict[str, Any], origins: Mapping[int, Origin], refined: bool = False
) -> None:
    """Let a rerun skip the views of a scan that are finished: remove the others' depth, and a cloud made of it.

    `refined`: refined depth may stay where nothing changed, else depth_est/ becomes the network's depth again.
    """
    folder = outdir / scan
    refine.tidy(folder)
    name = network_folder(folder)
    present = mapped_views(folder / name)
    records = {view: read_record(ViewFiles(folder, view, name).record) for view in present}
    stale = [view for view in present if view not in origins or records[view].get("made_from") != origins[view].digest]
    unfinished = bool(stale) or not origins.keys() <= set(present)
    if not refined:
        refine.restore(folder)
    elif unfinished:
        refine.put_aside(folder)
    if stale:
        cloud = cloud_path(outdir, scan)
        if cloud.exists():
            for path in cloud_files(cloud):
                path.unlink(missing_ok=True)
            print(f"{cloud}: removed, its depth maps were made from something else and are made anew", flush=True)
        for mesh in mesh_files(cloud):
            mesh.unlink(missing_ok=True)
        for view in stale:
            ViewFiles(folder, view).remove()
    keep_record(folder / PREDICTION_RECORD, record)


def is_finished(folder: Path, view: int) -> bool:
    """Whether a view's depth, by the network, is there; `begin_prediction` has removed what is stale."""
    return ViewFiles(folder, view, network_folder(folder)).depth.exists()


class Origins:
    """The origins of a dataset's reference views with `record`, the settings that hold for all; results in `outdir`."""

    def __init__(self, dataset: MVSDataset, outdir: Path, record: dict[str, Any]) -> None:
        self.dataset, self.outdir = dataset, outdir
        self._record, self._scans = record, entries_by_scan(dataset)
        self._held: dict[str, dict[int, Origin]] = {}

    def begin(self, refined: bool = False) -> None:
        """`begin_prediction` of every scan; under torchrun all processes call it, and share the scans."""
        for scan in distributed.share(list(self._scans)):
            begin_prediction(self.outdir, scan, self._record, self._of_scan(scan), refined)
        distributed.barrier()
        entries = self.dataset.entries
        finished = sum(is_finished(self.outdir / entry.scan, entry.reference) for entry in entries)
        if finished and distributed.is_main():
            print(f"{finished} views are finished already in {self.outdir}", flush=True)

    def of(self, index: int) -> Origin:
        """The origin of a sample's reference view."""
        entry = self.dataset.entries[index]
        return self._of_scan(entry.scan)[entry.reference]

    def _of_scan(self, scan: str) -> dict[int, Origin]:
        if scan not in self._held:
            self._held[scan] = scan_origins(self.dataset, self._scans[scan], self._record, self.outdir / scan)
        return self._held[scan]


def check_outdir(dataset: MVSDataset, outdir: Path) -> None:
    """Raise DataError where results would replace the cameras or images that they are made from."""
    for scan in entries_by_scan(dataset):
        results = ViewFiles(outdir / scan, 0)
        own = {results.camera.parent.resolve(), results.image.parent.resolve()}
        if own & {dataset.layout.camera_folder(scan).resolve(), dataset.layout.image_folder(scan).resolve()}:
            raise DataError(f"--outdir {outdir}: holds the cameras and images of {scan} itself; name another folder")

"""Multi-view stereo from Python, with the programs' own defaults (docs/python.md).

    model = kdmvs.load()                      # the weights in ckpt/, or a path
    scan = kdmvs.open_scan("garden")          # a scan in any layout, a COLMAP model, or a transforms.json
    views = kdmvs.predict(model, scan)        # depth, confidence, camera, image of each view, as an iterator
    cloud = kdmvs.fuse(views)                 # points, colours, normals
    cloud.write("garden.ply")
    kdmvs.mesh(views).write("garden.glb")     # views in a list: kdmvs.fuse has used an iterator up
    kdmvs.reconstruct("photos/", "out/")      # the way from photos to the page
    kdmvs.distil("teacher.ckpt", "scans/")    # labels and students, round by round

`import kdmvs` is quick: torch is loaded by the first function that needs it. Mistakes raise DataError, and
CheckpointError for weights, with one line that says what is wrong.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

try:
    from datasets.files import DataError, PathLike
except ImportError:
    raise ImportError(
        "kdmvs: another package named datasets comes first; put this checkout at the front of PYTHONPATH"
    ) from None

if TYPE_CHECKING:
    import numpy as np
    import torch

    from datasets.camera import Camera
    from datasets.layouts.base import Layout
    from datasets.mvs import MVSDataset
    from fusion.mesh.mesh import Mesh
    from fusion.mesh.settings import MeshSettings
    from models.cascade import CascadeMVSNet
    from tools.photos.reconstruct import ReconstructionReport
    from tools.photos.settings import ReconstructionSettings
    from tools.prediction.settings import FusionSettings, PredictionSettings
    from tools.training.round_settings import DistillationSettings
    from tools.training.rounds import RoundResult

# Names that lie elsewhere, and are loaded when they are first used.
_HOMES = {
    "Camera": "datasets.camera",
    "CheckpointError": "models.errors",
    "CloudOptions": "fusion.options",
    "DistillationSettings": "tools.training.round_settings",
    "FusionSettings": "tools.prediction.settings",
    "LabelSettings": "tools.prediction.settings",
    "Mesh": "fusion.mesh.mesh",
    "MeshSettings": "fusion.mesh.settings",
    "PredictionSettings": "tools.prediction.settings",
    "ReconstructionReport": "tools.photos.reconstruct",
    "ReconstructionSettings": "tools.photos.settings",
    "RoundResult": "tools.training.rounds",
    "StudentSettings": "tools.training.settings",
}
_OWN = ["Cloud", "DataError", "Model", "Scan", "View", "distil", "fuse", "load", "mesh", "open_scan", "predict"]
_OWN += ["predict_view", "reconstruct"]
__all__ = [*sorted(_HOMES), *_OWN]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})


# ---------------------------------------------------------------- what functions take and give


@dataclasses.dataclass(frozen=True)
class Model:
    """A network that is ready to predict, where it lies, the checkpoint it is from, and how it predicts."""

    network: CascadeMVSNet
    device: torch.device
    checkpoint: Path
    settings: PredictionSettings


@dataclasses.dataclass(frozen=True)
class Scan:
    """A scan of a data set. A folder that was made for it (`_made`) goes when the scan does."""

    layout: Layout
    name: str
    _made: tempfile.TemporaryDirectory | None = dataclasses.field(default=None, repr=False, compare=False)

    @property
    def views(self) -> list[int]:
        """The numbers of the views that have source views, which are those that can be predicted."""
        return [view for view, sources in self.layout.pairs(self.name) if sources]


@dataclasses.dataclass(frozen=True)
class View:
    """A predicted view.

    depth: float32 [H, W] along the camera's axis, in the scan's unit; confidence: float32 [H, W], 0 to 1; camera: with
    K at this size; image: uint8 RGB [H, W, 3]; number: as in pair.txt; sources: numbers of the views that see the same,
    the best first (none: all others).
    """

    depth: np.ndarray
    confidence: np.ndarray
    camera: Camera
    image: np.ndarray
    number: int
    sources: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        import numpy as np

        from tools.prediction.checks import check_array

        check_array(f"depth of view {self.number}", self.depth, np.float32, (None, None))
        check_array(f"confidence of view {self.number}", self.confidence, np.float32, self.depth.shape)
        check_array(f"image of view {self.number}", self.image, np.uint8, (*self.depth.shape, 3))


@dataclasses.dataclass(frozen=True)
class Cloud:
    """Fused points.

    points: [N, 3] in the scan's unit, float32, or float64 where that is too coarse; colours: uint8 RGB [N, 3]; normals:
    float32 [N, 3] of length 1, 0 where unknown; None unless FusionSettings ask for them.
    """

    points: np.ndarray
    colours: np.ndarray
    normals: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.points)

    def write(self, path: PathLike) -> None:
        """Write a .ply, the same bytes as test.py's, a .glb or a .laz, as the path ends; DataError for another end."""
        from datasets.files import DataError
        from fusion.clouds import Points, write_cloud
        from fusion.export import write_format
        from fusion.options import FORMATS, CloudOptions

        parts, kind = [Points(self.points, self.colours, self.normals)], Path(path).suffix[1:].lower()
        if kind not in FORMATS:
            raise DataError(f"{path}: a cloud is written as {', '.join(f'.{name}' for name in FORMATS)}; end it so")
        if kind == "ply":
            write_cloud(path, parts, CloudOptions(normals=self.normals is not None))
        else:
            write_format(Path(path), lambda: parts, kind)


# ---------------------------------------------------------------- depth


def load(checkpoint: PathLike | None = None, settings: PredictionSettings | None = None, device: str = "auto") -> Model:
    """The network of a checkpoint, a teacher's or a student's; without one the student that comes with the project.

    settings: how it will predict; without them as test.py does. device: auto, cpu, cuda, cuda:N, mps or xpu.
    """
    from tools.prediction.predictor import load_for_prediction
    from tools.prediction.settings import PredictionSettings
    from tools.runtime import distributed
    from tools.runtime.flags import SHIPPED_CHECKPOINT

    path, settings = Path(checkpoint or SHIPPED_CHECKPOINT), settings or PredictionSettings()
    chosen = distributed.start(device)
    return Model(load_for_prediction(path, settings, chosen), chosen, path, settings)


def open_scan(
    source: PathLike, name: str | None = None, layout: str | None = None, folder: PathLike | None = None
) -> Scan:
    """A scan's own folder, or scan `name` of a data set's folder; the layout is told by the files unless it is named.

    Also photos with poses: a folder with a COLMAP model and images/, a transforms.json, or a *_par.txt. Of these a scan
    is made first, in `folder`, or in a temporary one that lasts as long as the scan.
    """
    from datasets.layouts.opening import open_layout

    path, made = Path(source), None
    opened = None if path.is_file() else open_layout(path, layout)
    if opened is None:
        from tools.photos.importing import scan_of_photos

        if folder is None:
            made = tempfile.TemporaryDirectory(prefix="kdmvs-")
            folder = Path(made.name) / (path.parent if path.is_file() else path).resolve().name
        opened = scan_of_photos(path, Path(folder))
    found, names = opened
    if name is None and len(names) > 1:
        raise DataError(
            f"{path}: holds {len(names)} scans, {', '.join(names[:5])}, ...; say which: open_scan(.., name)"
        )
    if name not in (None, *names):
        raise DataError(f"{path}: has no scan {name}; there are {', '.join(names[:5])}")
    return Scan(found, name or names[0], made)


def predict(model: Model, scan: Scan) -> Iterator[View]:
    """Every view of the scan that has source views, in the order of its pair file; as test.py predicts it.

    Of a scan in several lights (DTU's training set) one is used: the one in the settings, else the programs'.
    """
    from datasets.mvs import MVSDataset
    from tools.prediction.predictor import sample_settings
    from tools.prediction.settings import FOR_LABELS

    settings = model.settings
    if scan.layout.has_lights and settings.light is None:
        lights = scan.layout.lights(scan.name)
        settings = dataclasses.replace(settings, light=FOR_LABELS.light if FOR_LABELS.light in lights else lights[0])
    return _views(model, scan, MVSDataset(scan.layout, [scan.name], sample_settings(settings)))


def _views(model: Model, scan: Scan, dataset: MVSDataset) -> Iterator[View]:
    from tools.prediction.predictor import index_batches, predicted_views, result_camera, tune_memory

    settings, pairs = model.settings, dict(scan.layout.pairs(scan.name))
    tune_memory(model.network, dataset)
    batches = index_batches(dataset, range(len(dataset)), settings.batch_size)
    threads = max(1, settings.workers)
    for found in predicted_views(model.network, dataset, model.device, batches, threads, settings.cache_gb):
        number = dataset.entries[found.index].reference
        confidence, camera = found.confidence(settings.confidence), result_camera(found.camera, settings.numdepth)
        yield View(found.depth, confidence, camera, found.image, number, tuple(pairs[number]))


def predict_view(
    model: Model,
    images: Sequence[np.ndarray],
    cameras: Sequence[Camera | tuple[np.ndarray, np.ndarray]],
    depth_range: tuple[float, float],
) -> tuple[np.ndarray, np.ndarray]:
    """Depth and confidence, float32 [H, W] each, of the first of some images in memory, by the others.

    images: uint8 RGB [H, W, 3] of one size whose sides are multiples of 32. cameras: one each, a Camera or (K [3, 3],
    cam_T_world [4, 4]), with K in pixels of these images. depth_range: nearest and farthest depth of the first. The
    settings' interval_scale stretches it: with 1.06, as in test.py, the hypotheses go 6 % of the range beyond its far
    end, and later stages look a little beyond both.
    """
    from tools.prediction.arrays import predict_arrays

    return predict_arrays(model.network, images, cameras, depth_range, model.settings, model.device)


# ---------------------------------------------------------------- clouds, photos, students


def fuse(views: Iterable[View], settings: FusionSettings | None = None, device: str = "auto") -> Cloud:
    """One cloud of predicted views, as test.py fuses them.

    The views pass through a temporary folder (TMPDIR), so that they need not be in memory together.
    """
    from tools.prediction.memory import fuse_in_memory
    from tools.prediction.settings import FusionSettings
    from tools.runtime import distributed

    chosen = distributed.start(device, sweeps=False)
    points = fuse_in_memory(views, settings or FusionSettings(), chosen)
    return Cloud(points.xyz, points.colors, points.normals)


def mesh(views: Iterable[View], settings: MeshSettings | None = None, fusion: FusionSettings | None = None) -> Mesh:
    """The mesh of predicted views, as tools/make_mesh.py makes it; `fusion` tells which of their pixels count.

    `Mesh.write` writes PLY, GLB, OBJ or STL. The views pass through a temporary folder (TMPDIR). Needs Open3D.
    """
    from fusion.mesh.settings import MeshSettings
    from tools.meshing.memory import mesh_in_memory
    from tools.prediction.settings import FusionSettings

    return mesh_in_memory(views, settings or MeshSettings(), fusion or FusionSettings())


def reconstruct(
    photos: PathLike,
    outdir: PathLike,
    model: Model | PathLike | None = None,
    settings: ReconstructionSettings | None = None,
    name: str | None = None,
    device: str = "auto",
) -> ReconstructionReport:
    """A folder of photos to poses, a scan, depth, a cloud and pages, all in `outdir`, as scripts/run_photos.sh does.

    model: a checkpoint; without one the student that comes with the project. settings: with images and thresholds for
    photos; those of a Model are not used. name: of the scan, by default the folder's. A rerun makes what is missing or
    stale. Needs pycolmap.
    """
    from tools.photos.reconstruct import reconstruct
    from tools.photos.settings import ReconstructionSettings

    given = (Path(photos), Path(outdir), _checkpoint(model), settings or ReconstructionSettings())
    return reconstruct(*given, device, name)


def distil(
    teacher: Model | PathLike,
    scans: PathLike | Scan | Sequence[Scan],
    rounds: int = 2,
    outdir: PathLike = "outputs/kd",
    settings: DistillationSettings | None = None,
) -> list[RoundResult]:
    """Students from a teacher's checkpoint, round by round: predictions, labels, a student, which teaches the next.

    scans: a data set's folder, or one scan or several of one data set. Students lie in OUTDIR/round_1/student, ...; a
    rerun goes on where the last one was. One process; several GPUs are for scripts/run_train_kd.sh.
    """
    from datasets.layouts.opening import open_layout
    from tools.training.round_settings import DistillationSettings
    from tools.training.rounds import distil, listed_data

    if isinstance(scans, str | os.PathLike):
        opened = [open_layout(Path(scans))]
    else:
        opened = [(scan.layout, [scan.name]) for scan in ([scans] if isinstance(scans, Scan) else scans)]
    data, settings = listed_data(opened, Path(outdir)), settings or DistillationSettings()
    return distil(_checkpoint(teacher), data, rounds, Path(outdir), settings)


def _checkpoint(model: Model | PathLike | None) -> Path:
    from tools.runtime.flags import SHIPPED_CHECKPOINT

    return model.checkpoint if isinstance(model, Model) else Path(model or SHIPPED_CHECKPOINT)

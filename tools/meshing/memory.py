"""The mesh of views in memory, as if they were files of a scan."""

import tempfile
from collections.abc import Iterable
from pathlib import Path

from datasets.files import DataError
from datasets.predictions import Predictions
from datasets.results import mapped_views
from fusion.mesh.library import check_open3d
from fusion.mesh.mesh import Mesh
from fusion.mesh.settings import MeshSettings
from tools.meshing.scan_mesh import kept_views, make_kept_mesh
from tools.meshing.steps import ShownSteps
from tools.prediction.memory import IN_MEMORY, PredictedMaps, write_scan
from tools.prediction.settings import FusionSettings


def mesh_in_memory(views: Iterable[PredictedMaps], settings: MeshSettings, fusion: FusionSettings) -> Mesh:
    """The mesh of some views; each is put into a temporary folder when it comes. Raises DataError as `mesh_scan`."""
    if fusion.method == "none" or fusion.program:
        raise DataError(
            "--filter_method none and --fusibile_exe_path: are for test.py, in memory there is no such fusion"
        )
    check_open3d()
    with tempfile.TemporaryDirectory(prefix="kdmvs-") as folder:
        layout = write_scan(views, folder)
        maps = Predictions(Path(folder) / IN_MEMORY)
        numbers = mapped_views(maps.folder / maps.depth_folder)
        kept = kept_views(maps, numbers, layout.pair_path(IN_MEMORY), fusion, settings.fill)
        with ShownSteps(quiet=True) as steps:
            return make_kept_mesh(kept, maps, len(numbers), settings, steps)

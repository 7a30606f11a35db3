"""What the way from photos to a cloud is told. Light: no torch, no pycolmap."""

import dataclasses

from datasets.files import DataError
from fusion.mesh.settings import MeshSettings
from fusion.options import FOR_PHOTOS
from tools.prediction.settings import FusionSettings, PredictionSettings
from tools.runtime.limits import LARGEST_SIDE, SMALLEST_SIDE, check_between

MATCHINGS = ("auto", "exhaustive", "alike", "sequential")
MOST_FRAMES = 1000  # of a video

_PREDICTION = PredictionSettings(interval_scale=1.0)  # depth ranges are those that the photos' points have
# Poses that were found are less exact than a laboratory's. Photos may be hundreds, of which more than so many others
# that see the same add little to a point, and each of which takes its time (docs/results.md). Cameras may be far apart:
# then a quarter of a pixel of disparity is less than what a pixel covers.
_FUSION = FusionSettings(disp_threshold=0.25, agree_widths=1.0, sources=20, refined=True, cloud=FOR_PHOTOS)


@dataclasses.dataclass(frozen=True)
class PoseSettings:
    """How poses are found; the defaults are those of tools/photos_to_poses.py.

    max_side: longest side of the photos used, pixels. matching: every pair of photos ("exhaustive"), neighbours in the
    order of names ("sequential"), these and those that look alike ("alike"), or what suits their number ("auto"). seed:
    of random choices. threads: None is one per core. strict: refuse photos that cannot be read instead of leaving them
    out. most_frames: of a video that are used. adjust: turn cameras that a capture app has measured until the photos
    fit together (tools.photos.triangulation); those that are found from the photos fit anyway.
    """

    max_side: int = 1600
    matching: str = "auto"
    seed: int = 0
    threads: int | None = None
    strict: bool = False
    most_frames: int = 100
    adjust: bool = False

    def __post_init__(self) -> None:
        if self.matching not in MATCHINGS:
            raise DataError(f"--matching {self.matching}: must be one of {', '.join(MATCHINGS)}")
        check_between("max_side", self.max_side, SMALLEST_SIDE, LARGEST_SIDE)
        check_between("most_frames", self.most_frames, 2, MOST_FRAMES)


@dataclasses.dataclass(frozen=True)
class ReconstructionSettings:
    """How a folder of photos becomes a cloud; the defaults are those of tools/reconstruct.py.

    refine: passes of refinement before fusion (tools.prediction.refine), 0 for none. fit: whether fusion asks one other
    view to agree where the photos have few others beside them. mesh: how one is made beside the cloud; None for none.
    """

    poses: PoseSettings = PoseSettings()
    prediction: PredictionSettings = _PREDICTION
    fusion: FusionSettings = _FUSION
    refine: int = 1
    fit: bool = True
    mesh: MeshSettings | None = None

    def __post_init__(self) -> None:
        if self.mesh is not None and self.fusion.method == "none":
            raise DataError("--mesh: is made of what the fusion keeps, and --filter_method none is without")

    def fitted(self, thin: bool) -> "ReconstructionSettings":
        """The settings that suit a set; of a `thin` one the photos have few others beside them."""
        if not (thin and self.fit and self.fusion.method == "gipuma"):
            return self
        return dataclasses.replace(self, fusion=dataclasses.replace(self.fusion, num_consistent=1))

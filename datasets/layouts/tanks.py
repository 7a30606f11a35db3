"""Tanks and Temples in the test layout, whose camera files may end with the depth range itself (docs/formats.md)."""

from datasets.camera import Camera
from datasets.layouts.general import GeneralScans
from datasets.layouts.plausible import with_range


class TanksScans(GeneralScans):
    """The test layout; a last line of two numbers that both are depths is `depth_min depth_max`, however far apart."""

    def camera(self, scan: str, view: int) -> Camera:
        camera = self.camera_as_written(scan, view)
        line = camera.depth_line
        # An interval is far below depth_min, depth_max above it.
        if len(line) != 2 or line[1] <= line[0]:
            return super().camera(scan, view)
        return with_range(camera, *line)

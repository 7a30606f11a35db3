"""Tanks and Temples in the test layout, whose camera files may end with the depth range itself (specs: formats)."""

import dataclasses

from datasets.camera import Camera
from datasets.layouts.general import GeneralScans

_DEPTHS = 192  # any number: only the range of depths counts


class TanksScans(GeneralScans):
    """The test layout; a last line of two numbers that both are depths is `depth_min depth_max`."""

    def camera(self, scan: str, view: int) -> Camera:
        camera = super().camera(scan, view)
        line = camera.depth_line
        # An interval is far below depth_min, depth_max above it.
        if len(line) != 2 or line[1] <= line[0]:
            return camera
        depth_min, depth_max = line
        line = (depth_min, (depth_max - depth_min) / _DEPTHS, float(_DEPTHS), depth_max)
        return dataclasses.replace(camera, depth_line=line)

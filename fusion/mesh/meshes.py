"""A mesh of kept depth maps, from the signed distance to colours and texture (docs/method.md, 9)."""

from collections.abc import Callable
from typing import Protocol

import numpy as np

from datasets.files import DataError
from fusion.mesh.colours import vertex_colours
from fusion.mesh.library import simplified
from fusion.mesh.maps import KeptMaps
from fusion.mesh.mesh import Mesh
from fusion.mesh.poisson import poisson_of_maps
from fusion.mesh.settings import MeshSettings
from fusion.mesh.solid import closed_surface
from fusion.mesh.surfaces import Surface, is_closed, without_flat_faces, without_islands
from fusion.mesh.texture import make_texture
from fusion.mesh.unseen import without_unseen
from fusion.mesh.volume import fused_surface, surface_cells, tiles

# Before it is simplified a mesh has so many faces at most, or so many times those that are wanted: finer ones would
# take minutes and gigabytes, and be gone afterwards.
_MOST_FACES, _TIMES_WANTED = 1_000_000, 5
# Faces that a block of voxels holds; of rendered scenes.
_FACES_PER_BLOCK = 55
# Tries at a closed mesh with fewer faces, each with so much larger voxels.
_COARSER, _TRIES = 0.7, 4


class Steps(Protocol):
    """Somebody who shows how far the work is."""

    def begin(self, what: str, count: int) -> Callable[[], None]:
        """A step of so many parts begins; what is returned is called after each of them."""
        ...

    def say(self, text: str) -> None:
        """A line of its own."""
        ...


def make_mesh(maps: KeptMaps, settings: MeshSettings, steps: Steps) -> Mesh:
    """The mesh of kept depth maps; raises DataError where there is no surface, or none that is closed."""
    voxel = settings.voxel or maps.footprint
    if settings.close_holes:
        surface = _closed(maps, settings, voxel, steps)
    else:
        surface, voxel = _open(maps, settings, voxel, steps)
    if not len(surface.faces):
        raise DataError("no surface was found; give another --voxel, or make the cloud with looser settings")
    colours = vertex_colours(surface, maps, steps.begin("colours", len(maps.views)))
    texture = None
    if settings.texture:
        done = steps.begin("texture", 2 * len(maps.views))
        texture = make_texture(surface, colours, maps, settings.texture_size, done)
    arrays = (surface.vertices, surface.faces, colours, texture)
    return Mesh(*arrays, maps.origin, maps.up(), voxel, is_closed(surface))


def _open(maps: KeptMaps, settings: MeshSettings, voxel: float, steps: Steps) -> tuple[Surface, float]:
    """The surface where views saw it, without islands, with as many faces as wanted; and the voxel's edge."""
    if settings.method == "poisson":
        done = steps.begin("points", len(maps.views))
        surface = poisson_of_maps(maps, voxel, settings.memory, False, done)
    else:
        surface, voxel = _of_distances(maps, settings, voxel, steps)
    surface = _with_fewer_faces(without_islands(surface, settings.islands), settings.faces, steps)
    surface = without_unseen(surface, maps, steps.begin("unseen", len(maps.views)))
    return without_islands(surface, settings.islands), voxel


def _of_distances(maps: KeptMaps, settings: MeshSettings, voxel: float, steps: Steps) -> tuple[Surface, float]:
    wanted = max(_MOST_FACES, _TIMES_WANTED * settings.faces) if settings.faces else np.inf
    while True:
        reach = settings.truncation * voxel
        cells = surface_cells(maps, voxel, reach, steps.begin("blocks", len(maps.views)))
        excess = len(cells) * _FACES_PER_BLOCK / wanted
        if settings.voxel is not None or excess <= 1:
            break
        steps.say(f"voxels of {voxel:.4g} would make {excess * wanted:.0f} faces: larger ones are taken")
        voxel *= excess**0.5 * 1.02
    parts = tiles(cells, settings.memory)
    steps.say(f"{len(cells)} blocks of voxels of {voxel:.4g}, in {len(parts)} parts")
    done = steps.begin("distances", len(parts) * len(maps.views))
    return fused_surface(maps, parts, voxel, reach, done), voxel


def _with_fewer_faces(surface: Surface, faces: int, steps: Steps) -> Surface:
    if not faces or len(surface.faces) <= faces:
        return surface
    steps.say(f"{len(surface.faces)} faces become {faces}")
    rounds = max(1, int(np.ceil(np.log2(len(surface.faces) / faces))))
    done = steps.begin("simplify", rounds)
    for left in reversed(range(rounds)):  # by halves, so that there is something to be seen every few seconds
        surface = without_flat_faces(simplified(surface, faces << left if left else faces))
        done()
    return surface


def _closed(maps: KeptMaps, settings: MeshSettings, voxel: float, steps: Steps) -> Surface:
    """A closed surface; one with too many faces is made anew on a coarser grid, for simplifying may open it."""
    faces = settings.faces
    for _ in range(_TRIES):
        done = steps.begin("solid", len(maps.views))
        if settings.method == "poisson":
            surface = without_islands(poisson_of_maps(maps, voxel, settings.memory, True, done), 1.0)
        else:
            surface = closed_surface(maps, faces, settings.memory, voxel, settings.truncation * voxel, done)
        if not is_closed(surface):
            break
        if not settings.faces or len(surface.faces) <= settings.faces:
            return surface
        fewer = without_flat_faces(simplified(surface, settings.faces, closed=True))
        if is_closed(fewer):
            return fewer
        faces = int(faces * _COARSER)
        voxel = voxel / _COARSER**0.5 if settings.method == "poisson" else voxel
    raise DataError(
        f"--close_holes: --method {settings.method} found no closed surface"
        + ("; take --method tsdf" if settings.method == "poisson" else "; give a larger --voxel")
    )

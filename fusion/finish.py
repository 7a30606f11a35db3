"""The last steps of a cloud that need a look at all of its points: lone points, an even spacing, where it stands.

What is written: the PLY, of at most so many points, and in other formats beside it what is asked for; where the PLY is
thinned, all points in `<stem>_all.ply`.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType

import numpy as np

from datasets.files import PathLike
from datasets.formats.ply import ply_writer
from datasets.results import all_points_path, cloud_files, cloud_in_format
from datasets.units import transformed
from fusion.clouds import Points, selected, thin, write_cloud
from fusion.even import evenly_thinned
from fusion.export import write_format
from fusion.options import CloudOptions
from fusion.outliers import Selection, select
from fusion.store import PointStore

# From the places [N, 3] of a clean cloud, evenly spread, to the similarity [4, 4] it is written with, None for none.
Placing = Callable[[np.ndarray], np.ndarray | None]

_PLACED = 500_000  # points of which some say where a cloud stands


@dataclasses.dataclass(frozen=True)
class CloudReport:
    """What was written: points in the PLY, points in the whole cloud, how many each rule of cleaning took, and how the
    PLY's points were chosen."""

    points: int
    whole: int
    removed: dict[str, int]
    thinning: str = "even"

    @property
    def remarks(self) -> str:
        """What a line that tells the number of points adds; nothing for a cloud that was written as it came."""
        gone = ", ".join(f"{rule} {count}" for rule, count in self.removed.items() if count)
        how = "spread evenly" if self.thinning == "even" else "drawn at random"
        whole = f", of {self.whole} {how}" if self.whole > self.points else ""
        return whole + (f"; removed before: {gone}" if gone else "")


class FinishedCloud:
    """A cloud's points after the options, kept in a temporary file of a folder; a context manager.

    `removed` holds what earlier rules of cleaning took, and gets what the rules here take.
    """

    def __init__(
        self, parts: Iterable[Points], options: CloudOptions, folder: Path, removed: Counter | None = None
    ) -> None:
        self._options, self._store = options, PointStore(folder)
        self.removed = Counter() if removed is None else removed
        try:
            for part in selected(parts, dataclasses.replace(options, max_points=None)):
                self._store.append(part.bare(options.normals, options.agreement))
            self._selection = self._select()
        except BaseException:
            self._store.__exit__(None, None, None)
            raise

    def _select(self) -> Selection:
        cleaning = self._options.cleaning
        rules = (cleaning.isolation, cleaning.island) if cleaning else (0.0, 0.0)
        chosen = select(self._store, *rules)
        self.removed["isolation"] += len(self._store) - chosen.count
        return chosen

    def __enter__(self) -> "FinishedCloud":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._store.__exit__(kind, error, trace)

    def __len__(self) -> int:
        return self._selection.count

    def whole(self) -> Iterator[Points]:
        """All points that stay, block by block."""
        for block in self._store.blocks():
            yield block[self._selection.mask(block.xyz)]

    def chosen(self) -> Iterator[Points]:
        """At most as many points as the options say."""
        most = self._options.max_points
        if most is None or len(self) <= most:
            yield from self.whole()
        elif self._options.thinning == "even":
            yield evenly_thinned(self.whole, self._selection.grid, most, self._selection.cells)
        else:
            yield from thin(self.whole(), most, self._options.seed)

    def spread(self) -> np.ndarray:
        """Places [n, 3] of the cloud, evenly spread, so that what many views saw does not count more."""
        xyz = self._store.sample(_PLACED)
        xyz = xyz[self._selection.mask(xyz)]
        return xyz[np.unique(self._selection.grid.keys(xyz), return_index=True)[1]]


def finish_cloud(
    ply_path: PathLike,
    parts: Iterable[Points],
    options: CloudOptions,
    placing: Placing | None = None,
    removed: Counter | None = None,
) -> CloudReport:
    """Write a cloud of the options' parts; the PLY last. Raises DataError when a file cannot be written."""
    ply, removed = Path(ply_path), Counter() if removed is None else removed
    if options.streams and placing is None:
        _remove_others(ply, {ply})
        count = write_cloud(ply, parts, options)
        return CloudReport(count, count, {})
    with FinishedCloud(parts, options, ply.parent, removed) as cloud:
        world_T_scan = None if placing is None else placing(cloud.spread())
        thinned = options.max_points is not None and len(cloud) > options.max_points
        if thinned:
            _write_ply(all_points_path(ply), _placed(cloud.whole(), world_T_scan), options)
        count = _write_chosen(ply, lambda: _placed(cloud.chosen(), world_T_scan), options, thinned)
        return CloudReport(count, len(cloud), dict(removed), options.thinning)


def _write_chosen(ply: Path, chosen: Callable[[], Iterator[Points]], options: CloudOptions, thinned: bool) -> int:
    """Write the other formats of the points, then the PLY."""
    if thinned:  # few, and not to be found again for each file
        chosen = list(chosen()).__iter__
    wanted = [name for name in options.formats if name != "ply"]
    whole = {all_points_path(ply)} if thinned else set()
    _remove_others(ply, {ply, *(cloud_in_format(ply, name) for name in wanted)} | whole)
    for name in wanted:
        write_format(cloud_in_format(ply, name), chosen, name)
    return _write_ply(ply, chosen(), options)


def _remove_others(ply: Path, keep: set[Path]) -> None:
    """Remove what an earlier run left of a cloud and was not asked for now."""
    for path in set(cloud_files(ply)) - keep:
        path.unlink(missing_ok=True)


def _write_ply(path: Path, parts: Iterable[Points], options: CloudOptions) -> int:
    with ply_writer(path, options.normals, options.agreement) as writer:
        for part in parts:
            writer.append(*part.columns())
    return writer.count


def _placed(parts: Iterable[Points], world_T_scan: np.ndarray | None) -> Iterator[Points]:
    """The points where a similarity [4, 4] takes them."""
    for part in parts:
        if world_T_scan is None:
            yield part
        else:
            xyz, normals = transformed(world_T_scan, part.xyz, part.normals)
            yield dataclasses.replace(part, xyz=xyz, normals=normals)

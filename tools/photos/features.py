"""Features of photos and matches between them, in a database of COLMAP. This and tools.photos.sfm alone know pycolmap.

What a run has put into the database is there for the next, which makes only what is missing.
"""

import contextlib
import dataclasses
import signal
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from datasets.files import DataError, write_bytes
from tools.photos.pairs import Pair, alike_pairs, all_pairs, following_pairs
from tools.runtime.alive import Alive
from tools.runtime.pace import paced
from tools.runtime.program import Progress

_LENS_MODEL = "SIMPLE_RADIAL"  # more parameters are seldom well determined by few photos
_PHOTOS, _PAIRS = 4, 12  # at a time, at least; each time the library loads anew what it has loaded before
_ONLY_FATAL = 3  # glog's level

# Of so many photos or more each has fewer features, which makes their matching several times faster.
_MANY, _FEATURES, _FEATURES_OF_MANY = 150, 8192, 4096

# SIFT's threshold of contrast for a thorough search, a third of COLMAP's: twice as many features. Of 13 photos of a
# white head from far apart the ordinary way placed 2, from fewer matches 10, this with guided matching 12; features of
# affine shape or pooled sizes placed no more, in five times the time.
_FAINT = 0.002


@dataclasses.dataclass(frozen=True)
class Group:
    """Photos of one camera and one size (width, height); `focal` in pixels where it is known, and `pinhole` (fx, fy,
    cx, cy) where all of the camera is."""

    names: list[str]
    size: tuple[int, int]
    focal: float | None
    pinhole: tuple[float, ...] | None = None


@dataclasses.dataclass(frozen=True)
class Search:
    """How poses are looked for: matching, seed and threads (-1: one per core) as in PoseSettings; `masks`: a folder of
    masks, or None."""

    matching: str
    seed: int
    threads: int
    masks: Path | None = None


def import_pycolmap() -> Any:
    """The library; raises DataError where it is missing."""
    try:
        import pycolmap  # large, and needed here only
    except ImportError as error:
        raise DataError(
            f"pycolmap cannot be used ({str(error)[:100]}); install it: pip install -r requirements-photos.txt"
        ) from None
    # Its logging library has taken SIGTERM over, and would end the program with a trace.
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))
    pycolmap.logging.minloglevel = _ONLY_FATAL
    return pycolmap


def run(pycolmap: Any, work: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Call a long function of the library, in a thread: meanwhile Python can act on signals, and cancel it."""
    token = pycolmap.CancellationToken()
    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(work, *arguments, cancellation_token=token, **options)
        try:
            return result.result()
        except BaseException:
            token.cancel()
            raise


# ---------------------------------------------------------------- features


def extract_features(
    pycolmap: Any, database: Path, images: Path, groups: Sequence[Group], search: Search, thorough: bool
) -> None:
    """Cameras, photos and their features into the database, as far as they are not there; numbered before threads work
    on them, so always alike. `thorough`: features of faint texture too."""
    pycolmap.Database.open(database).close()  # makes it
    known = set(photo_ids(pycolmap, database))
    for group in groups:
        missing = sorted(set(group.names) - known)
        if missing:
            reader = pycolmap.ImageReaderOptions(camera_model=_LENS_MODEL)
            if group.pinhole is not None:
                reader.camera_model = "PINHOLE"
                reader.camera_params = ",".join(map(repr, map(float, group.pinhole)))
            elif group.focal is not None:
                reader.camera_params = f"{group.focal},{group.size[0] / 2},{group.size[1] / 2},0"
            mode = pycolmap.CameraMode.SINGLE
            pycolmap.import_images(database, images, mode, image_names=missing, options=reader)
    ids = photo_ids(pycolmap, database)
    with open_database(pycolmap, database) as opened:
        names = [name for name in sorted(ids) if not opened.exists_descriptors(ids[name])]
    options = pycolmap.FeatureExtractionOptions(num_threads=search.threads)
    options.sift.max_num_features = _FEATURES if len(ids) < _MANY else _FEATURES_OF_MANY
    if thorough:
        options.sift.peak_threshold = _FAINT
    with Progress(len(names), "features", unit="photo") as progress:
        for folder, photos in _by_masks(names, search.masks):
            reader = pycolmap.ImageReaderOptions()
            if folder is not None:
                reader.mask_path = folder
            for some in paced(photos, _PHOTOS):
                features = {"image_names": some, "reader_options": reader, "extraction_options": options}
                run(pycolmap, pycolmap.extract_features, database, images, **features)
                for _ in some:
                    progress.step()


def _mask(masks: Path, name: str) -> Path:
    return masks / f"{name}.png"


def _by_masks(names: list[str], masks: Path | None) -> list[tuple[Path | None, list[str]]]:
    """The photos without a mask, and those with one in the folder: where COLMAP looks for masks it takes no other."""
    masked = [name for name in names if masks is not None and _mask(masks, name).exists()]
    return [(None, sorted(set(names) - set(masked))), *([(masks, masked)] if masked else [])]


@contextlib.contextmanager
def open_database(pycolmap: Any, database: Path) -> Iterator[Any]:
    opened = pycolmap.Database.open(database)
    try:
        yield opened
    finally:
        opened.close()


def photo_ids(pycolmap: Any, database: Path) -> dict[str, int]:
    """The numbers of the photos in the database by their names."""
    with open_database(pycolmap, database) as opened:
        return {image.name: image.image_id for image in opened.read_all_images()}


# ---------------------------------------------------------------- matches


def match_features(
    pycolmap: Any,
    database: Path,
    names: list[str],
    search: Search,
    thorough: bool,
    among: Collection[Pair] | None = None,
) -> None:
    """Matches of pairs of photos, geometrically verified, into the database, as far as they are not there; no others
    than those `among` so many."""
    ids = photo_ids(pycolmap, database)
    with open_database(pycolmap, database) as opened:
        pairs = _chosen_pairs(opened, [ids[name] for name in names], search)
        if among is not None:
            pairs = sorted(set(pairs) & set(among))
        missing = [(a, b) for a, b in pairs if not opened.exists_matches(ids[names[a]], ids[names[b]])]
    if not missing:
        return
    print(f"matching {len(missing)} of {len(names) * (len(names) - 1) // 2} pairs", flush=True)
    verification = pycolmap.TwoViewGeometryOptions()
    verification.ransac.random_seed = search.seed
    matching = pycolmap.FeatureMatchingOptions(num_threads=search.threads, guided_matching=thorough)
    pairing = pycolmap.ImportedPairingOptions()
    pairing.match_list_path = database.with_name("pairs.txt")
    options = {"matching_options": matching, "pairing_options": pairing, "verification_options": verification}
    with Progress(len(missing), "matching", unit="pair") as progress:
        for some in paced(sorted(missing), _PAIRS):  # in an order that needs few photos at a time
            write_bytes(pairing.match_list_path, "".join(f"{names[a]} {names[b]}\n" for a, b in some).encode())
            run(pycolmap, pycolmap.match_image_pairs, database, **options)
            for _ in some:
                progress.step()
    pairing.match_list_path.unlink(missing_ok=True)


def _chosen_pairs(opened: Any, ids: list[int], search: Search) -> list[Pair]:
    """The pairs, by places in the order of names, that `search.matching` asks for."""
    if search.matching == "exhaustive":
        return all_pairs(len(ids))
    following = following_pairs(len(ids))
    if search.matching == "sequential":
        return following
    with Alive("comparing the photos"):
        alike = alike_pairs(len(ids), lambda k: opened.read_descriptors(ids[k]).data, search.seed)
    return sorted({*following, *alike})

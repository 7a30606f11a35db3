"""A folder of results replaced as a whole: built aside, then swapped in, so that at any moment one is there, whole."""

import contextlib
import ctypes
import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from datasets.files import DataError

# Of Linux's renameat2: paths are as they are, and the two change places.
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


@contextlib.contextmanager
def replaced_folder(folder: Path, ours: Sequence[str]) -> Iterator[Path]:
    """A new folder to fill, which takes the place of `folder` when the block ends well; else nothing changes.

    Entries of the old folder that are not `ours` move along. A process killed at any moment leaves the old folder or
    the new one under the name, and what it left beside it is cleared away next time. Where a folder cannot be renamed
    (one that is mounted), its entries are replaced one by one, the last of `ours` first removed and last written.
    """
    folder = folder.resolve()
    aside = _aside(folder)
    try:
        _clear(aside, folder, ours)
        aside.mkdir(parents=True)
        yield aside
        _swap(aside, folder, ours)
        _clear(aside, folder, ours)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error.strerror or error}") from None
    finally:
        if aside.exists():
            with contextlib.suppress(OSError):
                _clear(aside, folder, ours)


def tidy(folder: Path, ours: Sequence[str]) -> None:
    """Clear away what a killed process left beside a folder; what is not `ours` in it goes to the folder."""
    folder = folder.resolve()
    try:
        _clear(_aside(folder), folder, ours)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error.strerror or error}") from None


def _aside(folder: Path) -> Path:
    """Where a folder's next content is built, and its last one goes."""
    return folder / ".import" if os.path.ismount(folder) else folder.parent / f".{folder.name}.import"


def _clear(aside: Path, folder: Path, ours: Sequence[str]) -> None:
    """Remove a folder that was left aside; what in it is not ours goes to the folder itself first."""
    if not aside.is_dir():
        return
    for path in aside.iterdir():
        half_written = path.name.startswith(".") and path.name.endswith(".tmp")
        if path.name not in ours and not half_written and folder.is_dir() and not os.path.lexists(folder / path.name):
            os.replace(path, folder / path.name)
    shutil.rmtree(aside)


def _swap(aside: Path, folder: Path, ours: Sequence[str]) -> None:
    if not folder.exists():
        os.replace(aside, folder)
        return
    if aside.parent == folder or not _exchange(aside, folder):
        (folder / ours[-1]).unlink(missing_ok=True)
        for name in ours:
            if (folder / name).is_dir():
                shutil.rmtree(folder / name)
            if (aside / name).exists():
                os.replace(aside / name, folder / name)


def _exchange(a: Path, b: Path) -> bool:
    """Let two folders change names in one step; False where the system cannot."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    if rename(_AT_FDCWD, os.fsencode(a), _AT_FDCWD, os.fsencode(b), _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL, errno.EBUSY, errno.EXDEV):
        return False
    raise OSError(number, os.strerror(number))

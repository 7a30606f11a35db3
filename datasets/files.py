"""Safe file access: errors meant for people, nothing half-written, names that cannot leave their folder."""

import contextlib
import json
import os
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

PathLike = str | os.PathLike

# File systems allow 255 bytes; suffixes and the names of temporary files take some of them.
_LONGEST_NAME = 200


class DataError(Exception):
    """A mistake in the user's files or flags. The message is one line: the file, what is wrong, what to do."""


def reason(error: Exception) -> str:
    """What a library's error says, as part of a message of one short line."""
    return str(error).splitlines()[0][:200] if str(error) else repr(error)


def read_bytes(path: PathLike) -> bytes:
    """Content of a file; raises DataError when it is missing, cannot be read, or is a device, which may never end."""
    try:
        with open(path, "rb") as file:
            if stat.S_ISCHR(os.fstat(file.fileno()).st_mode):
                raise DataError(f"{path}: is a device, not a file")
            return file.read()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None


def read_text(path: PathLike) -> str:
    """Content of a text file (UTF-8), its line ends as newlines; raises DataError when it is missing or not text."""
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{path}: is not a text file in UTF-8; if it is text, save it as UTF-8") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


@contextlib.contextmanager
def atomic_open(path: PathLike) -> Iterator[BinaryIO]:
    """A binary file that appears under its name only when the block ends well; its folder is made when missing.

    Raises DataError when it cannot be written (a full disk, a missing permission); nothing stays behind then. What a
    killed process left of the same file is removed: a file has one writer at a time.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        temporary = path.parent / f".{path.name}.{uuid.uuid4().hex}.tmp"
        with open(temporary, "x+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # the content is on the disk before the name is: after a power cut too
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def _remove_leftovers(path: Path) -> None:
    prefix = f".{path.name}."
    for name in os.listdir(path.parent):
        if name.startswith(prefix) and name.endswith(".tmp"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path.parent / name)


def write_bytes(path: PathLike, *parts: bytes) -> None:
    """Write the parts one after the other as one file, atomically."""
    with atomic_open(path) as file:
        for part in parts:
            file.write(part)


def write_json(path: PathLike, content: Any) -> None:
    """Write a JSON file, atomically."""
    write_bytes(path, (json.dumps(content, indent=2, sort_keys=True) + "\n").encode())


def read_json(path: PathLike) -> Any:
    """Content of a JSON file; raises DataError when missing or malformed."""
    text = read_text(path)
    try:
        return json.loads(text)
    except ValueError as error:
        raise DataError(f"{path}: is not valid JSON ({error})") from None
    except RecursionError:
        raise DataError(f"{path}: is nested too deeply for JSON of this project") from None


def list_folder(path: PathLike) -> list[str]:
    """Sorted names in a folder; raises DataError when there is no such folder."""
    try:
        return sorted(os.listdir(path))
    except OSError as error:
        raise DataError(f"{path}: cannot list this folder: {error.strerror}") from None


def check_scan_name(name: str, source: PathLike) -> str:
    """Return `name` when it is one plain folder name that can be shown and written, else raise DataError.

    `source` is where it was read, and is named in the error.
    """
    if len(name) > _LONGEST_NAME or len(name.encode(errors="replace")) > _LONGEST_NAME:
        raise DataError(f"{source}: scan name {name[:20]!r}... is longer than {_LONGEST_NAME} bytes; shorten it")
    if not name or name in (".", "..") or any(c in name for c in "/\\") or not name.isprintable():
        raise DataError(f"{source}: scan name {name!a} is not a plain folder name; use letters and digits")
    return name


def read_scan_list(path: PathLike) -> list[str]:
    """Scan names of a list file, one a line, without blank lines and repetitions."""
    names = [line.strip() for line in read_text(path).splitlines()]
    scans = [check_scan_name(name, path) for name in dict.fromkeys(names) if name]
    if not scans:
        raise DataError(f"{path}: lists no scan; write one scan name per line")
    return scans

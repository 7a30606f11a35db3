"""Scan lists that stay in their folder, and files that are whole or absent."""

import os
import stat

import pytest

from datasets.files import (
    DataError,
    atomic_open,
    check_scan_name,
    list_folder,
    read_bytes,
    read_json,
    read_scan_list,
    read_text,
    write_bytes,
    write_json,
)


def test_scan_list(tmp_path):
    """One name a line; blank lines, repetitions, CRLF and a byte-order mark do not matter, names need no number."""
    path = tmp_path / "scans.txt"
    path.write_bytes(b"\xef\xbb\xbfscan1\r\n\r\n  Family \r\nmy photos\r\nscan1\r\n")
    assert read_scan_list(path) == ["scan1", "Family", "my photos"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_of_any_system(tmp_path, end):
    """They are newlines."""
    (tmp_path / "a.txt").write_bytes(f"a b{end}{end}c".encode())
    assert read_text(tmp_path / "a.txt") == "a b\n\nc"


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_other_encodings(tmp_path, encoding):
    """Windows' text is refused, with what to do."""
    (tmp_path / "a.txt").write_bytes("Müller.jpg".encode(encoding))
    with pytest.raises(DataError, match=r"a\.txt: is not a text file in UTF-8; .* save it as UTF-8"):
        read_text(tmp_path / "a.txt")


@pytest.mark.parametrize("name", ["../x", "..", ".", "a/b", "/etc", "a\\b", "x\0y", "x\ty", "\x1b[2J", "\u202egpj"])
def test_names_cannot_leave_their_folder(tmp_path, name):
    """A name that is a path is refused, with the list that holds it."""
    (tmp_path / "scans.txt").write_text(f"scan1\n{name}\n")
    with pytest.raises(DataError, match=r"scans\.txt: scan name .* is not a plain folder name"):
        read_scan_list(tmp_path / "scans.txt")


@pytest.mark.parametrize("name", ["x" * 201, "塔" * 67])
def test_names_fit_into_a_folder(tmp_path, name):
    """A name that would be too long for a file system with what is added to it is refused, and not repeated in full."""
    (tmp_path / "scans.txt").write_text(name, encoding="utf-8")
    with pytest.raises(DataError, match=r"scans\.txt: scan name '.{20}'\.\.\. is longer than 200 bytes"):
        read_scan_list(tmp_path / "scans.txt")
    assert check_scan_name(name[: -len(name) // 10], "flag")


def test_names_of_no_encoding():
    """A folder's name that is no text, as the system lists it, could not be printed."""
    with pytest.raises(DataError, match=r"is not a plain folder name"):
        check_scan_name(os.fsdecode(b"\xff"), "folder")


def test_empty_name():
    """An empty name is no name."""
    with pytest.raises(DataError, match="scan name ''"):
        check_scan_name("", "flag")


@pytest.mark.parametrize("text", ["", "\n \n\r\n"])
def test_empty_scan_list(tmp_path, text):
    """A list without a name is a mistake, not nothing to do."""
    (tmp_path / "scans.txt").write_text(text)
    with pytest.raises(DataError, match=r"scans\.txt: lists no scan"):
        read_scan_list(tmp_path / "scans.txt")


def test_reading_what_is_not_there(tmp_path):
    """Missing files, folders in a file's place, missing folders."""
    with pytest.raises(DataError, match="nowhere: no such file"):
        read_bytes(tmp_path / "nowhere")
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read_text(tmp_path)
    with pytest.raises(DataError, match="nowhere: cannot list this folder"):
        list_folder(tmp_path / "nowhere")


def test_json_round_trip(tmp_path):
    """What is written is read; what is not JSON is named."""
    write_json(tmp_path / "record.json", {"b": [1, 2.5], "a": None})
    assert read_json(tmp_path / "record.json") == {"a": None, "b": [1, 2.5]}
    (tmp_path / "record.json").write_text("{")
    with pytest.raises(DataError, match=r"record\.json: is not valid JSON"):
        read_json(tmp_path / "record.json")
    (tmp_path / "record.json").write_text("[" * 100_000)
    with pytest.raises(DataError, match=r"record\.json: is nested too deeply"):
        read_json(tmp_path / "record.json")


def test_a_device_is_no_file():
    """It could go on for ever."""
    with pytest.raises(DataError, match="/dev/zero: is a device"):
        read_bytes("/dev/zero")


def test_file_appears_when_the_block_ends(tmp_path):
    """Not before, in a folder that is made, and with the permissions of any new file."""
    path = tmp_path / "new" / "file.bin"
    with atomic_open(path) as file:
        file.write(b"half")
        file.flush()
        assert not path.exists()
        file.write(b" and half")
    assert path.read_bytes() == b"half and half" and len(list(path.parent.iterdir())) == 1
    umask = os.umask(0o022)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize("older", [None, b"older"])
@pytest.mark.parametrize("problem", [ValueError, KeyboardInterrupt, DataError])
def test_exception_leaves_nothing_behind(tmp_path, older, problem):
    """Neither half a file nor a temporary one; an older file stays; the exception passes."""
    path = tmp_path / "file.bin"
    if older is not None:
        path.write_bytes(older)
    with pytest.raises(problem), atomic_open(path) as file:
        file.write(b"half")
        raise problem("stop")
    assert [p.read_bytes() for p in tmp_path.iterdir()] == ([older] if older else [])


def test_unwritable_places_are_named(tmp_path):
    """A folder in the file's place, a file in the folder's place."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match="folder: cannot be written"):
        write_bytes(tmp_path / "folder", b"x")
    with pytest.raises(DataError, match="file/below: cannot be written"):
        write_bytes(tmp_path / "file" / "below", b"x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_what_a_killed_process_left_is_removed(tmp_path):
    """Writing a file removes its own forgotten temporary files, and no others."""
    forgotten, others = tmp_path / ".a.pfm.x1.tmp", tmp_path / ".b.pfm.x2.tmp"
    forgotten.write_bytes(b"half")
    others.write_bytes(b"half")
    write_bytes(tmp_path / "a.pfm", b"whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".b.pfm.x2.tmp", "a.pfm"]

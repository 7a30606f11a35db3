"""Programs on a disk that is full: they end with one line, and go on when there is space again."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers import end_process, error_line, start_process, succeed
from small_runs import assert_files_are_whole, command, driver_settings, result

PROGRAMS = ("train_unsup.py", "tools/predict.py", "tools/check_and_encode.py", "test.py")
PAGE = 4096  # bytes; a file on a tmpfs takes whole pages


@pytest.fixture
def disk(tmp_path) -> Iterator[tuple[Path, Callable[[int], None]]]:
    """An empty file system of one page, and a function that gives it another number of pages."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={PAGE}", "tmpfs", folder], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("mounting a small file system needs root")

    def resize(pages: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={pages * PAGE}", folder], check=True)

    yield folder, resize
    subprocess.run(["umount", folder], check=True)


def pages(folder: Path) -> int:
    """What the files in a folder take of a disk."""
    return sum(-(-path.stat().st_size // PAGE) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_goes_on_when_there_is_space(quick_python, small_data, tmp_path, disk, name):
    """Whenever the disk is full, one line names the file, and what is left is whole; the end is as if nothing was."""
    folder, resize = disk

    def run(folder: Path) -> subprocess.CompletedProcess:
        return end_process(start_process(quick_python, *command(name, small_data, folder)))

    succeed(run(tmp_path / "undisturbed"))
    needed = pages(tmp_path / "undisturbed")
    for share in (0.2, 0.7):
        resize(int(share * needed))
        line = error_line(run(folder))
        assert line.startswith(f"error: {folder}") and line.endswith("written: No space left on device")
        assert not list(folder.rglob("*.tmp"))
        assert_files_are_whole(folder)
    resize(4 * needed)
    succeed(run(folder))
    assert result(folder) == result(tmp_path / "undisturbed")


@pytest.mark.slow
def test_a_driver_stops_and_goes_on(quick_python, small_data, tmp_path, disk):
    """Its status says so, and the programs after the one that failed do not start."""
    folder, resize = disk
    name = "scripts/run_train_kd.sh"

    def run(folder: Path) -> subprocess.CompletedProcess:
        settings = driver_settings(quick_python, small_data, folder)
        return end_process(start_process("bash", *command(name, small_data, folder), **settings))

    succeed(run(tmp_path / "undisturbed"))
    resize(pages(tmp_path / "undisturbed" / "round_1" / "est"))
    assert "No space left on device" in error_line(run(folder))
    assert not list(folder.rglob("*.tmp")) and not list(folder.rglob("*.ckpt"))
    resize(4 * pages(tmp_path / "undisturbed"))
    succeed(run(folder))
    assert result(folder) == result(tmp_path / "undisturbed")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
@pytest.mark.parametrize("streams", [">/dev/full", ">/dev/full 2>&1"])
def test_a_log_on_a_full_disk(quick_python, small_data, tmp_path, streams):
    """What a program prints may not fit either; then it says so where it still can."""
    program = command("tools/check_and_encode.py", small_data, tmp_path / "labels")
    result = end_process(start_process("bash", "-c", f'"$@" {streams}', "bash", quick_python, *program))
    if "2>" not in streams:
        assert error_line(result) == "error: standard output: cannot be written: No space left on device"
    assert result.returncode == 1 and "Traceback" not in result.stderr

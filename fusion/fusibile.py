"""Fusion with the CUDA program fusibile, for those who have built it (docs/method.md, "Fusion")."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from datasets.camera import local_origin
from datasets.files import DataError, PathLike, read_bytes, write_bytes
from datasets.formats.ply import read_ply
from datasets.io import write_dmb
from datasets.predictions import Predictions
from datasets.results import view_name
from fusion.clouds import Points, write_cloud
from fusion.options import CloudOptions

_NORMAL = np.float32(1 / 1.732050808)
_MOST_VIEWS = 2**31 - 1  # the program's integers
_LONGEST_WAIT = 2e6  # seconds; the operating system counts milliseconds with 32 bits


def fuse_scan_with_binary(
    scan_dir: PathLike | Predictions,
    views: Sequence[int],
    ply_path: PathLike,
    prob_threshold: float,
    disp_threshold: float,
    num_consistent: float,
    fusibile_exe_path: PathLike,
    time_limit: float = 3600.0,
    options: CloudOptions = CloudOptions(),
) -> int:
    """Fuse the views of a scan folder in the output layout with fusibile into a PLY; returns the number of points.

    An older PLY is replaced only by points that were read. Raises DataError as `binary_points` does.
    """
    thresholds = (prob_threshold, disp_threshold, num_consistent)
    command = (fusibile_exe_path, time_limit, Path(ply_path).parent, options)
    return write_cloud(ply_path, [binary_points(scan_dir, views, *thresholds, *command)], options)


def binary_points(
    scan_dir: PathLike | Predictions,
    views: Sequence[int],
    prob_threshold: float,
    disp_threshold: float,
    num_consistent: float,
    fusibile_exe_path: PathLike,
    time_limit: float,
    parent: Path,
    options: CloudOptions,
) -> Points:
    """The points that fusibile makes of the views of a scan folder in the output layout.

    The program's input is made in a hidden folder in `parent` and removed afterwards. Raises DataError when the program
    cannot be used (`check_program`), fails, takes longer than `time_limit` seconds, or leaves no points.
    """
    exe = check_program(fusibile_exe_path, options)
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fusibile-", dir=parent) as folder:
            point_folder = Path(folder)
            origin = convert(Predictions.of(scan_dir), views, prob_threshold, point_folder)
            command = command_line(exe, point_folder, disp_threshold, num_consistent)
            output = _run(command, time_limit)
            return _collect(exe, point_folder, origin, output)
    except OSError as error:
        raise DataError(f"{parent}: cannot hold fusibile's input: {error.strerror or error}") from None


def check_program(fusibile_exe_path: PathLike, options: CloudOptions) -> str:
    """The path of the executable, looked up in PATH when it is a bare name.

    Raises DataError when there is none, and for what needs to know which view a point is of: its points do not tell.
    """
    looks = options.cleaning is not None and options.cleaning.looks_at_views
    wanted = {"--normals": options.normals, "--agreement": options.agreement, "--clean": looks}
    for flag in (flag for flag, is_wanted in wanted.items() if is_wanted):
        raise DataError(f"{fusibile_exe_path}: its points do not tell their views, {flag} needs the built-in fuser")
    found = shutil.which(fusibile_exe_path)
    if found:
        return found
    if os.path.exists(fusibile_exe_path):
        raise DataError(f"{fusibile_exe_path}: is not an executable file; run chmod +x on the fusibile program")
    raise DataError(f"{fusibile_exe_path}: no such program; build fusibile or use the built-in fusion")


def check_sizes(scan: str, sizes: Mapping[int, tuple[int, int]]) -> None:
    """Raise DataError unless all views have one size; `sizes` holds each one's (width, height)."""
    first = next(iter(sizes))
    for view, size in sizes.items():
        if size != sizes[first]:
            shown = [
                f"view {number} is {width}x{height}"
                for number, (width, height) in ((first, sizes[first]), (view, size))
            ]
            raise DataError(
                f"{scan}: {shown[0]}, {shown[1]}, but the fusibile program needs one size; leave out "
                "--fusibile_exe_path, the built-in fuser takes any"
            )


def convert(predictions: Predictions, views: Sequence[int], prob_threshold: float, point_folder: Path) -> np.ndarray:
    """Write gipuma's layout: cams/ and images/, and per image a folder with disp.dmb and normals.dmb.

    Returns the world point [3] that is the program's origin, as it computes in float32.
    """
    views = sorted(set(views))
    predictions.check_one_size(views)
    origin = local_origin([predictions.view(view).camera for view in views])
    for view in views:
        name = view_name(view)
        write_bytes(point_folder / "images" / f"{name}.jpg", read_bytes(predictions.image_path(view)))
        P = predictions.view(view).camera.around(origin).projection()[:3]
        lines = (" ".join(repr(float(value)) for value in row) + "\n" for row in P)
        write_bytes(point_folder / "cams" / f"{name}.jpg.P", "".join(lines).encode())
        depth = predictions.thresholded_depth(view, prob_threshold)
        # Plane after plane, as the official conversion stores it, though the header says [H, W, 3].
        normals = np.stack([(depth > 0) * _NORMAL] * 3).reshape(*depth.shape, 3)
        write_dmb(point_folder / f"2333__{name}" / "disp.dmb", depth)
        write_dmb(point_folder / f"2333__{name}" / "normals.dmb", normals)
    return origin


def command_line(exe: str, point_folder: Path, disp_threshold: float, num_consistent: float) -> list[str]:
    """The program and its arguments; folders end with a slash, as the program appends names to them."""
    return [
        exe,
        "-input_folder", f"{point_folder}/",
        "-p_folder", f"{point_folder}/cams/",
        "-images_folder", f"{point_folder}/images/",
        "--depth_min=0.001",
        "--depth_max=100000",
        "--normal_thresh=360",
        f"--disp_thresh={disp_threshold}",
        f"--num_consistent={max(0, min(int(num_consistent), _MOST_VIEWS))}",
    ]  # fmt: skip


def _run(command: list[str], time_limit: float) -> str:
    """Run the program; returns what it printed. Raises DataError when it cannot start, fails or takes too long."""
    exe = command[0]
    try:
        # In a session of its own, so that what it starts can be stopped with it.
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise DataError(f"{exe}: cannot be run ({error.strerror}); it was built for another system") from None
    with process:
        try:
            output, _ = process.communicate(timeout=min(time_limit, _LONGEST_WAIT))
        except BaseException as error:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            raise DataError(
                f"{exe}: was stopped after {time_limit:g} s without a result; allow more with --fusibile_timeout"
            ) from None
    _check_exit(exe, process.returncode, output)
    return output


def _check_exit(exe: str, status: int, output: str) -> None:
    """Raise DataError when the program did not end well."""
    if "error while loading shared libraries" in output:
        raise DataError(f"{exe}: {_last_lines(output)}; install that library or set LD_LIBRARY_PATH")
    if status == 127:
        raise DataError(
            f"{exe}: could not start (exit status 127): {_last_lines(output)}; a library or program that it needs is "
            f"missing, ldd {exe} lists its libraries"
        )
    if status != 0:
        reason = f"signal {-status}" if status < 0 else f"exit status {status}"
        raise DataError(f"{exe}: failed with {reason}: {_last_lines(output)}")


def _collect(exe: str, point_folder: Path, origin: np.ndarray, output: str) -> Points:
    """The points of the newest result, in the world. The program exits 0 even on errors."""
    results = list(point_folder.glob("consistencyCheck-*/final3d_model.ply"))
    if not results:
        raise DataError(f"{exe}: ended well but wrote no final3d_model.ply; it printed: {_last_lines(output)}")
    try:
        points, colors = read_ply(max(results, key=lambda path: path.stat().st_mtime))
    except DataError:
        raise DataError(f"{exe}: wrote a damaged final3d_model.ply; it printed: {_last_lines(output)}") from None
    if len(points) == 0:
        raise DataError(
            f"{exe}: found 0 points; it was probably built for another GPU architecture (rebuild it for this one), "
            "or no depth passed the thresholds"
        )
    points = points + origin if origin.any() else points
    return Points(points, colors if colors is not None else np.zeros_like(points, np.uint8))


def _last_lines(output: str, count: int = 3) -> str:
    """The last lines of a program's output as one line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return " | ".join(lines[-count:]) or "nothing was printed"

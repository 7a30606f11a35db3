"""Python processes without the seconds that importing torch takes, for tests that start and kill many.

A server imports the packages once and forks a child for every program. What a test starts is a small client: it passes
its arguments, environment, folder and streams to a child in its own process group, hands signals on, and ends with the
child's status, or dies by SIGKILL when the child did. So it stands in for `python program.py ...` in every respect that
these tests look at, also as PYTHON_BIN of the drivers.

With KILL_AT=n and KILL_FOLDER in its environment a child kills itself at the n-th time that it makes, renames or
removes a file in that folder: right before, or so many built-in calls later as KILL_CALLS says, when the file is open,
half written or not renamed yet. The clock seldom hits these moments. A child leaves the number of these times in a file
when COUNT_FILE names one.
"""

import contextlib
import json
import os
import runpy
import shlex
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PRELOADED = (
    "tools.training.trainer",
    "tools.training.setup",
    "tools.prediction.predictor",
    "tools.prediction.labelling",
    "tools.prediction.refine",
    "tools.prediction.fuse",
    "models.losses",
    "fusion.filters",
)
PRELOADED += ("fusion.builtin", "fusion.fusibile", "datasets.layouts", "tensorboardX", "torchvision.transforms")


@contextlib.contextmanager
def quick_python(folder: Path) -> Iterator[Path]:
    """While its block runs, an executable in the folder that behaves like python."""
    address, executable = folder / "socket", folder / "python"
    client = shlex.join([sys.executable, "-I", "-S", __file__, str(address)])
    executable.write_text(f'#!/bin/sh\nexec {client} "$@"\n')
    executable.chmod(executable.stat().st_mode | stat.S_IXUSR)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, __file__, "--serve", str(address)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as server:
        assert server.stdout.readline() == b"ready\n"
        try:
            yield executable
        finally:
            server.kill()


def serve(address: str) -> None:
    """Fork a child for every client, until killed or left alone."""
    for name in PRELOADED:
        __import__(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children need no waiting for
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        listener.settimeout(5)
        print("ready", flush=True)
        parent = os.getppid()
        while os.getppid() == parent:
            with contextlib.suppress(TimeoutError):
                connection, _ = listener.accept()
                if os.fork() == 0:
                    listener.close()
                    run_child(connection)
                connection.close()


def run_child(connection: socket.socket) -> None:
    """Become the client's process, run its program, tell its status."""
    connection.settimeout(None)
    message, streams, _, _ = socket.recv_fds(connection, 1 << 20, 3)
    request = json.loads(message)
    try:
        os.setpgid(0, request["group"])
    except PermissionError:  # no such group any more: the client was killed
        os._exit(1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.environ["NUMBA_NUM_THREADS"] = "1"  # as in the server: numba, which is loaded, refuses another number
    os.chdir(request["folder"])
    sys.argv = request["arguments"]
    tell_status_at_exit(connection)
    kill_at, calls = (int(os.environ.get(name, 0)) for name in ("KILL_AT", "KILL_CALLS"))
    changes = watch_changes(os.environ.get("KILL_FOLDER"), kill_at, calls)
    connection.send(f"{os.getpid()}\n".encode())
    status = run_program(sys.argv[0])
    sys.stdout.flush()
    sys.stderr.flush()
    if "COUNT_FILE" in os.environ:
        Path(os.environ["COUNT_FILE"]).write_text(str(len(changes)))
    os._exit(status)


def tell_status_at_exit(connection: socket.socket) -> None:
    """Let os._exit send the status to the client, but not in processes that this one forks."""
    leave, process = os._exit, os.getpid()

    def tell_and_leave(status: int) -> None:
        if os.getpid() == process:
            connection.send(f"{status}\n".encode())
        leave(status)

    os._exit = tell_and_leave


def watch_changes(folder: str | None, kill_at: int, calls: int) -> list[str]:
    """The list that grows with each change to a file below the folder from now on; SIGKILL at number `kill_at`."""
    changes = []

    def kill_after_calls(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls -= event == "c_return"
        if calls <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(event: str, arguments: tuple) -> None:
        opens_for_writing = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if (opens_for_writing or event in ("os.rename", "os.remove")) and str(arguments[0]).startswith(folder):
            changes.append(event)
            if len(changes) == kill_at:
                sys.setprofile(kill_after_calls) if calls else os.kill(os.getpid(), signal.SIGKILL)

    if folder is not None:
        sys.addaudithook(watch)
    return changes


def run_program(path: str) -> int:
    """The exit status of a program, its trace printed as Python does."""
    sys.path[0] = str(Path(path).resolve().parent)  # as python does
    try:
        runpy.run_path(path, run_name="__main__")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


def ask(address: str, arguments: list[str]) -> int:
    """The client: have the server run a program, and end as it does."""
    signals = (signal.SIGTERM, signal.SIGINT)
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # until there is somebody to hand them on to
    group = os.getpgrp()
    request = {"arguments": arguments, "environment": dict(os.environ), "folder": os.getcwd(), "group": group}
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        socket.send_fds(connection, [json.dumps(request).encode()], [0, 1, 2])
        answers = connection.makefile()
        child = int(answers.readline())

        def hand_on(signum: int, _: object) -> None:
            with contextlib.suppress(ProcessLookupError):  # it has just ended, and its answer is on its way
                os.kill(child, signum)

        for signum in signals:
            signal.signal(signum, hand_on)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
        answer = answers.readline()
    if not answer:
        os.kill(os.getpid(), signal.SIGKILL)
    return int(answer)


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        serve(sys.argv[2])
    else:
        sys.exit(ask(sys.argv[1], sys.argv[2:]))

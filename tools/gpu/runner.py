"""Stages in processes of their own, each with a time limit: what one breaks, the next does not notice."""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from tools.gpu.settings import CheckSettings, Found, Outcome

Stage = Callable[[CheckSettings], Iterator[Found]]

# Processes that threads start inherit variables which all threads share.
_STARTING = threading.Lock()
# Seconds between two looks at whether a stage shall end.
_LOOK = 0.5
# Seconds that a stage which has passed may take to leave, with what it shares with others put away.
_FAREWELL = 10.0


def run_stage(
    name: str,
    stage: Stage,
    settings: CheckSettings,
    limit: float,
    log: Path,
    environment: Mapping[str, str],
    stop: threading.Event | None = None,
) -> Outcome:
    """Run a stage for at most `limit` seconds, or until `stop` is set; what it prints goes into `log`, what it found
    until then is kept. Threads may run several at a time."""
    started, stop = time.monotonic(), stop or threading.Event()
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(stage, settings, sender, log))
    with _STARTING, _environment(environment):
        process.start()
    sender.close()  # the child's end only: it closes with the child, however that ends
    found: list[Found] = []
    try:
        status, reason = _receive(receiver, process, found, started + limit, stop)
    finally:
        _end(process)
    wrong = [row.wrong for row in found if row.wrong]
    if status == "passed" and wrong:
        status, reason = "failed", wrong[0] + (f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else "")
    if status == "stopped":
        reason = "interrupted" if stop.is_set() else f"took longer than {limit:.0f} s"
    return Outcome(name, status, time.monotonic() - started, reason, tuple(found))


def _receive(
    receiver: Connection, process: BaseProcess, found: list[Found], deadline: float, stop: threading.Event
) -> tuple[str, str]:
    """Collect what a stage finds until it ends; its status and why."""
    while not stop.is_set() and time.monotonic() < deadline:
        if not receiver.poll(_LOOK):
            continue
        try:
            message = receiver.recv()
        except EOFError:
            process.join()
            return "failed", f"its process ended with status {process.exitcode} (-9: killed, often for lack of memory)"
        if isinstance(message, str):
            return "failed", message
        if message is None:
            process.join(_FAREWELL)
            return "passed", ""
        found.append(message)
    return "stopped", ""


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Variables that a process that is started within it has; libraries read them when they are loaded."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _end(process: BaseProcess) -> None:
    """End a stage's process with all that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.join()


def _serve(stage: Stage, settings: CheckSettings, sender: Connection, log: Path) -> None:
    """What a stage's process does. It leads a group, so that it can be ended with the processes that it starts."""
    os.setsid()
    log.parent.mkdir(parents=True, exist_ok=True)
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(target, sys.stdout.fileno())
    os.dup2(target, sys.stderr.fileno())
    try:
        for found in stage(settings):
            sender.send(found)
        sender.send(None)
    except Exception as error:
        traceback.print_exc()
        sender.send(str(error).strip().splitlines()[0] if str(error).strip() else repr(error))

"""Independent jobs in processes of their own, as many at a time as the memory allows.

Why not `concurrent.futures.ProcessPoolExecutor`: when one of its processes is killed, the pool is broken and every
running or waiting job fails with it, without a word on which one was to blame or on the process's exit status. And
before Python 3.14 it has no way to end a job that runs: leaving waits until it is done, after Ctrl-C too. A pool for
each job would help with the first, not with the second.
"""

import multiprocessing
import signal
from collections.abc import Callable, Hashable, Iterator, Mapping
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

from datasets.files import DataError


class Job(NamedTuple):
    """A call of a function with these arguments (both picklable), and the memory it needs, bytes."""

    function: Callable[..., Any]
    arguments: tuple
    memory: float


def run_jobs(jobs: Mapping[Hashable, Job], workers: int, memory: float) -> Iterator[tuple[Hashable, Any]]:
    """Run the jobs in order and yield (name, result) as they end; the result of one that failed is its DataError.

    At most `workers` run at a time, and together within `memory` bytes; one that needs more than all of it runs alone.
    One worker is this process itself. When the iteration is left early, running jobs are ended.
    """
    if workers == 1:
        for name, job in jobs.items():
            yield name, _outcome(job)
        return
    context = multiprocessing.get_context("spawn")  # forking a process with running threads can hang
    waiting, running = list(jobs), {}
    try:
        while waiting or running:
            while waiting and _fits(waiting[0], [name for name, _ in running.values()], jobs, workers, memory):
                name = waiting.pop(0)
                receiver, sender = context.Pipe(duplex=False)
                process = context.Process(target=_run, args=(sender, jobs[name]), daemon=True)
                _start(process)
                sender.close()  # the child's end only: it closes with the child, however that ends
                running[receiver] = name, process
            for receiver in wait(list(running)):
                name, process = running[receiver]
                try:
                    outcome = receiver.recv()
                except EOFError:
                    outcome = None
                process.join()
                del running[receiver]
                yield name, _died(name, process.exitcode) if outcome is None else outcome
    finally:
        for _, process in running.values():
            process.terminate()
            process.join()


def _start(process: BaseProcess) -> None:
    """Start a process that Ctrl-C does not reach: it is the main process's, which ends this one."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # a new process inherits the mask
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _fits(name: Hashable, running: list[Hashable], jobs: Mapping[Hashable, Job], workers: int, memory: float) -> bool:
    """Whether the job may start beside the running ones."""
    used = sum(jobs[other].memory for other in running)
    return not running or (len(running) < workers and used + jobs[name].memory <= memory)


def _outcome(job: Job) -> Any:
    """The job's result, or the DataError that ended it."""
    try:
        return job.function(*job.arguments)
    except DataError as error:
        return error
    except MemoryError:
        return DataError("out of memory")


def _run(sender: Connection, job: Job) -> None:
    """What a job's process does."""
    sender.send(_outcome(job))


def _died(name: Hashable, status: int | None) -> DataError:
    """The failure of a job whose process ended without an answer."""
    return DataError(f"the process of {name} ended with status {status} (-9: killed, most often for lack of memory)")

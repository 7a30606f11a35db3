"""Jobs in processes of their own: results, failures, the memory limit, and an early end."""

import math
import multiprocessing
import os
import time

import pytest

from datasets.files import DataError, read_json
from tools.runtime.jobs import Job, run_jobs


@pytest.mark.parametrize("workers", [1, 2])
def test_results_and_failures(workers, tmp_path):
    """Each job's result comes with its name; a DataError of one is its result and stops no other."""
    jobs = {"a": Job(math.hypot, (3, 4), 0), "b": Job(read_json, (tmp_path / "none",), 0), "c": Job(abs, (-1,), 0)}
    results = dict(run_jobs(jobs, workers, memory=1))
    assert results["a"] == 5 and results["c"] == 1
    assert isinstance(results["b"], DataError) and str(results["b"]) == f"{tmp_path / 'none'}: no such file"


def test_a_process_that_dies():
    """It is reported with its status instead of hanging, and the others go on."""
    results = dict(run_jobs({"scan 1": Job(os._exit, (7,), 0), "scan 2": Job(abs, (-1,), 0)}, 2, memory=1))
    assert isinstance(results["scan 1"], DataError) and "scan 1 ended with status 7" in str(results["scan 1"])
    assert results["scan 2"] == 1


@pytest.mark.parametrize(("memory", "beside"), [(10, 1), (9, 0)])
def test_jobs_share_the_memory(memory, beside):
    """A job waits until it fits beside the running ones; a stopped iteration ends those that run."""
    jobs = {"first": Job(abs, (-1,), 5), "long": Job(time.sleep, (100,), 5)}
    results = run_jobs(jobs, 2, memory)
    assert next(results) == ("first", 1)
    assert len(multiprocessing.active_children()) == beside
    results.close()
    assert not multiprocessing.active_children()


def test_a_job_larger_than_the_memory_runs_alone():
    """It is not refused: the estimate may be wrong."""
    assert dict(run_jobs({"a": Job(abs, (-1,), 100), "b": Job(abs, (-2,), 100)}, 2, memory=1)) == {"a": 1, "b": 2}

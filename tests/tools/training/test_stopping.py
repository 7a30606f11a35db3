"""What ends a training before its time: processes that load samples and are gone, and samples that do not load."""

from collections.abc import Iterator

import pytest

from datasets.files import DataError
from tools.training.stopping import Stopping


def failing(error: Exception) -> Iterator[str]:
    """One sample, and then an error."""
    yield "sample"
    raise error


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."),
        ConnectionResetError(104, "Connection reset by peer"),
        ConnectionRefusedError(111, "Connection refused"),
        EOFError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_worker_that_is_gone_is_said(error):
    """However torch notices it: from its status, or, where it went a moment ago, from the broken connection to it."""
    stopping = Stopping(0)
    assert list(stopping.together(failing(error))) == ["sample"]
    assert isinstance(stopping.reason(), DataError)
    assert "a process that loads samples has ended, most often for lack of memory" in str(stopping.reason())


@pytest.mark.parametrize("error", [EOFError("Caught EOFError in DataLoader worker process 0."), OSError("7.jpg: no")])
def test_a_sample_that_does_not_load_keeps_its_own_error(error):
    """A worker that lives hands its error on."""
    stopping = Stopping(0)
    assert list(stopping.together(failing(error))) == ["sample"]
    assert stopping.reason() is error

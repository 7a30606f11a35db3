"""What all tests share: data, the place where numbers are computed (tests/places.py), and that every test folder can
import from this one, which pytest puts on the path.
"""

import os
import re
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import numba
import pytest
import torch
from places import DTYPES, PLACES, Place, open_place, what_fake_tensors_lack
from quick_python import quick_python as start_quick_python
from small_runs import make_data

# One OpenMP library serves torch and numba; when they use teams of different sizes, torch gets up to ten times slower.
if "OMP_NUM_THREADS" in os.environ:
    os.environ.setdefault("NUMBA_NUM_THREADS", os.environ["OMP_NUM_THREADS"])
    # numba, which is imported above, would read it with the first function that is not in its cache. If another has run
    # by then, its threads are there, and numba refuses to have others.
    numba.config.reload_config()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("place", "where and in which precision the numerical tests compute (tests/places.py)")
    group.addoption("--device", choices=PLACES, default="cpu", help="fake: a GPU that is none, without values")
    group.addoption("--dtype", choices=DTYPES, default="float32", help="what networks compute in")
    group.addoption("--tf32", action="store_true", help="on cuda: convolutions round float32 to TF32")


def pytest_configure(config: pytest.Config) -> None:
    name = config.getoption("device")
    if name in ("cuda", "mps", "xpu") and not getattr(torch, name).is_available():
        raise pytest.UsageError(f"--device {name}: this machine has no such device; --device fake needs none")
    if name != "cuda":  # Triton's kernels run in its interpreter, which has to be said before they are imported
        os.environ.setdefault("TRITON_INTERPRET", "1")


# A test, or a fixture, that takes `place`.
_TAKES_PLACE = re.compile(r"(?:def test_\w+|@pytest\.fixture[^\n]*\ndef \w+)\([^)]*\bplace\b")


def _takes_place(path: Path) -> bool:
    return _TAKES_PLACE.search(path.read_text(encoding="utf-8")) is not None


def _depends_on_place(item: pytest.Item) -> bool:
    """Whether a test computes at the fixture; some have an argument of that name that means something else."""
    given = item.callspec.params if hasattr(item, "callspec") else {}
    return "place" in item.fixturenames and "place" not in given


def _on_default_place(config: pytest.Config) -> bool:
    return (config.getoption("device"), config.getoption("dtype")) == ("cpu", "float32")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Elsewhere than on the default place, files are not even imported of which no test depends on it: most of them,
    which takes longer than the tests that do."""
    if _on_default_place(config) or not collection_path.match("test_*.py") or _takes_place(collection_path):
        return None
    return True


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Elsewhere than on the default place the tests that do not depend on it would only say the same again."""
    if _on_default_place(config):
        overlooked = {item.path for item in items if _depends_on_place(item)}
        overlooked = sorted(str(path) for path in overlooked if not _takes_place(path))
        if overlooked:  # by fixtures of another file, say
            raise pytest.UsageError(f"--device would leave out tests that take `place`: {', '.join(overlooked)}")
        return
    others = [item for item in items if not _depends_on_place(item)]
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if _depends_on_place(item)]


@pytest.fixture
def place(request) -> Iterator[Place]:
    """Where a numerical test computes. What its comparisons find is kept with its result (--junitxml)."""
    flags = (request.config.getoption(name) for name in ("device", "dtype", "tf32"))
    with ExitStack() as stack:
        yield open_place(stack, *flags, lambda name, value: request.node.user_properties.append((name, value)))


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """A test with fake tensors goes as far as it can."""
    try:
        return (yield)
    except Exception as error:
        here = pyfuncitem.funcargs.get("place")
        if here is not None and here.fake and (reason := what_fake_tensors_lack(error)):
            pytest.skip(reason)
        raise


@pytest.fixture(scope="session")
def quick_python(tmp_path_factory) -> Iterator[Path]:
    """An executable that runs programs like python, without the seconds that importing torch takes."""
    with start_quick_python(tmp_path_factory.mktemp("python")) as executable:
        yield executable


@pytest.fixture(scope="session")
def small_data(tmp_path_factory) -> Path:
    """Data for every program (small_runs)."""
    return make_data(tmp_path_factory.mktemp("small"))

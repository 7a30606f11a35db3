"""What every stage runs."""

from collections.abc import Iterator
from functools import partial

from tools.gpu.machine import check_machine
from tools.gpu.runner import Stage
from tools.gpu.settings import CheckSettings, Found
from tools.gpu.tests import run_tests


def stage_of(name: str) -> Stage:
    """The function of a stage, of STAGES or WITHOUT_DEVICE. Light: what it needs it loads in its own process."""
    if name == "machine":
        return check_machine
    if name == "tests fake":
        return partial(run_tests, dtype="float32", device="fake")
    if name == "tests tf32":
        return partial(run_tests, dtype="float32", tf32=True)
    if name.startswith("tests "):
        return partial(run_tests, dtype=name.removeprefix("tests "))
    if name.startswith("curves "):
        return partial(_curves, kind=name.removeprefix("curves "))
    return partial(_measure, name=name)


def _curves(settings: CheckSettings, kind: str) -> Iterator[Found]:
    from tools.gpu.measures import measure_curves

    return measure_curves(settings, kind)


def _measure(settings: CheckSettings, name: str) -> Iterator[Found]:
    from tools.gpu.clouds import measure_clouds
    from tools.gpu.measures import measure_prediction, measure_training, measure_volumes
    from tools.gpu.options import measure_options
    from tools.gpu.ranks import check_ranks

    stages = {
        "cost volume": measure_volumes,
        "prediction": measure_prediction,
        "training": measure_training,
        "clouds": measure_clouds,
        "ranks": check_ranks,
        "options": measure_options,
    }
    return stages[name](settings)

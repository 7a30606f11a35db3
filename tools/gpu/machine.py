"""The device: what it is, what it can do at most, and what is missing where there is none."""

import contextlib
import importlib.metadata
import importlib.util
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from datasets.files import DataError
from tools.gpu.settings import CheckSettings, Found

# Packages that are imported under another name than they are installed under.
_IMPORTED_AS = {"opencv-python": "cv2", "pillow": "PIL"}
# Of requirements-dev.txt; the others are for the style and for photos.
_FOR_TESTS = ("pytest", "hypothesis")


def missing_packages(root: Path) -> list[str]:
    """What this Python lacks of the project's requirements, as pip wants it named."""
    wanted = _requirements(root / "requirements.txt")
    wanted |= {name: line for name, line in _requirements(root / "requirements-dev.txt").items() if name in _FOR_TESTS}
    missing = []
    for name, line in wanted.items():
        if importlib.util.find_spec(_IMPORTED_AS.get(name, name)) is None:
            missing.append(line)
        elif name == "torch" and _version("torch") < _version_of(line):
            missing.append(f"{line} (there is {importlib.metadata.version('torch')})")
    return missing


def _requirements(path: Path) -> dict[str, str]:
    """The lines of a requirements file by the packages' names."""
    return {re.split(r"[<>=!~ ]", line)[0]: line for line in path.read_text().split() if not line.startswith("#")}


def _version(package: str) -> tuple[int, ...]:
    return _version_of(importlib.metadata.version(package))


def _version_of(text: str) -> tuple[int, ...]:
    """The first two numbers of a version, or of the least one that a requirement allows."""
    return tuple(map(int, re.findall(r"\d+", text)[:2]))


def check_machine(settings: CheckSettings) -> Iterator[Found]:
    """What there is, and its measured peaks; DataError where the device is missing."""
    import torch

    from tools.benchmarks.measure import machine

    on_gpu = settings.device != "cpu"
    for name, value in {**machine(), **_cuda_facts()}.items():
        yield Found("machine", {"": name, "is": value})
    if on_gpu and not torch.cuda.is_available():
        raise DataError(f"there is no CUDA device: {_what_is_missing()}")
    if on_gpu:
        properties = torch.cuda.get_device_properties(0)
        capability = f"{properties.major}.{properties.minor}"
        yield Found("machine", {"": "compute capability", "is": capability})
        yield Found("machine", {"": "memory, GB", "is": round(properties.total_memory / 1e9, 1)})
        yield Found("machine", {"": "multiprocessors", "is": properties.multi_processor_count})
    for name, value in peaks(settings).items():
        yield Found("peaks", {"": name, "measured": value})


def _cuda_facts() -> dict[str, str]:
    """Versions of what drives a GPU."""
    import torch

    found = {"CUDA of torch": torch.version.cuda or "none", "driver": _driver()}
    found["triton"] = importlib.metadata.version("triton") if importlib.util.find_spec("triton") else "none"
    if torch.cuda.is_available():
        found["cuDNN"] = str(torch.backends.cudnn.version())
    return found


def _driver() -> str:
    """The NVIDIA driver's version, "none" without one."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return "none"
    command = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    with contextlib.suppress(subprocess.SubprocessError, OSError):
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.split("\n")[0]
        return answer.strip() or "none"
    return "none"


def _what_is_missing() -> str:
    """Why torch sees no GPU."""
    import torch

    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA; install one that is (pytorch.org)"
    if _driver() == "none":
        return "no NVIDIA driver answers (nvidia-smi); a GPU and its driver are missing"
    return f"driver {_driver()} answers, but torch {torch.__version__} (CUDA {torch.version.cuda}) cannot use it"


def peaks(settings: CheckSettings) -> dict[str, float]:
    """Measured GFLOP/s of matrix products in every precision, and GB/s of a copy."""
    import torch

    from tools.benchmarks.roofline import machine_peaks

    torch.backends.cuda.matmul.allow_tf32 = False
    _, found = machine_peaks(*settings.work)
    if torch.cuda.is_available():
        torch.backends.cuda.matmul.allow_tf32 = True
        _, rounded = machine_peaks(*settings.work)
        found["tf32_gflops"] = rounded["float32_gflops"]
        torch.backends.cuda.matmul.allow_tf32 = False
    return found

"""Many scans: indexing asks little of the file system and of memory, and programs stay at one level of memory."""

import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import FAST, end_process, start_process, succeed, write_checkpoint

from datasets.io import write_pairs
from datasets.mvs import Settings, open_dataset
from datasets.synthetic.scans import write_scan_list, write_test_layout

SCANS, VIEWS, LIGHTS = 1000, 49, 7
SCANS_TO_RUN = int(os.environ.get("LOAD_SCANS", 25))  # of the test of programs; 200 take half a minute


# ---------------------------------------------------------------- indexing


def write_sparse(folder: Path, names: list[str]) -> None:
    """Files of 1 GB each that take no space on the disk, and that nobody can read by mistake."""
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).touch()
        os.truncate(folder / name, 10**9)


@pytest.fixture(scope="session")
def many_scans(tmp_path_factory) -> Path:
    """1,000 scans of 49 views in both layouts, with labels; all are links to one scan, which indexing cannot tell."""
    root = tmp_path_factory.mktemp("many scans")
    cameras = [f"{view:08d}_cam.txt" for view in range(VIEWS)]
    pairs = [(view, [((view + i) % VIEWS, 10.0) for i in range(1, 11)]) for view in range(VIEWS)]

    write_sparse(root / "one" / "images", [f"{view:08d}.jpg" for view in range(VIEWS)])
    write_sparse(root / "one" / "cams", cameras)
    write_pairs(root / "one" / "pair.txt", pairs)
    lit = [f"rect_{view + 1:03d}_{light}_r5000.png" for view in range(VIEWS) for light in range(LIGHTS)]
    write_sparse(root / "one_train", lit)
    write_sparse(root / "training" / "Cameras" / "train", cameras)
    write_pairs(root / "training" / "Cameras" / "pair.txt", pairs)
    for kind in ("checked_depth", "fused_sigma"):
        write_sparse(root / "one_labels" / kind, [f"{view:08d}.pfm" for view in range(VIEWS)])

    for folder, one in (("test", "one"), ("training/Rectified", "one_train"), ("labels", "one_labels")):
        (root / folder).mkdir()
        for i in range(SCANS):
            suffix = "_train" if one == "one_train" else ""
            (root / folder / f"scan{i}{suffix}").symlink_to(root / one, target_is_directory=True)
    write_scan_list(root / "some.txt", [f"scan{i}" for i in range(100)])
    return root


@pytest.fixture(scope="session")
def watch_files(many_scans) -> Callable[[Callable], Counter]:
    """A function that tells which files of the scans are opened, and how often folders listed, while another runs."""
    watched = []

    def hook(event: str, arguments: tuple) -> None:
        if watched and event in ("open", "os.listdir", "os.scandir") and str(arguments[0]).startswith(str(many_scans)):
            watched[0]["listings" if event != "open" else Path(arguments[0]).name] += 1

    sys.addaudithook(hook)  # for ever: a hook cannot be removed

    def watch(action: Callable) -> Counter:
        watched.append(Counter())
        action()
        return watched.pop()

    return watch


def test_indexing_the_test_layout_lists_folders(many_scans, watch_files):
    """1,000 scans: each pair file is read, and each folder of images and of cameras listed once; nothing else."""
    datasets = []
    settings = Settings(views=5)
    asked = watch_files(lambda: datasets.append(open_dataset("general_eval", many_scans / "test", "all", settings)))
    assert len(datasets[0]) == SCANS * VIEWS
    assert asked["pair.txt"] == SCANS and 2 * SCANS <= asked["listings"] < 2 * SCANS + 10
    assert asked.keys() <= {"pair.txt", "listings"}


@pytest.mark.parametrize("light", [3, None])
def test_indexing_the_training_layout_lists_folders(many_scans, watch_files, light):
    """Its pair file and its cameras are one for all; a scan's images are listed once for all lights, labels too."""
    datasets = []
    settings = Settings(views=5, light=light, labels=many_scans / "labels")
    asked = watch_files(lambda: datasets.append(open_dataset("dtu_yao", many_scans / "training", "all", settings)))
    assert len(datasets[0]) == SCANS * VIEWS * (LIGHTS if light is None else 1)
    assert asked["pair.txt"] <= 1 and 3 * SCANS <= asked["listings"] < 3 * SCANS + 10
    assert asked.keys() <= {"pair.txt", "listings"}


# Prints the samples of a dataset and the most memory that making its index took, the second time: the first fills what
# is kept from one index to the next, such as compiled patterns.
INDEX_MEMORY = """
import sys, tracemalloc
from datasets.mvs import Settings, open_dataset

def index():
    return open_dataset(*sys.argv[1:], Settings(views=5))

index()
tracemalloc.start()
dataset = index()
print(len(dataset), tracemalloc.get_traced_memory()[1])
"""


@pytest.mark.parametrize(("layout", "folder"), [("general_eval", "test"), ("dtu_yao", "training")])
def test_an_index_is_small(quick_python, many_scans, tmp_path, layout, folder):
    """Some 200 bytes per sample, images of 1 GB or not.

    In a process of its own: here all that other tests have left would count, threads and what finalisers allocate.
    """
    (tmp_path / "index_memory.py").write_text(INDEX_MEMORY)
    command = (tmp_path / "index_memory.py", layout, many_scans / folder, many_scans / "some.txt")
    samples, peak = map(int, succeed(end_process(start_process(quick_python, *command))).split())
    assert samples >= 100 * VIEWS and peak < 2e6 + 250 * samples


# ---------------------------------------------------------------- programs

# Runs a program and prints by how many KB its memory has grown over the last three quarters of its views.
GROWTH = """
import runpy, sys
from pathlib import Path

from tools.runtime import program

levels = []

step = program.Progress.step

def watched(self, note=""):
    levels.append(int(Path("/proc/self/statm").read_text().split()[1]) * 4)
    step(self, note)

program.Progress.step = watched
sys.argv = sys.argv[1:]
sys.path.insert(0, str(Path(sys.argv[0]).resolve().parent))  # as python does
runpy.run_path(sys.argv[0], run_name="__main__")
quarter = len(levels) // 4
print("grown by", max(levels[-quarter:]) - max(levels[:quarter]))
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="tells memory by Linux's /proc")
def test_memory_is_level(quick_python, tmp_path):
    """However many scans are predicted, and labels made of them; features and depth maps of finished ones are gone.

    Kept features alone would be 60 KB a view. LOAD_SCANS=200 runs 200 scans.
    """
    write_test_layout(tmp_path / "one", {"scan": 1}, width=32, height=32, views=3)
    (tmp_path / "scans").mkdir()
    for i in range(SCANS_TO_RUN):
        (tmp_path / "scans" / f"scan{i}").symlink_to(tmp_path / "one" / "scan")
    (tmp_path / "growth.py").write_text(GROWTH)
    checkpoint = write_checkpoint(tmp_path / "model.ckpt")

    def growth(*command: object) -> int:
        """KB, of up to three runs the least: on a busy machine a thread's memory may come late, a leak always comes."""
        grown = []
        while len(grown) < 3 and min(grown, default=2000) >= 2000:
            shutil.rmtree(command[-1], ignore_errors=True)
            out = succeed(end_process(start_process(quick_python, tmp_path / "growth.py", *command)))
            grown.append(int(out.split()[-1]))
        return min(grown)

    predict = ("--dataset", "general_eval", "--testpath", tmp_path / "scans", "--loadckpt", checkpoint, "--num_view", 3)
    labels = ("--testpath", tmp_path / "est", "--pairpath", tmp_path / "scans", "--thres_view", 1)
    predicting = growth("tools/predict.py", *predict, *FAST, "--outdir", tmp_path / "est")
    encoding = growth("tools/check_and_encode.py", *labels, "--outdir", tmp_path / "labels")
    print(f"{SCANS_TO_RUN} scans: predicting grew by {predicting} KB, making labels by {encoding} KB")
    assert len(list((tmp_path / "labels").glob("*/checked_depth/*.pfm"))) == 3 * SCANS_TO_RUN
    assert predicting < 2000 and encoding < 2000

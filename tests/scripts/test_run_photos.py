"""scripts/run_photos.sh as somebody with a folder of photos runs it."""

import importlib.util
import os
import subprocess

import pytest
from helpers import PATIENCE, ROOT, change_times, write_checkpoint

from datasets.files import read_json
from datasets.formats.images import write_image
from datasets.formats.ply import read_ply_count
from datasets.synthetic.scans import Look, render_scene

needs_pycolmap = pytest.mark.skipif(
    importlib.util.find_spec("pycolmap") is None, reason="pycolmap is not installed (requirements-photos.txt)"
)


def run_photos(*arguments: object, **settings: object) -> subprocess.CompletedProcess:
    """Run the driver with settings from the environment."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **{key: str(value) for key, value in settings.items()}}
    command = ["bash", ROOT / "scripts" / "run_photos.sh", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=PATIENCE)


def refusal(*arguments: object, **settings: object) -> str:
    """The one line in which a run ends that cannot work."""
    result = run_photos(*arguments, **settings)
    assert result.returncode != 0
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    return line


def test_mistakes_show_before_the_work(tmp_path):
    """No folder, a folder that is not there, a checkpoint that is not there; nothing is made."""
    assert "run_photos.sh FOLDER" in refusal()
    assert f"{tmp_path}/nowhere: no such folder" in refusal(tmp_path / "nowhere")
    line = refusal(tmp_path, CKPT_FILE=tmp_path / "none.ckpt", OUTDIR=tmp_path / "out")
    assert "none.ckpt: no such file. Set CKPT_FILE" in line and not (tmp_path / "out").exists()


@needs_pycolmap
@pytest.mark.slow
def test_from_photos_to_a_cloud(quick_python, tmp_path):
    """A cloud; a second run makes nothing anew; without one of the photos the depth is made again."""
    folder, out = tmp_path / "my photos", tmp_path / "my results"
    scene = render_scene(1, 320, 256, 7, look=Look(rich=True, rig="arc"))
    for k, image in enumerate(scene.images[3]):
        write_image(folder / f"IMG {k}.jpg", image)
    settings = {"OUTDIR": out, "CKPT_FILE": write_checkpoint(tmp_path / "model.ckpt"), "PYTHON_BIN": quick_python}
    settings |= {"MAX_W": 96, "MAX_H": 96, "DISP_THRESHOLD": 2}
    flags = (folder, "--ndepths", "8,8,8", "--num_workers", "1")

    result = run_photos(*flags, **settings)
    assert result.returncode == 0, result.stderr
    assert "poses: 7 of 7 photos" in result.stdout
    assert read_ply_count(out / "depth" / "gipuma_pcd" / "my photos.ply") > 0
    verdict = read_json(out / "depth" / "my photos" / "verdict.json")
    assert verdict["sentences"][0] == "All 7 photos found their place."
    assert f"== {verdict['verdict']}: All 7 photos found their place." in result.stdout
    assert read_json(out / "depth" / "my photos" / "left_out.json") == {}
    depths, files = change_times(out, "*.pfm"), change_times(out, "*")
    again = run_photos(*flags, **settings)
    assert len(depths) >= 7 and again.returncode == 0
    assert "nothing has changed" in again.stdout and f"== {verdict['verdict']}: " in again.stdout
    assert change_times(out, "*") == files

    (folder / "IMG 6.jpg").unlink()
    result = run_photos(*flags, **settings)
    assert result.returncode == 0 and "poses: 6 of 6 photos" in result.stdout
    again = change_times(out, "*.pfm")
    assert len(again) < len(depths) and not again.items() & depths.items()


@needs_pycolmap
@pytest.mark.slow
def test_two_folders_of_one_name(quick_python, tmp_path):
    """The second does not replace what the first one gave; and nobody's files are taken for results."""
    first, second = (tmp_path / camera / "DCIM" for camera in "ab")
    for folder in (first, second):
        folder.mkdir(parents=True)
    settings = {"CKPT_FILE": write_checkpoint(tmp_path / "model.ckpt"), "PYTHON_BIN": quick_python}
    run_photos(first, OUTDIR=tmp_path / "out", **settings)
    result = run_photos(second, OUTDIR=tmp_path / "out", **settings)
    assert result.returncode == 1 and f"{tmp_path}/out: holds the results of other photos" in result.stderr
    result = run_photos(second, OUTDIR=tmp_path / "a", **settings)
    assert result.returncode == 1 and "holds files of something else" in result.stderr


def test_help():
    """What it does and takes."""
    result = run_photos("--help")
    assert result.returncode == 0 and "bash scripts/run_photos.sh FOLDER" in result.stdout


@needs_pycolmap
@pytest.mark.slow
def test_a_folder_without_photos(quick_python, tmp_path):
    """The message of the program that looks for them; nothing more is started."""
    (tmp_path / "photos").mkdir()
    settings = {"OUTDIR": tmp_path / "out", "CKPT_FILE": write_checkpoint(tmp_path / "model.ckpt")}
    result = run_photos(tmp_path / "photos", PYTHON_BIN=quick_python, **settings)
    assert result.returncode == 1 and "holds no photos" in result.stderr.splitlines()[-1]
    assert "== views" not in result.stdout

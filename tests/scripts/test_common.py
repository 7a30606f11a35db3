"""What scripts/common.sh knows, for all drivers."""

import subprocess

from helpers import ROOT


def common(command: str) -> str:
    """What a command prints in a driver."""
    script = f'set -euo pipefail; source "{ROOT}/scripts/common.sh"; {command}'
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout.strip()


def test_the_newest_student_is_that_of_the_last_round_that_has_one(tmp_path):
    """A round that is under way has none yet; the tenth comes after the ninth."""
    folder = tmp_path / "k d"
    for number in range(1, 12):
        (folder / f"round_{number}" / "student").mkdir(parents=True)
    assert common(f'newest_student "{folder}"') == ""
    for number in (2, 9, 10):
        (folder / f"round_{number}" / "student" / "model_000003.ckpt").touch()
    assert common(f'newest_student "{folder}"') == f"{folder}/round_10/student/model_000003.ckpt"


def test_the_last_value_of_a_flag():
    """As argparse takes it: in one word or two, the last one, and the setting where none is given."""
    assert common("last_value --filter gipuma") == "gipuma"
    assert common("last_value --filter gipuma --voxel 2 --filter none") == "none"
    assert common("last_value --filter gipuma --filter=none --filter=normal") == "normal"


def test_scenes_in_a_folder(tmp_path):
    """Those with a pair.txt, also behind links and with spaces."""
    for name in ("my garden", "empty", "house"):
        (tmp_path / "scenes" / name).mkdir(parents=True)
        (tmp_path / "scenes" / name / "pair.txt").touch()
    (tmp_path / "scenes" / "empty" / "pair.txt").unlink()
    (tmp_path / "scenes" / "linked").symlink_to(tmp_path / "scenes" / "house")
    assert common(f'scenes_in "{tmp_path}/scenes"').splitlines() == ["house", "linked", "my garden"]
    assert common(f'scenes_in "{tmp_path}/scenes/house"') == ""

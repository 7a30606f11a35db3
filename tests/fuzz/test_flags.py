"""Every program against command lines of any kind: settings that can be, or one sentence that says what is wrong.

The lines are the same on every run. KDMVS_FUZZ_COMMAND_LINES sets how many there are in all, and others than the usual
ones come with KDMVS_FUZZ_SEED:

    KDMVS_FUZZ_COMMAND_LINES=100000 KDMVS_FUZZ_SEED=2 python -m pytest tests/fuzz/test_flags.py
"""

import contextlib
import dataclasses
import io
import math
import os

import hypothesis
import pytest
from fuzz_flags import PROGRAMS, command_lines, flags_of, numbers_in
from helpers import load_program

from datasets.files import DataError
from tools.training.settings import flat

COMMAND_LINES = int(os.environ.get("KDMVS_FUZZ_COMMAND_LINES", 4_000))
SEED = int(os.environ.get("KDMVS_FUZZ_SEED", 1))

# Settings that take what is not finite: a box may be open, and memory without a limit.
_OPEN = {"bbox", "memory_gb"}


@pytest.mark.parametrize("program", PROGRAMS)
def test_any_command_line(program, tmp_path_factory):
    """It is read up to where files are opened; nothing but argparse's own end and DataError is raised."""
    module, folder = load_program(program), tmp_path_factory.mktemp("folder")
    counts = {"valid": 0, "refused": 0}

    @hypothesis.seed(SEED)
    @hypothesis.settings(
        max_examples=-(-COMMAND_LINES // len(PROGRAMS)),
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate, hypothesis.Phase.shrink],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(command_lines(flags_of(module), folder))
    def check(line):
        counts["valid" if _is_accepted(module, line) else "refused"] += 1

    check()
    print("COUNTS", program, counts)
    assert counts["valid"] > 0, counts  # so that the lines reach what is behind argparse


def _is_accepted(module, line: list[str]) -> bool:
    """Whether a command line makes settings, all of whose numbers can be; else it must be refused in words."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            settings = module.parse(line)
    except DataError as error:
        assert str(error).strip() and len(str(error).splitlines()) == 1 and len(str(error)) < 1000, line
        return False
    except SystemExit as end:
        assert end.code == 0 or "error: " in said.getvalue(), line
        return False
    for part in settings if isinstance(settings, tuple) else (settings,):
        fields = flat(part) if dataclasses.is_dataclass(part) else getattr(part, "__dict__", {})
        for name in fields.keys() - _OPEN:
            assert all(map(math.isfinite, numbers_in(fields[name]))), (line, name, fields[name])
    return True


BASE = {
    "train_unsup.py": ("--trainpath", "T", "--trainlist", "all"),
    "train_kd.py": ("--trainpath", "T", "--trainlist", "all", "--pseudopath", "L"),
    "test.py": ("--testpath", "T"),
    "tools/predict.py": ("--testpath", "T", "--loadckpt", "C"),
    "tools/zncc_sweep.py": ("--testpath", "T"),
    "tools/label_exact.py": ("--testpath", "T", "--outdir", "O"),
    "tools/import_colmap.py": ("--model", "M", "--outdir", "O"),
    "tools/check_and_encode.py": ("--testpath", "T", "--pairpath", "P"),
    "tools/eval_scenes.py": ("--testpath", "T"),
    "tools/photos_to_poses.py": ("--photos", "P", "--outdir", "O"),
}
SCALING = ("train_unsup.py", "test.py", "tools/predict.py", "tools/zncc_sweep.py", "tools/label_exact.py")


@pytest.mark.parametrize("program", [*SCALING, "tools/import_colmap.py"])
@pytest.mark.parametrize("flag", ["--max_w", "--max_h"])
def test_images_too_small_for_the_networks(program, flag):
    """From 1 to 31 pixels nothing is left after rounding down to multiples of 32: one sentence says so."""
    module = load_program(program)
    for side in range(1, 32):
        with pytest.raises(DataError, match=f"{flag} {side}: is too small; images are scaled to sides"):
            module.parse([*BASE[program], flag, str(side)])
    module.parse([*BASE[program], flag, "32"])


REFUSED = [
    ("test.py", "--thres_view", "-1"),
    ("test.py", "--cache_gb", "inf"),
    ("test.py", "--cache_gb", "nan"),
    ("test.py", "--cache_gb", "1e300"),
    ("test.py", "--depth_inter_r", "nan,1,1"),
    ("test.py", "--depth_inter_r", "1e300,1,1"),
    ("test.py", "--interval_scale", "inf"),
    ("test.py", "--interval_scale", "1e-300"),
    ("test.py", "--num_view", "1000000000"),
    ("test.py", "--num_view", "-3"),
    ("test.py", "--numdepth", "4294967295"),
    ("test.py", "--ndepths", "8,8,8000000000"),
    ("test.py", "--batch_size", "1000000000"),
    ("test.py", "--batch_size", "-1"),
    ("test.py", "--num_workers", "1000000"),
    ("test.py", "--disp_threshold", "1e300"),
    ("test.py", "--fusibile_timeout", "1e30"),
    ("test.py", "--voxel", "nan"),
    ("test.py", "--pred_depth", "perhaps"),
    ("tools/predict.py", "--cr_base_chs", "8,8,99999999"),
    ("tools/zncc_sweep.py", "--window", "100001"),
    ("tools/zncc_sweep.py", "--hypotheses", "4000000000"),
    ("tools/check_and_encode.py", "--thres_view", "2.5"),
    ("tools/check_and_encode.py", "--depth_diff", "nan"),
    ("tools/photos_to_poses.py", "--max_side", "16"),
    ("tools/import_colmap.py", "--numdepth", "1"),
    ("tools/eval_scenes.py", "--predictions", "x" * 5000),
    ("train_unsup.py", "--lr", "nan"),
    ("train_unsup.py", "--lr", "inf"),
    ("train_unsup.py", "--wd", "-1"),
    ("train_unsup.py", "--max_minutes", "nan"),
    ("train_unsup.py", "--max_minutes", "inf"),
    ("train_unsup.py", "--freeze_bn", "nan"),
    ("train_unsup.py", "--smooth_weight", "inf"),
    ("train_unsup.py", "--dlossw", "nan,1,1"),
    ("train_unsup.py", "--nviews", "1000000000"),
    ("train_unsup.py", "--cr_base_chs", "8,8,0"),
    ("train_unsup.py", "--lrepochs", "4:1e-300"),
    ("train_kd.py", "--lrepochs", "nan:2"),
    ("train_kd.py", "--epochs", "0"),
    ("train_kd.py", "--batch_size", "0"),
]


@pytest.mark.parametrize(("program", "flag", "value"), REFUSED, ids=lambda value: value[:30])
def test_values_that_cannot_be(program, flag, value, capsys):
    """Each is refused where the flags are read, by a sentence that names the flag."""
    try:
        load_program(program).parse([*BASE[program], f"{flag}={value}"])
    except DataError as error:
        said = str(error)
    except SystemExit as end:
        assert end.code == 2
        said = capsys.readouterr().err
    else:
        pytest.fail("was accepted")
    assert flag in said.splitlines()[-1]

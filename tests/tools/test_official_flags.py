"""The official release's command lines, unchanged but for paths: every flag and data set's name is understood."""

from pathlib import Path

import pytest
from helpers import CLI, load_program, run_process, run_program, succeed, write_checkpoint, write_exact_labels

from datasets.formats.pfm import read_pfm
from datasets.synthetic.scans import write_scan_list, write_training_layout

# What the programs of the release are called here.
INFER, ENCODE = "tools/predict.py", "tools/check_and_encode.py"

# The commands of the release's shell scripts: run_train_unsup.sh, run_train_kd.sh (its comments as well) and
# run_test_dtu.sh (both ways to fuse). The shell has taken the quotes and the line breaks away.
TRAIN_UNSUP = """--logdir=LOG --dataset=dtu_ut --batch_size=1 --epochs=10 --trainpath=DATA --trainlist=LIST
    --testlist=LIST --numdepth=192 --ndepths=48,32,8 --nviews=5 --wd=0.0001 --depth_inter_r=4.0,1.0,0.5
    --lrepochs=6,8,12:2 --dlossw=1.0,1.0,1.0"""
INFER_TRAIN = """--dataset=dtu_yao_test --batch_size=1 --testpath=DATA --testlist=LIST --loadckpt=CKPT --outdir=OUT
    --interval_scale=1.06"""
ENCODE_TRAIN = """--testpath=OUT --pairpath=DATA --testlist=LIST --outdir=LABELS --conf=0.05 --reproject_dist=1
    --depth_diff=0.005 --thres_view=7"""
TRAIN_KD = """--logdir=LOG --dataset=dtu_kd --batch_size=1 --epochs=16 --trainpath=DATA --pseudopath=LABELS
    --trainlist=LIST --testlist=LIST --nviews=5 --wd=0.0001 --lr=0.001 --using_apex --sync_bn --dlossw=1.0,1.0,1.0"""
TEST_DTU = """--dataset=general_eval --batch_size=1 --testpath=DATA --testlist=LIST --loadckpt=CKPT --outdir=OUT
    --numdepth=192 --ndepths=48,32,8 --depth_inter_r=4.0,1.0,0.5 --interval_scale=1.06"""
COMMANDS = {
    "train_unsup": ("train_unsup.py", TRAIN_UNSUP),
    "infer": (INFER, INFER_TRAIN),
    "encode": (ENCODE, ENCODE_TRAIN),
    "train_kd": ("train_kd.py", TRAIN_KD),
    "test_normal": ("test.py", f"{TEST_DTU} --filter_method=normal"),
    "test_gipuma": ("test.py", f"{TEST_DTU} --filter_method=gipuma --fusibile_exe_path= --conf=0.01"),
}

# Flags of the release's programs that stand in none of its scripts.
TRAINING = """--mode=train --model=mvsnet --device=cuda --testpath=DATA --loadckpt=CKPT --resume --summary_freq=10
    --save_freq=1 --eval_freq=1 --seed=1 --pin_m --local_rank=0 --share_cr --cr_base_chs=8,8,8 --grad_method=detach
    --using_apex --sync_bn --opt-level=O0 --keep-batchnorm-fp32=True --loss-scale=dynamic --interval_scale=1.06"""
PREDICTION = """--model=mvsnet --testpath_single_scene=SCENE --share_cr --cr_base_chs=8,8,8 --grad_method=undetach
    --num_view=5 --num_worker=4"""
TEST = f"""{PREDICTION} --display --max_h=864 --max_w=1152 --fix_res --high_res=1 --save_freq=20 --thres_view=5
    --prob_threshold=0.01 --disp_threshold=0.10 --num_consistent=2 --pred_depth=True"""


def words(line: str, **places: object) -> list[str]:
    """A command line with places for what stands in capitals."""
    flags = line.split()
    for name, place in places.items():
        flags = [flag.replace(f"={name}", f"={place}") for flag in flags]
    return flags


def parsed(program: str, line: str) -> tuple:
    """What a program understands of a command line; it must not end there."""
    return load_program(program).parse(words(line))


# ---------------------------------------------------------------- reading


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_of_the_scripts(command, capsys):
    """They are read as they are, and nothing is said but what apex's flag means today."""
    parsed(*COMMANDS[command])
    said = capsys.readouterr()
    assert said.err == "" and [line for line in said.out.splitlines() if "--using_apex" not in line] == []


@pytest.mark.parametrize(
    ("program", "line"),
    [("train_unsup.py", f"{TRAIN_UNSUP} {TRAINING}"), ("train_kd.py", f"{TRAIN_KD} {TRAINING}"),
     (INFER, f"{INFER_TRAIN} {PREDICTION}"), ("test.py", f"{TEST_DTU} {TEST}")],
)  # fmt: skip
def test_all_flags_of_the_programs(program, line):
    """Together on one line."""
    parsed(program, line)


@pytest.mark.parametrize("name", ["dtu_ut", "dtu_kd", "dtu_yao_test", "dtu_yao"])
def test_names_of_the_training_set(name):
    """All are DTU in the training layout, which is what records and messages call it."""
    _, data, _ = parsed("train_unsup.py", f"--trainpath=DATA --trainlist=LIST --dataset={name}")
    assert data.dataset == "dtu_yao"
    args, _ = parsed(INFER, f"--testpath=DATA --loadckpt=CKPT --dataset={name}")
    assert args.dataset == "dtu_yao"


@pytest.mark.parametrize("program", ["test.py", INFER])
def test_name_of_the_test_set(program):
    """The test layout."""
    assert parsed(program, "--testpath=DATA --loadckpt=CKPT --dataset=dtu_yao_eval")[0].dataset == "general_eval"


def test_unknown_data_set(capsys):
    """The names that there are, are listed."""
    with pytest.raises(SystemExit):
        parsed(INFER, "--testpath=DATA --loadckpt=CKPT --dataset=dtu_typo")
    assert "invalid choice: 'dtu_typo' (choose from" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("program", "line"),
    [("train_unsup.py", "--trainpath=DATA --trainlist=LIST"), (INFER, "--loadckpt=CKPT --testpath=DATA"),
     (ENCODE, "--testpath=DATA --pairpath=DATA")],
)  # fmt: skip
def test_folders_for_results_may_be_left_out(program, line):
    """As in the release they have names of their own then."""
    parsed(program, line)


# ---------------------------------------------------------------- meaning


def test_flags_that_still_mean_something():
    """They reach the settings."""
    args, settings, _ = parsed("test.py", "--testpath=DATA --num_worker=3 --cr_base_chs=16,8,8 --pred_depth=True")
    assert settings.workers == 3 and settings.network.cr_base_chs == (16, 8, 8) and not args.skip_depth
    _, settings = parsed(INFER, "--testpath=DATA --loadckpt=CKPT --cr_base_chs=4,4,4 --share_cr")
    assert settings.network.cr_base_chs == (4, 4, 4) and settings.network.share_cr
    settings, _, _ = parsed("train_unsup.py", f"{TRAIN_UNSUP} --cr_base_chs=8,4,2 --grad_method=undetach --save_freq=3")
    assert settings.network.cr_base_chs == (8, 4, 2) and settings.network.grad_method == "undetach"
    assert settings.saving.save_freq == 3


FULL, GIVEN = (1600, 1200), (640, 512)


@pytest.mark.parametrize(("flag", "size"), [("--high_res=1", FULL), ("--high_res=0", GIVEN), ("", GIVEN)])
def test_high_resolution(capsys, flag, size):
    """It is DTU's full size whatever the sizes say, as in the release, but not silently."""
    _, settings, _ = parsed("test.py", f"--testpath=DATA --max_w=640 --max_h=512 {flag}")
    assert settings.max_size == size
    assert ("note: --high_res: images up to 1600x1200" in capsys.readouterr().out) == (size == (1600, 1200))


@pytest.mark.parametrize("word", ["False", "false", "0", ""])
def test_no_prediction(capsys, word):
    """--pred_depth with what is false is --skip_depth; the release took only the empty word for false."""
    args, *_ = parsed("test.py", f"--testpath=DATA --pred_depth={word}")
    assert args.skip_depth and "note: --pred_depth: nothing is predicted (--skip_depth)" in capsys.readouterr().out


REPLACED = [
    ("train_unsup.py", TRAIN_UNSUP, "--model=mvsnet"),
    ("train_unsup.py", TRAIN_UNSUP, "--local_rank=0"),
    ("train_unsup.py", TRAIN_UNSUP, "--local-rank=0"),
    ("train_unsup.py", TRAIN_UNSUP, "--using_apex"),
    ("train_kd.py", TRAIN_KD, "--opt-level=O1"),
    ("train_kd.py", TRAIN_KD, "--opt_level=O1"),
    ("train_kd.py", TRAIN_KD, "--keep-batchnorm-fp32=True"),
    ("train_kd.py", TRAIN_KD, "--loss-scale=128.0"),
    (INFER, INFER_TRAIN, "--model=mvsnet"),
    (INFER, INFER_TRAIN, "--grad_method=detach"),
    (ENCODE, ENCODE_TRAIN, "--local-rank=0"),
    ("test.py", TEST_DTU, "--model=mvsnet"),
    ("test.py", TEST_DTU, "--display"),
    ("test.py", TEST_DTU, "--fix_res"),
    ("test.py", TEST_DTU, "--save_freq=20"),
    ("test.py", TEST_DTU, "--grad_method=detach"),
]


@pytest.mark.parametrize(("program", "line", "flag"), REPLACED)
def test_flags_that_something_replaced(capsys, monkeypatch, program, line, flag):
    """One line says what, in the first process of several; without the flag none does."""
    name = flag.partition("=")[0].lstrip("-").replace("-", "_")
    line = line.replace("--using_apex", "")
    parsed(program, line)
    assert capsys.readouterr().out == ""
    parsed(program, f"{line} {flag}")
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 1 and said[0].startswith(f"note: --{name}: ") and len(said[0]) > len(name) + 20
    monkeypatch.setenv("RANK", "1")
    parsed(program, f"{line} {flag}")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("spelling", ["--local_rank", "--local-rank"])
def test_a_launcher_s_flag_is_nothing_to_talk_about(capsys, monkeypatch, spelling):
    """Older ones pass the rank on the command line; what counts is in the environment, where it stands as well."""
    monkeypatch.setenv("RANK", "0")
    parsed("train_unsup.py", f"{TRAIN_UNSUP} {spelling}=0")
    assert capsys.readouterr().out == ""


# ---------------------------------------------------------------- running


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """A student with weights by rule."""
    return write_checkpoint(tmp_path_factory.mktemp("weights") / "student.ckpt")


@pytest.fixture(scope="module")
def small_dtu(tmp_path_factory) -> Path:
    """One scan of 5 views of 64x64 in the training layout, with labels/."""
    root = tmp_path_factory.mktemp("dtu")
    write_training_layout(root, {"scan1": 1}, 64, 64, 5, lights=(3,))
    write_scan_list(root / "scans.txt", ["scan1"])
    write_exact_labels(root, "scan1", 5)
    return root


def test_test_dtu(weights, tmp_path):
    """Depth maps and a cloud, by the command of run_test_dtu.sh."""
    program, line = COMMANDS["test_normal"]
    places = {"DATA": CLI / "test", "LIST": CLI / "test" / "scans.txt", "CKPT": weights, "OUT": tmp_path}
    printed = succeed(run_program(program, *words(line, **places)))
    assert "scan1: " in printed and (tmp_path / "gipuma_pcd" / "mvsnet001_l3.ply").exists()
    assert read_pfm(tmp_path / "scan1" / "depth_est" / "00000000.pfm").shape == (96, 160)


def test_labels(weights, tmp_path):
    """Predictions, then labels, by the commands of run_train_kd.sh."""
    places = {"DATA": CLI / "train", "LIST": CLI / "train" / "scans.txt", "CKPT": weights, "OUT": tmp_path / "out"}
    for program, line in (COMMANDS["infer"], COMMANDS["encode"]):
        succeed(run_program(program, *words(line, **places, LABELS=tmp_path / "labels")))
    names = {path.name for path in (tmp_path / "out" / "scan1" / "depth_est").glob("*.pfm")}
    for kind in ("checked_depth", "fused_sigma"):
        assert {path.name for path in (tmp_path / "labels" / "scan1" / kind).glob("*.pfm")} == names


@pytest.mark.slow
@pytest.mark.parametrize("command", ["train_unsup", "train_kd"])
def test_trainings_under_the_old_launcher(small_dtu, tmp_path, command):
    """`python -m torch.distributed.launch`, which passes --local-rank, starts processes that train together."""
    program, line = COMMANDS[command]
    places = {"DATA": small_dtu, "LIST": small_dtu / "scans.txt", "LOG": tmp_path, "LABELS": small_dtu / "labels"}
    launcher = ("-m", "torch.distributed.launch", "--standalone", "--nproc_per_node=2")
    short = ("--max_steps=1", "--device=cpu", "--num_workers=0", "--ndepths=8,8,8")
    result = run_process(*launcher, program, *words(line, **places), *short)
    assert "5 training samples" in succeed(result) and list(tmp_path.glob("model_*.ckpt"))
    assert result.stdout.count("note: --using_apex") == (command == "train_kd")

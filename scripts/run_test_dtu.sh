#!/usr/bin/env bash
# Depth of every view, one fused cloud per scan, and its score where DTU's ground truth is given. Settings: edit here or
# set in the environment; further flags of test.py may follow on the command line.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

use_recipe                                              # for the trainings: a checkpoint tells how it is used in tests
TESTPATH="${TESTPATH:-$ROOT/data/dtu_test}"             # scans in the test layout
TEST_LIST="${TEST_LIST:-$ROOT/lists/dtu/test.txt}"      # scan names, or all
DATASET="${DATASET:-general_eval}"                      # general_eval: the test layout, DTU's too; tanks, blended
CKPT_FILE="${CKPT_FILE:-}"                              # default: the newest student in outputs/kd, else ckpt/kdmvs.ckpt
OUTDIR="${OUTDIR:-$ROOT/outputs/test}"
FUSIBILE_EXE="${FUSIBILE_EXE:-}"                        # a CUDA fusibile program; default: the built-in fuser
FILTER_METHOD="${FILTER_METHOD:-gipuma}"                # gipuma, normal, dynamic, none
EVAL_DIR="${EVAL_DIR:-}"                                # DTU's ground truth (Points/ and ObsMask/): scores the clouds
MESH="${MESH:-0}"                                        # 1: a mesh beside each cloud; needs Open3D
REPORT="${REPORT:-0}"                                   # 1: pages with pictures and clouds in OUTDIR/report
UNIT="${UNIT:-}"                                        # of the cameras' lengths, in the report; DTU's are mm
NGPUS="${NGPUS:-1}"
BATCH_SIZE="${BATCH_SIZE:-1}"
AMP="${AMP:-off}"                                       # off (as official), auto, bf16, fp16
READ_OUT="${READ_OUT:-}"                                # official, local, median; default: as the student was trained
NUM_VIEW="${NUM_VIEW:-5}"
INTERVAL_SCALE="${INTERVAL_SCALE:-1.06}"
MAX_W="${MAX_W:-1152}"
MAX_H="${MAX_H:-864}"
PROB_THRESHOLD="${PROB_THRESHOLD:-0.01}"
DISP_THRESHOLD="${DISP_THRESHOLD:-0.1}"
NUM_CONSISTENT="${NUM_CONSISTENT:-2}"

need_data TESTPATH "$TESTPATH" "the DTU test data (folders scan1, scan4, ... with images, cams and pair.txt)"
need_test_layout "$DATASET"
if [ -n "$EVAL_DIR" ] && { [ ! -d "$EVAL_DIR/Points/stl" ] || [ ! -d "$EVAL_DIR/ObsMask" ]; }; then
    fail "EVAL_DIR=$EVAL_DIR: has no Points/stl and ObsMask. Set it to DTU's ground truth (Points and SampleSet of" \
        "roboimagedata.compute.dtu.dk, in one folder), or leave it empty"
fi
which="set in CKPT_FILE"
if [ -z "$CKPT_FILE" ]; then
    CKPT_FILE="$(newest_student "$ROOT/outputs/kd")" which="the newest student in outputs/kd; CKPT_FILE sets another"
fi
if [ -z "$CKPT_FILE" ]; then
    CKPT_FILE="$SHIPPED_CKPT" which="those of the project, as there is no student in outputs/kd; CKPT_FILE sets others"
fi
[ -f "$CKPT_FILE" ] || fail "CKPT_FILE=$CKPT_FILE: no such file"
if [ -z "$UNIT" ]; then
    case "$TEST_LIST" in "$ROOT/lists/dtu/"*) UNIT=mm ;; *) UNIT=units ;; esac
fi
if [ "$RECIPE" != official ]; then echo "note: RECIPE=$RECIPE changes trainings only; a checkpoint tells how it is used here"; fi
echo "weights: $CKPT_FILE ($which)"

flags=(--dataset "$DATASET" --testpath "$TESTPATH" --testlist "$TEST_LIST")
if [ -n "$READ_OUT" ]; then flags+=(--read_out "$READ_OUT"); fi

launch test.py "${flags[@]}" --loadckpt "$CKPT_FILE" --outdir "$OUTDIR" --batch_size "$BATCH_SIZE" \
    --num_view "$NUM_VIEW" --interval_scale "$INTERVAL_SCALE" --max_w "$MAX_W" --max_h "$MAX_H" --amp "$AMP" \
    --filter_method "$FILTER_METHOD" --fusibile_exe_path "$FUSIBILE_EXE" --prob_threshold "$PROB_THRESHOLD" \
    --disp_threshold "$DISP_THRESHOLD" --num_consistent "$NUM_CONSISTENT" "$@"

# Without fusion a cloud of an earlier run may be there; test.py has removed it if its depth maps are not these.
clouds="$OUTDIR/gipuma_pcd"
if [ "$(last_value --filter_method "$FILTER_METHOD" "$@")" != none ]; then
    echo "clouds: $clouds"
elif [ -n "$(find "$clouds" -name '*.ply' 2>/dev/null | head -n 1)" ]; then
    echo "clouds: none made (--filter_method none); those in $clouds are of an earlier run"
else
    echo "clouds: none made (--filter_method none)"
    EVAL_DIR=
fi
if [ -n "$EVAL_DIR" ]; then
    stoppable "$PYTHON_BIN" "$ROOT/tools/eval_dtu.py" --data_dir "$EVAL_DIR" --ply_dir "$clouds" --scans "$TEST_LIST" \
        --out "$OUTDIR/dtu_score.json"
    echo "scores: $OUTDIR/dtu_score.json"
fi
if [ "$MESH" = 1 ] && [ "$(last_value --filter_method "$FILTER_METHOD" "$@")" != none ]; then
    set_up --mesh
    stoppable "$PYTHON_BIN" "$ROOT/tools/make_mesh.py" --outdir "$OUTDIR" --testlist "$TEST_LIST" --testpath "$TESTPATH"
fi
if [ "$REPORT" = 1 ]; then
    stoppable "$PYTHON_BIN" "$ROOT/tools/report.py" --dataset "$DATASET" --outdir "$OUTDIR" --testpath "$TESTPATH" \
        --testlist "$TEST_LIST" --unit "$UNIT"
fi

#!/usr/bin/env bash
# Distil students from a teacher, round by round: predict, check and encode, train; then the student is the teacher.
# Interrupted, it goes on where it was. Settings: edit here or set in the environment; further flags of train_kd.py may
# follow on the command line.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

use_recipe                                              # RECIPE=best: what measured better than the defaults below
DATASET_DIR="${DATASET_DIR:-$ROOT/data/dtu_training}"   # DTU training layout
DATASET="${DATASET:-dtu_yao}"                           # dtu_yao, or general_eval for own scenes in the test layout
TRAIN_LIST="${TRAIN_LIST:-$ROOT/lists/dtu/train.txt}"   # scan names, or all
TEST_LIST="${TEST_LIST-$ROOT/lists/dtu/val.txt}"        # evaluated on where ground truth exists; empty: never
CKPT_FILE="${CKPT_FILE:-}"                              # first teacher; default: the newest in outputs/unsup
LOG_DIR="${LOG_DIR:-$ROOT/outputs/kd}"                  # round_1/, round_2/, ... with the students
CHECKED_DEPTH_DIR="${CHECKED_DEPTH_DIR:-$LOG_DIR}"      # round_N/est and round_N/labels
ROUNDS="${ROUNDS:-2}"
NGPUS="${NGPUS:-1}"
BATCH_SIZE="${BATCH_SIZE:-1}"                           # per GPU
EPOCHS="${EPOCHS:-16}"
AMP="${AMP:-off}"                                       # off (as official), auto, bf16, fp16
LOSS="${LOSS:-official}"                                # official, paper, hard
START="${START:-scratch}"                               # a student's first weights: scratch, or teacher for its teacher's
READ_OUT="${READ_OUT:-official}"                        # official, local, median: a student's depth
FREEZE_BN="${FREEZE_BN:-1}"                             # share of the steps after which BatchNorm is as in prediction
CONFIDENCE="${CONFIDENCE:-product}"                     # of the stages, or last: of stage 3 alone
LIGHT_IDX="${LIGHT_IDX:-6}"                             # light whose images the labels are predicted from
NUM_VIEW="${NUM_VIEW:-5}"
INTERVAL_SCALE="${INTERVAL_SCALE:-1.06}"
MAX_W="${MAX_W:-640}"                                   # largest images, for own scenes
MAX_H="${MAX_H:-512}"
CHECK="${CHECK:-normal}"                                # normal, dynamic
CONF="${CONF:-0.05}"
REPROJECT_DIST="${REPROJECT_DIST:-1}"
DEPTH_DIFF="${DEPTH_DIFF:-0.005}"
THRES_VIEW="${THRES_VIEW:-7}"                           # sources that must agree: in every round, or "7 5 5" round by round

need_data DATASET_DIR "$DATASET_DIR" "the DTU training data (folders Cameras, Rectified)"
teacher="${CKPT_FILE:-$(best_checkpoint "$ROOT/outputs/unsup")}"
[ -n "$teacher" ] || fail "no teacher in outputs/unsup: run scripts/run_train_unsup.sh first, or set CKPT_FILE"
[ -f "$teacher" ] || fail "CKPT_FILE=$teacher: no such file"
flags=()
if [ -n "$TEST_LIST" ] && [ -d "$DATASET_DIR/Depths_raw" ]; then flags+=(--testlist "$TEST_LIST"); fi
case "$START" in scratch | teacher) ;; *) fail "START=$START: must be scratch or teacher" ;; esac
read -ra thres_views <<<"$THRES_VIEW"

distil() { # distil FLAGS...: tools/distil.py with the settings above
    launch tools/distil.py --teacher "$teacher" --rounds "$ROUNDS" --dataset "$DATASET" --trainpath "$DATASET_DIR" \
        --trainlist "$TRAIN_LIST" --logdir "$LOG_DIR" --label_dir "$CHECKED_DEPTH_DIR" --batch_size "$BATCH_SIZE" \
        --epochs "$EPOCHS" --amp "$AMP" --loss "$LOSS" --student_start "$START" --read_out "$READ_OUT" \
        --freeze_bn "$FREEZE_BN" --confidence "$CONFIDENCE" --light_idx "$LIGHT_IDX" --nviews "$NUM_VIEW" \
        --interval_scale "$INTERVAL_SCALE" --max_w "$MAX_W" --max_h "$MAX_H" --check "$CHECK" --conf "$CONF" \
        --reproject_dist "$REPROJECT_DIST" --depth_diff "$DEPTH_DIFF" \
        --thres_view "$(IFS=,; echo "${thres_views[*]}")" --sync_bn ${flags[@]+"${flags[@]}"} "$@"
}

if [ "$NGPUS" -eq 1 ]; then
    distil "$@"
else # each step is a run of torchrun's
    for ((round = 1; round <= ROUNDS; round++)); do
        for step in predict label train; do distil --round "$round" --step "$step" "$@"; done
    done
fi

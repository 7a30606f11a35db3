#!/usr/bin/env bash
# The main job on scenes that it makes itself: train a teacher without ground truth, make pseudo-labels, distil a student,
# predict depth on held-out scenes, fuse clouds, and compare both networks with the exact depth. About eight minutes on
# two cores; a time limit keeps it under fifteen on slower or busy machines, where the networks are trained less.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

DEMO_DIR="${DEMO_DIR:-$ROOT/outputs/demo}"
SEED="${SEED:-1}"                                       # of the scenes and of the trainings
TRAIN_SCENES="${TRAIN_SCENES:-48}"                      # 6 views each
TEST_SCENES="${TEST_SCENES:-4}"
TEACHER_STEPS="${TEACHER_STEPS:-240}"
STUDENT_STEPS="${STUDENT_STEPS:-400}"
TIME_LIMIT="${TIME_LIMIT:-14}"                          # minutes for everything; a slow machine trains fewer steps
AMP="${AMP:-$(default_amp)}"
REPORT="${REPORT:-1}"                                   # 1: a report with pictures, curves and clouds of each network

data="$DEMO_DIR/data"
marker="$DEMO_DIR/made_by_run_demo"
if [ -e "$DEMO_DIR" ] && [ ! -e "$marker" ]; then fail "DEMO_DIR=$DEMO_DIR exists and is no demo's folder"; fi
rm -rf "$DEMO_DIR"
mkdir -p "$DEMO_DIR" && touch "$marker"
echo "== rendering scenes"
stoppable "$PYTHON_BIN" "$ROOT/tools/make_synthetic.py" --outdir "$data/train" --layout train --scenes "$TRAIN_SCENES" \
    --first_seed $((SEED * 1000)) --rig_seed "$SEED" --lights 6
stoppable "$PYTHON_BIN" "$ROOT/tools/make_synthetic.py" --outdir "$data/test" --layout test --scenes "$TEST_SCENES" \
    --first_seed $((SEED * 1000 + 500)) --lights 6

export DATASET_DIR="$data/train" TRAIN_LIST=all TEST_LIST= AMP
short=(--warmup_steps 50 --seed "$SEED")
minutes_left() { # minutes_left SHARE: a share of the time left, two minutes kept for the tests
    awk -v left=$((TIME_LIMIT * 60 - 120 - SECONDS)) -v share="$1" 'BEGIN { m = left * share / 60; print (m > 1 ? m : 1) }'
}

echo "== teacher: training without ground truth"
LOG_DIR="$DEMO_DIR/teacher" LOSS=per_pixel EPOCHS=100 stoppable bash "$ROOT/scripts/run_train_unsup.sh" \
    --max_steps "$TEACHER_STEPS" --max_minutes "$(minutes_left 0.33)" "${short[@]}"
teacher="$(best_checkpoint "$DEMO_DIR/teacher")"

echo "== student: labels and distillation"
LOG_DIR="$DEMO_DIR/kd" CKPT_FILE="$teacher" ROUNDS=1 LOSS=paper EPOCHS=100 THRES_VIEW=3 \
    stoppable bash "$ROOT/scripts/run_train_kd.sh" --max_steps "$STUDENT_STEPS" --lrepochs 1:3 \
    --max_minutes "$(minutes_left 0.65)" "${short[@]}"
student="$(best_checkpoint "$DEMO_DIR/kd/round_1/student")"

for network in teacher student; do
    echo "== $network: depth and clouds of held-out scenes"
    TESTPATH="$data/test" TEST_LIST=all CKPT_FILE="${!network}" OUTDIR="$DEMO_DIR/test_$network" DISP_THRESHOLD=0.25 \
        EVAL_DIR= REPORT=0 stoppable bash "$ROOT/scripts/run_test_dtu.sh"
done
stoppable "$PYTHON_BIN" "$ROOT/tools/demo_summary.py" --outdir "$DEMO_DIR" --teacher_log "$DEMO_DIR/teacher" \
    --student_log "$DEMO_DIR/kd/round_1/student"
if [ "$REPORT" = 1 ]; then
    for network in teacher student; do
        stoppable "$PYTHON_BIN" "$ROOT/tools/report.py" --outdir "$DEMO_DIR/test_$network" --testpath "$data/test" \
            --logdir "$DEMO_DIR/teacher" "$DEMO_DIR/kd/round_1/student" --unit mm
    done
fi
echo "done in $((SECONDS / 60)) min $((SECONDS % 60)) s"

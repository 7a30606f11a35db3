#!/usr/bin/env bash
# The main job on scenes that it makes itself: train a teacher without ground truth, make pseudo-labels, distil a student,
# predict depth on held-out scenes, fuse clouds, and compare both networks with the exact depth. About eight minutes on
# two cores; a time limit keeps it under fifteen on slower or busy machines, where the networks are trained less, as the
# table says then. Interrupted, it goes on where it was.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

DEMO_DIR="${DEMO_DIR:-$ROOT/outputs/demo}"
SEED="${SEED:-1}"                                       # of the scenes and of the trainings
TRAIN_SCENES="${TRAIN_SCENES:-48}"                      # 6 views each
TEST_SCENES="${TEST_SCENES:-4}"
TEACHER_STEPS="${TEACHER_STEPS:-240}"
STUDENT_STEPS="${STUDENT_STEPS:-400}"
TIME_LIMIT="${TIME_LIMIT:-14}"                          # minutes for everything; a slow machine trains fewer steps
AMP="${AMP:-auto}"                                      # auto, off, bf16, fp16
REPORT="${REPORT:-1}"                                   # 1: a report with pictures, curves and clouds of each network

data="$DEMO_DIR/data"
claim DEMO_DIR "$DEMO_DIR" "seed $SEED, $TRAIN_SCENES and $TEST_SCENES scenes, $TEACHER_STEPS and $STUDENT_STEPS steps, AMP $AMP"
render() { # render LAYOUT FLAGS...: once; the list of the scenes is written last
    if [ -f "$data/$1/scans.txt" ]; then return; fi
    stoppable "$PYTHON_BIN" "$ROOT/tools/make_synthetic.py" --outdir "$data/$1" --layout "$1" --lights 6 "${@:2}"
}
echo "== rendering scenes"
render train --scenes "$TRAIN_SCENES" --first_seed $((SEED * 1000)) --rig_seed "$SEED"
render test --scenes "$TEST_SCENES" --first_seed $((SEED * 1000 + 500))

export RECIPE=official DATASET=dtu_yao DATASET_DIR="$data/train" TRAIN_LIST=all TEST_LIST= AMP
short=(--warmup_steps 50 --save_steps 50 --seed "$SEED")
minutes_left() { # minutes_left SHARE: a share of the time left, two minutes kept for the tests
    awk -v left=$((TIME_LIMIT * 60 - 120 - SECONDS)) -v share="$1" 'BEGIN { m = left * share / 60; print (m > 1 ? m : 1) }'
}

# A training that its share of the time has ended is finished, too: with another teacher the student would begin anew.
teacher_dir="$DEMO_DIR/teacher" student_dir="$DEMO_DIR/kd/round_1/student"
if [ ! -e "$teacher_dir/finished" ]; then
    echo "== teacher: training without ground truth"
    LOG_DIR="$teacher_dir" LOSS=per_pixel EPOCHS=100 stoppable bash "$ROOT/scripts/run_train_unsup.sh" \
        --max_steps "$TEACHER_STEPS" --max_minutes "$(minutes_left 0.33)" "${short[@]}"
    touch "$teacher_dir/finished"
fi
teacher="$(best_checkpoint "$teacher_dir")"

if [ ! -e "$student_dir/finished" ]; then
    echo "== student: labels and distillation"
    LOG_DIR="$DEMO_DIR/kd" CKPT_FILE="$teacher" ROUNDS=1 LOSS=paper EPOCHS=100 THRES_VIEW=3 \
        stoppable bash "$ROOT/scripts/run_train_kd.sh" --max_steps "$STUDENT_STEPS" --lrepochs 1:3 \
        --max_minutes "$(minutes_left 0.65)" "${short[@]}"
    touch "$student_dir/finished"
fi
student="$(best_checkpoint "$student_dir")"

for network in teacher student; do
    echo "== $network: depth and clouds of held-out scenes"
    TESTPATH="$data/test" TEST_LIST=all DATASET=general_eval CKPT_FILE="${!network}" OUTDIR="$DEMO_DIR/test_$network" \
        FILTER_METHOD=gipuma DISP_THRESHOLD=0.25 EVAL_DIR= REPORT=0 stoppable bash "$ROOT/scripts/run_test_dtu.sh"
done
stoppable "$PYTHON_BIN" "$ROOT/tools/demo_summary.py" --outdir "$DEMO_DIR" --teacher_log "$teacher_dir" \
    --student_log "$student_dir"
if [ "$REPORT" = 1 ]; then
    for network in teacher student; do
        stoppable "$PYTHON_BIN" "$ROOT/tools/report.py" --outdir "$DEMO_DIR/test_$network" --testpath "$data/test" \
            --logdir "$teacher_dir" "$student_dir" --unit mm
    done
fi
echo "done in $((SECONDS / 60)) min $((SECONDS % 60)) s"

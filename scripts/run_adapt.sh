#!/usr/bin/env bash
# Adapt trained weights to your own scene, without ground truth: bash scripts/run_adapt.sh FOLDER
# FOLDER is one scene in the test layout (images/, cams/, pair.txt) or a folder of such scenes. A teacher starts from the
# weights and learns from the images alone; its checked predictions are the labels of a student that starts from the same
# weights. The epochs whose depth agrees best between the views are kept (--select); in the end the start, the teacher and
# the student are scored in the same way, and the best of the three is handed over. Interrupted, it goes on where it was.
# Settings: edit here or set in the environment.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

CKPT_FILE="${CKPT_FILE:-}"                              # where to start; default: ckpt/kdmvs.ckpt
ADAPT_DIR="${ADAPT_DIR:-}"                              # default: outputs/adapt/<name of FOLDER>
TEACHER_STEPS="${TEACHER_STEPS:-150}"                   # with 256x192 about ten minutes for all on two cores
STUDENT_STEPS="${STUDENT_STEPS:-150}"
MAX_W="${MAX_W:-256}"                                   # largest images in training
MAX_H="${MAX_H:-192}"
TEST_W="${TEST_W:-$MAX_W}"                              # largest images of the depth that you want: the three are scored so
TEST_H="${TEST_H:-$MAX_H}"
LR="${LR:-0.0003}"
WARMUP_STEPS="${WARMUP_STEPS:-20}"
NUM_VIEW="${NUM_VIEW:-5}"
NUM_WORKERS="${NUM_WORKERS:-1}"
THRES_VIEW="${THRES_VIEW:-3}"                           # sources that must confirm a label, and a pixel when epochs are scored
AMP="${AMP:-auto}"                                      # auto, off, bf16, fp16

[ $# -eq 1 ] || fail "give one folder: bash scripts/run_adapt.sh FOLDER, a scene with images/, cams/ and pair.txt, or" \
    "a folder of such scenes"
[ -d "$1" ] || fail "$1: no such folder"
folder="$(cd "$1" && pwd -P)"
CKPT_FILE="${CKPT_FILE:-$SHIPPED_CKPT}"
[ -f "$CKPT_FILE" ] || fail "CKPT_FILE=$CKPT_FILE: no such file"
ADAPT_DIR="${ADAPT_DIR:-$ROOT/outputs/adapt/$(basename "$folder")}"

if [ -f "$folder/pair.txt" ]; then
    DATASET_DIR="$(dirname "$folder")" TRAIN_LIST="$ADAPT_DIR/scans.txt"
    scans="$(basename "$folder")" target=(--testpath_single_scene "$folder")
else
    scans="$(scenes_in "$folder")"
    [ -n "$scans" ] || fail "$folder: is no scene and holds none: there is no pair.txt in it, nor one folder below." \
        "Scenes have images/, cams/ and pair.txt"
    DATASET_DIR="$folder" TRAIN_LIST="$ADAPT_DIR/scans.txt"
    target=(--testpath "$folder" --testlist all)
fi

claim ADAPT_DIR "$ADAPT_DIR" "$(cksum <"$CKPT_FILE") $folder $MAX_W $MAX_H $LR $NUM_VIEW $WARMUP_STEPS $TEACHER_STEPS \
$THRES_VIEW $(echo "$scans" | cksum)"
echo "$scans" >"$TRAIN_LIST"

export DATASET=general_eval DATASET_DIR TRAIN_LIST TEST_LIST='' EPOCHS=100000 AMP NUM_VIEW MAX_W MAX_H THRES_VIEW
common=(--lr "$LR" --warmup_steps "$WARMUP_STEPS" --lrepochs 100000:1 --keep 2 --num_workers "$NUM_WORKERS" --augment
    --select --selectlist "$TRAIN_LIST" --select_thres_view "$THRES_VIEW" --loadckpt "$CKPT_FILE")

echo "== teacher: learning from the images of $folder"
LOG_DIR="$ADAPT_DIR/teacher" LOSS=per_pixel stoppable bash "$ROOT/scripts/run_train_unsup.sh" \
    --max_steps "$TEACHER_STEPS" --max_w "$MAX_W" --max_h "$MAX_H" --nviews "$NUM_VIEW" "${common[@]}"

echo "== student: labels and distillation"
LOG_DIR="$ADAPT_DIR/kd" CKPT_FILE="$(best_checkpoint "$ADAPT_DIR/teacher")" ROUNDS=1 LOSS=paper \
    stoppable bash "$ROOT/scripts/run_train_kd.sh" --max_steps "$STUDENT_STEPS" "${common[@]}"

echo "== start, teacher and student, without ground truth"
adapted="$ADAPT_DIR/adapted.ckpt"
seen=(--num_view "$NUM_VIEW" --max_w "$TEST_W" --max_h "$TEST_H" --amp "$AMP")
stoppable "$PYTHON_BIN" "$ROOT/tools/rank_checkpoints.py" --checkpoints "start=$CKPT_FILE" \
    "teacher=$(best_checkpoint "$ADAPT_DIR/teacher")" "student=$(best_checkpoint "$ADAPT_DIR/kd/round_1/student")" \
    --testpath "$DATASET_DIR" --testlist "$TRAIN_LIST" --select_thres_view "$THRES_VIEW" "${seen[@]}" \
    --keep_best "$adapted" --out "$ADAPT_DIR/scores.json"
if cmp -s "$adapted" "$CKPT_FILE"; then
    echo "adapting did not help: the weights it started from are the best; try more steps, in another" \
        "ADAPT_DIR, or keep them as they are"
fi
echo "best checkpoint: $adapted"
echo "depth and cloud with it, at the size of the scores (for another set TEST_W and TEST_H and start this again):"
printf ' %q' "$PYTHON_BIN" "$ROOT/test.py" "${target[@]}" --loadckpt "$adapted" --outdir "$ADAPT_DIR/test" "${seen[@]}"
echo

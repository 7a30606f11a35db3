#!/usr/bin/env bash
# Adapt trained weights to your own scene, without ground truth: bash scripts/run_adapt.sh FOLDER
# FOLDER is one scene in the test layout (images/, cams/, pair.txt) or a folder of such scenes. A teacher starts from the
# weights and learns from the images alone; its checked predictions are the labels of a student that starts from the same
# weights. The epochs whose depth agrees best between the views are kept (--select). Interrupted, it goes on where it was.
# Settings: edit here or set in the environment.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

CKPT_FILE="${CKPT_FILE:-}"                              # where to start; default: ckpt/kdmvs.ckpt
ADAPT_DIR="${ADAPT_DIR:-}"                              # default: outputs/adapt/<name of FOLDER>
TEACHER_STEPS="${TEACHER_STEPS:-150}"                   # with 256x192 about ten minutes for all on two cores
STUDENT_STEPS="${STUDENT_STEPS:-150}"
MAX_W="${MAX_W:-256}"                                   # largest images in training; test.py may use larger ones
MAX_H="${MAX_H:-192}"
LR="${LR:-0.0003}"
WARMUP_STEPS="${WARMUP_STEPS:-20}"
NUM_VIEW="${NUM_VIEW:-5}"
NUM_WORKERS="${NUM_WORKERS:-1}"
THRES_VIEW="${THRES_VIEW:-3}"                           # sources that must confirm a label, and a pixel when epochs are scored
AMP="${AMP:-$(default_amp)}"

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
    scans="$(find "$folder" -mindepth 2 -maxdepth 2 -name pair.txt -printf '%h\n' | sort | sed 's|.*/||')"
    [ -n "$scans" ] || fail "$folder: is no scene and holds none: there is no pair.txt in it, nor one folder below." \
        "Scenes have images/, cams/ and pair.txt"
    DATASET_DIR="$folder" TRAIN_LIST="$ADAPT_DIR/scans.txt"
    target=(--testpath "$folder" --testlist all)
fi

# What is here already must have been made from the same start and scenes.
made_from="$(cksum <"$CKPT_FILE") $folder $MAX_W $MAX_H $LR $NUM_VIEW"
if [ -e "$ADAPT_DIR/made_from" ] && [ "$(cat "$ADAPT_DIR/made_from")" != "$made_from" ]; then
    fail "ADAPT_DIR=$ADAPT_DIR: holds an adaptation of other weights, scenes or settings; remove it or set another ADAPT_DIR"
fi
mkdir -p "$ADAPT_DIR"
echo "$made_from" >"$ADAPT_DIR/made_from"
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

adapted="$(best_checkpoint "$ADAPT_DIR/kd/round_1/student")"
echo "adapted checkpoint: $adapted"
echo "depth and cloud with it:"
printf ' %q' "$PYTHON_BIN" "$ROOT/test.py" "${target[@]}" --loadckpt "$adapted" --outdir "$ADAPT_DIR/test"
echo

#!/usr/bin/env bash
# Train a teacher without ground truth. Settings: edit here or set in the environment; further flags of
# train_unsup.py may follow on the command line.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

use_recipe                                              # RECIPE=best: what measured better than the defaults below
DATASET_DIR="${DATASET_DIR:-$ROOT/data/dtu_training}"   # DTU training layout
DATASET="${DATASET:-dtu_yao}"                           # dtu_yao, or general_eval for own scenes in the test layout
TRAIN_LIST="${TRAIN_LIST:-$ROOT/lists/dtu/train.txt}"   # scan names, or all
TEST_LIST="${TEST_LIST-$ROOT/lists/dtu/val.txt}"        # evaluated on where ground truth exists; empty: never
LOG_DIR="${LOG_DIR:-$ROOT/outputs/unsup}"
NGPUS="${NGPUS:-1}"
BATCH_SIZE="${BATCH_SIZE:-1}"                           # per GPU
EPOCHS="${EPOCHS:-1}"
AMP="${AMP:-off}"                                       # off (as official), auto, bf16, fp16
LOSS="${LOSS:-official}"                                # official, per_pixel
FREEZE_BN="${FREEZE_BN:-1}"                             # share of the steps after which BatchNorm is as in prediction

need_data DATASET_DIR "$DATASET_DIR" "the DTU training data (folders Cameras, Rectified)"
flags=(--dataset "$DATASET" --trainpath "$DATASET_DIR" --trainlist "$TRAIN_LIST" --logdir "$LOG_DIR")
if [ -n "$TEST_LIST" ] && [ -d "$DATASET_DIR/Depths_raw" ]; then flags+=(--testlist "$TEST_LIST"); fi

launch train_unsup.py "${flags[@]}" --batch_size "$BATCH_SIZE" --epochs "$EPOCHS" --amp "$AMP" --loss "$LOSS" \
    --freeze_bn "$FREEZE_BN" --sync_bn --resume "$@"
echo "teacher: $(best_checkpoint "$LOG_DIR")"

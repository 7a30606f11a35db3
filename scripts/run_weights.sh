#!/usr/bin/env bash
# How the checkpoint that comes with the project (ckpt/kdmvs.ckpt) was made; the model card beside it tells what it scored.
# A student learns from rendered scenes, whose depth is exact, and then also from the pseudo-labels of real scans: what it
# predicts there itself and several views confirm. No measured depth is used. Interrupted, it goes on where it was.
# Settings: edit here or set in the environment.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

WEIGHTS_DIR="${WEIGHTS_DIR:-$ROOT/outputs/weights}"
REAL_DIR="${REAL_DIR:-}"                                # real scans in the test layout, without ground truth; or none
REAL_LIST="${REAL_LIST:-all}"                           # names of those to learn from
PHOTOGRAPHS="${PHOTOGRAPHS:-}"                          # folder of photographs that scenes are papered with; or none
SCENES="${SCENES:-200}"
STEPS="${STEPS:-1800}"                                  # on rendered scenes
REAL_STEPS="${REAL_STEPS:-600}"                         # on both
REAL_SHARE="${REAL_SHARE:-6}"                           # times that a real scan comes up while a rendered scene does once
AMP="${AMP:-$(default_amp)}"
width=256 height=192

size=(--max_w "$width" --max_h "$height")
student=(--dataset general_eval --loss paper --read_out local --amp "$AMP" --augment --save_steps 200 --epochs 1000
    --resume "${size[@]}")
per_epoch=$((SCENES * 6))
decay() { # decay STEPS SAMPLES: the rate is divided by 4 at two thirds and at five sixths of the steps
    awk -v steps="$1" -v epoch="$2" 'BEGIN { printf "%.4g,%.4g:4", steps * 2 / 3 / epoch, steps * 5 / 6 / epoch }'
}

echo "== scenes"
data="$WEIGHTS_DIR/rendered" labels="$WEIGHTS_DIR/labels"
if [ ! -f "$data/scans.txt" ]; then
    stoppable "$PYTHON_BIN" "$ROOT/tools/make_synthetic.py" --outdir "$data" --layout test --scenes "$SCENES" \
        --first_seed 30000 --lights 3 --style rich --rig any --width "$width" --height "$height" \
        ${PHOTOGRAPHS:+--photographs "$PHOTOGRAPHS"}
fi
stoppable "$PYTHON_BIN" "$ROOT/tools/label_exact.py" --testpath "$data" --outdir "$labels" "${size[@]}"
echo "== student of rendered scenes"
launch train_kd.py "${student[@]}" --trainpath "$data" --trainlist "$data/scans.txt" --pseudopath "$labels" \
    --logdir "$WEIGHTS_DIR/rendered_student" --warmup_steps 100 --max_steps "$STEPS" --lrepochs "$(decay "$STEPS" "$per_epoch")"
result="$(newest_checkpoint "$WEIGHTS_DIR/rendered_student")"

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
width=256 height=192                                    # of rendered images; real ones are scaled to 384x288

mkdir -p "$WEIGHTS_DIR" && WEIGHTS_DIR="$(cd "$WEIGHTS_DIR" && pwd)"

size=(--max_w 384 --max_h 288)
student=(--dataset general_eval --loss paper --read_out local --amp "$AMP" --augment --save_steps 200 --epochs 1000
    --resume "${size[@]}")
per_epoch=$((SCENES * 6))

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
    --logdir "$WEIGHTS_DIR/rendered_student" --warmup_steps 100 --max_steps "$STEPS" --lrepochs "$(decay "$STEPS" "$per_epoch" 4)"
result="$(best_checkpoint "$WEIGHTS_DIR/rendered_student")"

if [ -n "$REAL_DIR" ]; then
    need_data REAL_DIR "$REAL_DIR" "a folder of scans in the test layout (images/, cams/, pair.txt)"
    REAL_DIR="$(cd "$REAL_DIR" && pwd)"
    if [ "$REAL_LIST" = all ]; then
        scans="$(find "$REAL_DIR/" -mindepth 2 -maxdepth 2 -name pair.txt -printf '%h\n' | sort | sed 's|.*/||')"
    else
        scans="$(cat "$REAL_LIST")"
    fi
    echo "== labels of real scans:" $scans
    real="$WEIGHTS_DIR/real" mixed="$WEIGHTS_DIR/mixed"
    mkdir -p "$real" && printf '%s\n' $scans >"$real/scans.txt"
    of_real=(--testlist "$real/scans.txt")
    launch tools/predict.py --dataset general_eval --testpath "$REAL_DIR" "${of_real[@]}" --loadckpt "$result" \
        --outdir "$real/est" --amp "$AMP" "${size[@]}"
    launch tools/check_and_encode.py --testpath "$real/est" --pairpath "$REAL_DIR" "${of_real[@]}" \
        --outdir "$real/labels" --thres_view 3

    echo "== student of rendered and real scenes"
    rm -rf "$mixed" && mkdir -p "$mixed/scenes" "$mixed/labels"
    for scan in $(cat "$data/scans.txt"); do
        ln -s "$data/$scan" "$mixed/scenes/$scan" && ln -s "$labels/$scan" "$mixed/labels/$scan"
    done
    for scan in $scans; do
        for ((k = 1; k <= REAL_SHARE; k++)); do
            ln -s "$REAL_DIR/$scan" "$mixed/scenes/real_${scan}_$k"
            ln -s "$real/labels/$scan" "$mixed/labels/real_${scan}_$k"
        done
    done
    views="$(find "$real/labels" -path '*/checked_depth/*.pfm' | wc -l)"
    samples=$((per_epoch + REAL_SHARE * views))
    launch train_kd.py "${student[@]}" --trainpath "$mixed/scenes" --trainlist all --pseudopath "$mixed/labels" \
        --logdir "$WEIGHTS_DIR/student" --loadckpt "$result" --lr 0.0005 --warmup_steps 50 --max_steps "$REAL_STEPS" \
        --lrepochs "$(decay "$REAL_STEPS" "$samples" 4)"
    result="$(best_checkpoint "$WEIGHTS_DIR/student")"
fi
stoppable "$PYTHON_BIN" "$ROOT/tools/export_checkpoint.py" --loadckpt "$result" --out "$WEIGHTS_DIR/kdmvs.ckpt"

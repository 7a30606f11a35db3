#!/usr/bin/env bash
# Labels of different teachers against exact depth, on scenes that it renders: a plane sweep that needs no training
# (tools/zncc_sweep.py), a network, and both: labels of either that the other does not contradict, and those on which they
# agree. With STEPS a student is trained from each, and its depth on held-out scenes is compared. Interrupted, it goes on
# where it was. Settings: edit here or set in the environment; further flags of train_kd.py may follow.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

OUTDIR="${OUTDIR:-$ROOT/outputs/teachers}"
CKPT_FILE="${CKPT_FILE:-$SHIPPED_CKPT}"
STYLES="${STYLES:-rich room}"                           # of scenes: tools/make_synthetic.py --style
SCENES="${SCENES:-2}"                                   # of each style
SEED="${SEED:-1}"
WIDTH="${WIDTH:-320}"
HEIGHT="${HEIGHT:-256}"
VIEWS="${VIEWS:-7}"
THRES_VIEW="${THRES_VIEW:-3}"                           # source views that must confirm a label
SWEEP_CONF="${SWEEP_CONF:-0.5}"                         # least score of the sweep's labels; of the network's:
CONF="${CONF:-0.05}"
STEPS="${STEPS:-0}"                                     # of a student from each set of labels; 0: none

[ -f "$CKPT_FILE" ] || fail "CKPT_FILE=$CKPT_FILE: no such file"
claim OUTDIR "$OUTDIR" "styles $STYLES, $SCENES scenes each from seed $SEED, ${WIDTH}x$HEIGHT, $VIEWS views"
render() { # render FOLDER FIRST_SEED: scenes of every style, once
    local first="$2"
    for style in $STYLES; do
        if [ ! -f "$1/$style.txt" ]; then
            stoppable "$PYTHON_BIN" "$ROOT/tools/make_synthetic.py" --outdir "$1" --layout test --style "$style" \
                --scenes "$SCENES" --first_seed "$first" --views "$VIEWS" --width "$WIDTH" --height "$HEIGHT" \
                --list "$1/$style.txt"
        fi
        first=$((first + SCENES))
    done
}
echo "== rendering scenes"
render "$OUTDIR/scenes" $((SEED * 1000))
same=(--testpath "$OUTDIR/scenes" --num_view 5 --interval_scale 1)

echo "== depth of the teachers"
stoppable "$PYTHON_BIN" "$ROOT/tools/zncc_sweep.py" "${same[@]}" --outdir "$OUTDIR/depth/sweep"
launch test.py "${same[@]}" --loadckpt "$CKPT_FILE" --outdir "$OUTDIR/depth/network" --filter_method none
for teacher in sweep network; do
    conf="$CONF"
    if [ "$teacher" = sweep ]; then conf="$SWEEP_CONF"; fi
    stoppable "$PYTHON_BIN" "$ROOT/tools/check_and_encode.py" --testpath "$OUTDIR/depth/$teacher" \
        --pairpath "$OUTDIR/scenes" --outdir "$OUTDIR/labels/$teacher" --thres_view "$THRES_VIEW" --conf "$conf"
done
both=("$OUTDIR/labels/sweep" "$OUTDIR/labels/network")
stoppable "$PYTHON_BIN" "$ROOT/tools/merge_labels.py" --labels "${both[@]}" --outdir "$OUTDIR/labels/either"
stoppable "$PYTHON_BIN" "$ROOT/tools/merge_labels.py" --labels "${both[@]}" --outdir "$OUTDIR/labels/agreed" --both
echo "== labels against exact depth"
each() { # each FOLDER: its folders of each kind of labels, in `folders`
    folders=("sweep=$1/sweep" "network=$1/network" "either=$1/either" "agreed=$1/agreed")
}
each "$OUTDIR/labels"
stoppable "$PYTHON_BIN" "$ROOT/tools/eval_labels.py" --testpath "$OUTDIR/scenes" --labels "${folders[@]}" \
    --out "$OUTDIR/labels.json"
[ "$STEPS" -gt 0 ] || exit 0

echo "== students"
render "$OUTDIR/held_out" $((SEED * 1000 + 500))
for labels in sweep network either agreed; do
    stoppable "$PYTHON_BIN" "$ROOT/train_kd.py" --dataset general_eval --trainpath "$OUTDIR/scenes" --trainlist all \
        --pseudopath "$OUTDIR/labels/$labels" --logdir "$OUTDIR/students/$labels" --loss paper --interval_scale 1 \
        --amp auto --seed "$SEED" --epochs 1000 --max_steps "$STEPS" --save_steps "$STEPS" --resume "$@"
    student="$(best_checkpoint "$OUTDIR/students/$labels")"
    launch test.py --testpath "$OUTDIR/held_out" --num_view 5 --interval_scale 1 --loadckpt "$student" \
        --outdir "$OUTDIR/held_out_depth/$labels" --filter_method none
done
each "$OUTDIR/held_out_depth"
stoppable "$PYTHON_BIN" "$ROOT/tools/eval_depth.py" --testpath "$OUTDIR/held_out" --thresholds "" \
    --relative 0.01,0.05 --predictions "${folders[@]}" --out "$OUTDIR/students.json"

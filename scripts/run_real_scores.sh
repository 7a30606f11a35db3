#!/usr/bin/env bash
# Depth of real images against what is known of it: a plain plane sweep that needs no training (tools/zncc_sweep.py), a
# network, and the network's depth refined by the other views (test.py --refine), in one table and on one page. Depth maps
# of other programs and networks stand beside them. Interrupted, it goes on where it was. Settings: edit here or set in the
# environment; further flags of test.py may follow on the command line.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

DATASET="${DATASET:-general_eval}"                      # general_eval: the test layout; tanks, blended
DATA_DIR="${DATA_DIR:-$ROOT/data/real}"                 # scenes with gt/, depth/ or sparse_points.txt; BlendedMVS
SCENES="${SCENES:-}"                                    # names of folders in it; default: all that have one of these
CKPT_FILE="${CKPT_FILE:-}"                              # default: ckpt/kdmvs.ckpt
OUTDIR="${OUTDIR:-$ROOT/outputs/real_scores}"
NGPUS="${NGPUS:-1}"
AMP="${AMP:-auto}"                                      # auto, off, bf16, fp16
NUM_VIEW="${NUM_VIEW:-5}"
INTERVAL_SCALE="${INTERVAL_SCALE:-1.06}"
MAX_W="${MAX_W:-512}"                                   # images of 3:2 become 512x320: sides are multiples of 32
MAX_H="${MAX_H:-342}"
REFINE="${REFINE:-1}"                                   # passes of the refinement
ADJUST="${ADJUST:-0}"                                   # 1: first turn the cameras until the images fit (pycolmap)
ISOLATED="${ISOLATED:-0}"                               # share of the points in sparse_points.txt that is left out
CELL="${CELL:-8}"                                       # of them the nearest in so many pixels, down and across, counts
OTHERS="${OTHERS:-}"                                    # label=FOLDER ..., depth maps for tools/import_depth.py

need_test_layout "$DATASET"
[ -d "$DATA_DIR" ] || fail "DATA_DIR=$DATA_DIR: no such folder. Set it to a folder of scenes with known depth"
has_truth() {
    if [ "$DATASET" = blended ]; then [ -d "$1/rendered_depth_maps" ]; return; fi
    [ -d "$1/gt" ] || [ -d "$1/depth" ] || [ -f "$1/sparse_points.txt" ]
}
scenes=()
if [ -n "$SCENES" ]; then
    read -ra scenes <<<"$SCENES"
else
    for folder in "$DATA_DIR"/*/; do
        if has_truth "$folder"; then scenes+=("$(basename "$folder")"); fi
    done
    [ ${#scenes[@]} -gt 0 ] || fail "DATA_DIR=$DATA_DIR: none of its folders has gt/, depth/ or sparse_points.txt" \
        "(DATASET=blended: rendered_depth_maps/)"
fi
for scene in "${scenes[@]}"; do
    has_truth "$DATA_DIR/$scene" || fail "$DATA_DIR/$scene: has no gt/, depth/ or sparse_points.txt"
done
others=()
if [ -n "$OTHERS" ]; then read -ra others <<<"$OTHERS"; fi
for other in ${others[@]+"${others[@]}"}; do
    case "$other" in
        zncc=* | network=* | refined=* | =* | */*=*) fail "OTHERS=$other: give it another label" ;;
        *=*) [ -d "${other#*=}" ] || fail "OTHERS=$other: ${other#*=} is no folder" ;;
        *) fail "OTHERS=$other: must be label=FOLDER" ;;
    esac
done
CKPT_FILE="${CKPT_FILE:-$SHIPPED_CKPT}"
[ -f "$CKPT_FILE" ] || fail "CKPT_FILE=$CKPT_FILE: no such file"

mkdir -p "$OUTDIR"
printf '%s\n' "${scenes[@]}" >"$OUTDIR/scenes.txt"
if [ "$ADJUST" = 1 ]; then
    set_up --photos
    stoppable "$PYTHON_BIN" "$ROOT/tools/adjust_cameras.py" --dataset "$DATASET" --testpath "$DATA_DIR" \
        --testlist "$OUTDIR/scenes.txt" --outdir "$OUTDIR/adjusted"
    DATA_DIR="$OUTDIR/adjusted"
fi
scans=(--dataset "$DATASET" --testpath "$DATA_DIR" --testlist "$OUTDIR/scenes.txt")
same=("${scans[@]}" --num_view "$NUM_VIEW" --interval_scale "$INTERVAL_SCALE" --max_w "$MAX_W" --max_h "$MAX_H")
imported=() # first, for what is wrong with them shows at once
for other in ${others[@]+"${others[@]}"}; do
    stoppable "$PYTHON_BIN" "$ROOT/tools/import_depth.py" "${scans[@]}" --depth "${other#*=}" \
        --outdir "$OUTDIR/others/${other%%=*}" --max_w "$MAX_W" --max_h "$MAX_H"
    imported+=("${other%%=*}=$OUTDIR/others/${other%%=*}")
done
stoppable "$PYTHON_BIN" "$ROOT/tools/zncc_sweep.py" "${same[@]}" --outdir "$OUTDIR/zncc"
launch test.py "${same[@]}" --loadckpt "$CKPT_FILE" --outdir "$OUTDIR/network" --amp "$AMP" --filter_method none "$@"
rm -rf "$OUTDIR/refined"
cp -R "$OUTDIR/network" "$OUTDIR/refined"
launch test.py "${scans[@]}" --outdir "$OUTDIR/refined" --skip_depth --refine "$REFINE" --filter_method none
compared=(zncc="$OUTDIR/zncc" network="$OUTDIR/network" refined="$OUTDIR/refined" ${imported[@]+"${imported[@]}"})
stoppable "$PYTHON_BIN" "$ROOT/tools/eval_depth.py" "${scans[@]}" --thresholds "" --relative 0.01,0.05 --by_scan \
    --isolated "$ISOLATED" --cell "$CELL" --predictions "${compared[@]}" --out "$OUTDIR/scores.json" --page "$OUTDIR/scores.html"
echo "scores: $OUTDIR/scores.json"

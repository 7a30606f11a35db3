#!/usr/bin/env bash
# From a folder of ordinary photos, or a video, to a coloured point cloud: poses, test layout, depth, cloud. On the CPU, or
# with a GPU for the depth. It ends with a verdict: what share of the photos and pixels became points, and what to do.
#
#     bash scripts/run_photos.sh FOLDER
#     bash scripts/run_photos.sh VIDEO.mp4
#
# Settings: edit here or set in the environment; further flags of tools/reconstruct.py, among them those of test.py, may
# follow on the command line. Interrupted, it goes on with the step where it was; what has not changed is not made anew.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

FOLDER="${1:-}"
case "$FOLDER" in
    -h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p;}' "${BASH_SOURCE[0]}"; exit 0 ;;
    "") fail "which photos? bash scripts/run_photos.sh FOLDER" ;;
esac
[ -e "$FOLDER" ] || fail "$FOLDER: no such folder or video"
shift
if [ -d "$FOLDER" ]; then FOLDER="$(cd "$FOLDER" && pwd)"; fi
OWN_NAME="$(basename "$FOLDER")"
if [ -f "$FOLDER" ]; then OWN_NAME="${OWN_NAME%.*}"; fi
NAME="${NAME:-$OWN_NAME}"                               # of the scan and of its cloud
OUTDIR="${OUTDIR:-$ROOT/outputs/photos/$NAME}"          # poses/, scans/NAME/, depth/
CKPT_FILE="${CKPT_FILE:-$SHIPPED_CKPT}"
SEED="${SEED:-0}"
MAX_SIDE="${MAX_SIDE:-1600}"                            # of the photos that poses are found with, MAX_W and MAX_H at least
MATCHING="${MATCHING:-auto}"                            # auto, exhaustive (all pairs), alike, sequential (by name)
MOST_FRAMES="${MOST_FRAMES:-100}"                       # of a video
ADJUST_POSES="${ADJUST_POSES:-0}"                       # 1: turn cameras that transforms.json tells until the photos fit
MAX_W="${MAX_W:-1152}"                                  # largest images for the depth; upright ones turn the two
MAX_H="${MAX_H:-864}"
AMP="${AMP:-auto}"                                      # auto, off, bf16, fp16
NUM_VIEW="${NUM_VIEW:-5}"
INTERVAL_SCALE="${INTERVAL_SCALE:-1}"
REFINE="${REFINE:-1}"                                   # passes in which the views mend each other's depth; 0: none
FILTER_METHOD="${FILTER_METHOD:-gipuma}"                # gipuma, normal, dynamic, none
PROB_THRESHOLD="${PROB_THRESHOLD:-0.01}"
DISP_THRESHOLD="${DISP_THRESHOLD:-0.25}"                 # by which depths differ that agree: pixels of disparity,
AGREE_WIDTHS="${AGREE_WIDTHS:-1}"                        # or so many widths of a pixel at that depth
NUM_CONSISTENT="${NUM_CONSISTENT:-auto}"                 # other views that have to agree: 2, or 1 where few see the same
FUSION_SOURCES="${FUSION_SOURCES:-20}"                   # others that a photo is compared with for the cloud; 0: all
MESH="${MESH:-0}"                                        # 1: also a mesh, beside the cloud; needs Open3D

[ -f "$CKPT_FILE" ] || fail "CKPT_FILE=$CKPT_FILE: no such file. Set CKPT_FILE to a checkpoint, for example one that" \
    "scripts/run_demo.sh trains: outputs/demo/kd/round_1/student/model_*.ckpt"
set_up --photos
if [ "$MESH" = 1 ]; then
    set_up --mesh
    set -- --mesh "$@"
fi
[ "$ADJUST_POSES" != 1 ] || set -- --adjust_poses "$@"
[ "$NUM_CONSISTENT" = auto ] || set -- --num_consistent "$NUM_CONSISTENT" "$@"
echo "weights: $CKPT_FILE"
launch tools/reconstruct.py --photos "$FOLDER" --outdir "$OUTDIR" --name "$NAME" --loadckpt "$CKPT_FILE" --seed "$SEED" \
    --max_side "$MAX_SIDE" --matching "$MATCHING" --most_frames "$MOST_FRAMES" --max_w "$MAX_W" --max_h "$MAX_H" --amp "$AMP" \
    --num_view "$NUM_VIEW" --interval_scale "$INTERVAL_SCALE" --refine "$REFINE" --filter_method "$FILTER_METHOD" \
    --prob_threshold "$PROB_THRESHOLD" --disp_threshold "$DISP_THRESHOLD" --agree_widths "$AGREE_WIDTHS" \
    --fusion_sources "$FUSION_SOURCES" "$@"

#!/usr/bin/env bash
# How the checkpoint that comes with the project (ckpt/kdmvs.ckpt) was made; the model card beside it tells what it scored.
# A student learns from rendered scenes, whose depth is exact, and then, in rounds, also from the pseudo-labels of real
# scans: what it predicts there itself and several views confirm. Further rounds have larger rendered scenes, too. At the end it
# learns to weigh the source views, in rendered rooms and streets that a camera is carried through, whose range of depth is
# wide. No measured depth is used. Interrupted, it goes on where it was. Settings: edit here or set in the environment.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

WEIGHTS_DIR="${WEIGHTS_DIR:-$ROOT/outputs/weights}"
REAL_DIR="${REAL_DIR:-}"                                # real scans in the test layout, without ground truth; or none
REAL_LIST="${REAL_LIST:-all}"                           # names of those to learn from
PHOTOGRAPHS="${PHOTOGRAPHS:-}"                          # folder of photographs that scenes are papered with; or none
SCENES="${SCENES:-200}"                                 # rendered at WIDTH x HEIGHT
WIDTH="${WIDTH:-256}"
HEIGHT="${HEIGHT:-192}"
LARGE_SCENES="${LARGE_SCENES:-100}"                     # from the second round on, as large as real images and places
LARGE_WIDTH="${LARGE_WIDTH:-384}"
LARGE_HEIGHT="${LARGE_HEIGHT:-288}"
STEPS="${STEPS:-1800}"                                  # on rendered scenes
REAL_STEPS="${REAL_STEPS:-600}"                         # on rendered and real ones; a number for each round
REAL_SHARE="${REAL_SHARE:-6}"                           # times that a real scan comes up while a rendered scene does once
ROOMS="${ROOMS:-80}"                                    # of 7 views; 0: no places
STREETS="${STREETS:-40}"
PLACE_STEPS="${PLACE_STEPS:-1370}"
LAST_STEPS="${LAST_STEPS:-480}"                         # at a lower rate, the last of them with BatchNorm as in prediction
MORE_STEPS="${MORE_STEPS:-1900}"                        # from the mean of the weights after both, at the full rate again
AMP="${AMP:-auto}"                                      # auto, off, bf16, fp16

mkdir -p "$WEIGHTS_DIR" && WEIGHTS_DIR="$(cd "$WEIGHTS_DIR" && pwd)"

size=(--max_w "$LARGE_WIDTH" --max_h "$LARGE_HEIGHT")
student=(--dataset general_eval --loss paper --read_out local --amp "$AMP" --augment --save_steps 200 --epochs 1000
    --resume "${size[@]}")

render_once() { # render_once LIST SCENES FIRST_SEED WIDTH HEIGHT FLAGS...: scenes beside their list, unless that is there
    [ -f "$1" ] || stoppable "$PYTHON_BIN" "$ROOT/tools/make_synthetic.py" --outdir "$(dirname "$1")" --list "$1" \
        --layout test --scenes "$2" --first_seed "$3" --lights 3 --width "$4" --height "$5" "${@:6}"
}

render() { # render FOLDER SCENES FIRST_SEED WIDTH HEIGHT: things on a ground, with labels of their exact depth
    local data="$WEIGHTS_DIR/$1"
    render_once "$data/scans.txt" "${@:2}" --style rich --rig any ${PHOTOGRAPHS:+--photographs "$PHOTOGRAPHS"}
    stoppable "$PYTHON_BIN" "$ROOT/tools/label_exact.py" --testpath "$data" --outdir "$data/labels" "${size[@]}"
}

label_real() { # label_real FOLDER CHECKPOINT: what it predicts of the real scans and three views confirm
    launch tools/predict.py --dataset general_eval --testpath "$REAL_DIR" --testlist "$WEIGHTS_DIR/real.txt" \
        --loadckpt "$2" --outdir "$1/est" --amp "$AMP" "${size[@]}"
    launch tools/check_and_encode.py --testpath "$1/est" --pairpath "$REAL_DIR" --testlist "$WEIGHTS_DIR/real.txt" \
        --outdir "$1/labels" --thres_view 3
}

mix() { # mix FOLDER RENDERED...: links to all scenes and labels, and REAL_SHARE times to the real ones
    local mixed="$1/mixed" data scan k
    rm -rf "$mixed" && mkdir -p "$mixed/scenes" "$mixed/labels"
    for data in "${@:2}"; do
        while read -r scan; do
            ln -s "$WEIGHTS_DIR/$data/$scan" "$mixed/scenes/$scan" && ln -s "$WEIGHTS_DIR/$data/labels/$scan" "$mixed/labels/$scan"
        done <"$WEIGHTS_DIR/$data/scans.txt"
    done
    while read -r scan; do
        for ((k = 1; k <= REAL_SHARE; k++)); do
            ln -s "$REAL_DIR/$scan" "$mixed/scenes/real_${scan}_$k" && ln -s "$1/labels/$scan" "$mixed/labels/real_${scan}_$k"
        done
    done <"$WEIGHTS_DIR/real.txt"
}

labelled() { find -L "$1" -path '*/checked_depth/*.pfm' | wc -l; } # labelled FOLDER: how many views, the samples of an epoch

read -ra real_steps <<<"$REAL_STEPS"
echo "== scenes"
render rendered "$SCENES" 30000 "$WIDTH" "$HEIGHT"
echo "== student of rendered scenes"
launch train_kd.py "${student[@]}" --trainpath "$WEIGHTS_DIR/rendered" --trainlist "$WEIGHTS_DIR/rendered/scans.txt" \
    --pseudopath "$WEIGHTS_DIR/rendered/labels" --logdir "$WEIGHTS_DIR/student" --warmup_steps 100 --max_steps "$STEPS" \
    --lrepochs "$(decay "$STEPS" "$(labelled "$WEIGHTS_DIR/rendered/labels")" 4)"
result="$(best_checkpoint "$WEIGHTS_DIR/student")"

if [ -n "$REAL_DIR" ]; then
    need_data REAL_DIR "$REAL_DIR" "a folder of scans in the test layout (images/, cams/, pair.txt)"
    REAL_DIR="$(cd "$REAL_DIR" && pwd)"
    if [ "$REAL_LIST" = all ]; then
        scenes_in "$REAL_DIR" >"$WEIGHTS_DIR/real.txt"
    else
        cp "$REAL_LIST" "$WEIGHTS_DIR/real.txt"
    fi
    for ((round = 1; round <= ${#real_steps[@]}; round++)); do
        steps="${real_steps[round - 1]}" dir="$WEIGHTS_DIR/round_$round" scenes=(rendered)
        if [ "$round" -gt 1 ]; then
            scenes+=(rendered_large)
            render rendered_large "$LARGE_SCENES" 31000 "$LARGE_WIDTH" "$LARGE_HEIGHT"
        fi
        echo "== round $round of ${#real_steps[@]}: labels of" $(cat "$WEIGHTS_DIR/real.txt")
        label_real "$dir" "$result"
        echo "== round $round of ${#real_steps[@]}: student of rendered and real scenes"
        mix "$dir" "${scenes[@]}"
        launch train_kd.py "${student[@]}" --trainpath "$dir/mixed/scenes" --trainlist all --pseudopath "$dir/mixed/labels" \
            --logdir "$dir/student" --loadckpt "$result" --lr 0.0005 --warmup_steps 50 --max_steps "$steps" \
            --lrepochs "$(decay "$steps" "$(labelled "$dir/mixed/labels")" 4)"
        result="$(best_checkpoint "$dir/student")"
    done
fi
average=() # the weights that are averaged at the end
if [ "$ROOMS" -gt 0 ]; then
    echo "== places"
    places="$WEIGHTS_DIR/places"
    render_once "$places/room.txt" "$ROOMS" 40000 "$LARGE_WIDTH" "$LARGE_HEIGHT" --style room --views 7
    render_once "$places/outdoor.txt" "$STREETS" 41000 "$LARGE_WIDTH" "$LARGE_HEIGHT" --style outdoor --views 7
    cat "$places/room.txt" "$places/outdoor.txt" >"$places/scans.txt"
    stoppable "$PYTHON_BIN" "$ROOT/tools/label_exact.py" --testpath "$places" --testlist "$places/scans.txt" \
        --outdir "$places/labels" "${size[@]}"
    carried=(--trainpath "$places" --trainlist "$places/scans.txt" --pseudopath "$places/labels" --spacing auto
        --view_weights learned)
    echo "== student of places"
    launch train_kd.py "${student[@]}" "${carried[@]}" --logdir "$WEIGHTS_DIR/places_student" --loadckpt "$result" --lr 0.0005 \
        --warmup_steps 50 --max_steps "$PLACE_STEPS" --lrepochs 1000:4
    result="$(best_checkpoint "$WEIGHTS_DIR/places_student")"
    launch train_kd.py "${student[@]}" "${carried[@]}" --logdir "$WEIGHTS_DIR/last_student" --loadckpt "$result" --lr 0.00015 \
        --warmup_steps 20 --max_steps "$LAST_STEPS" --lrepochs 1000:4 --freeze_bn 0.4 --seed 7
    stoppable "$PYTHON_BIN" "$ROOT/tools/export_checkpoint.py" --loadckpt "$(best_checkpoint "$WEIGHTS_DIR/last_student")" \
        --average "$result" --out "$WEIGHTS_DIR/mean.ckpt"
    launch train_kd.py "${student[@]}" "${carried[@]}" --logdir "$WEIGHTS_DIR/more_student" --loadckpt "$WEIGHTS_DIR/mean.ckpt" \
        --lr 0.0005 --warmup_steps 50 --max_steps "$MORE_STEPS" --lrepochs 1,2:3 --seed 11
    result="$(best_checkpoint "$WEIGHTS_DIR/more_student")"
    before="$(find "$WEIGHTS_DIR/more_student" -maxdepth 1 -name 'model_[0-9]*.ckpt' | sort | tail -n 2 | head -n 1)"
    if [ "$before" != "$result" ]; then average=(--average "$before"); fi
fi
stoppable "$PYTHON_BIN" "$ROOT/tools/export_checkpoint.py" --loadckpt "$result" ${average[@]+"${average[@]}"} \
    --out "$WEIGHTS_DIR/kdmvs.ckpt"

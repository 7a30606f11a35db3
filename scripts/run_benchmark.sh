#!/usr/bin/env bash
# The training benchmark: teachers and students of fixed budgets on rendered scenes, judged by exact depth and exact
# surfaces of scenes they never saw. rounds_1, rounds_2, ... are the recipe "best" with so many rounds; the other variants,
# named on the command line, change one thing of rounds_1 each:
#
#     bash scripts/run_benchmark.sh                        the recipe "best", which has three rounds
#     bash scripts/run_benchmark.sh official rounds_2      these two
#     bash scripts/run_benchmark.sh all                    every one
#
# Scenes are rendered once, teachers and students are trained once for all variants that share them, and what is finished
# is skipped on a rerun. The table is $BENCH_DIR/table.md, with curves in benchmark.html; docs/results.md has its figures.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

BENCH_DIR="${BENCH_DIR:-$ROOT/outputs/benchmark}"
SEEDS="${SEEDS:-1}"                                     # of the trainings, such as "1 2 3"; the scenes are the same
TRAIN_SCENES="${TRAIN_SCENES:-64}"                      # 6 views each, in 3 lights
TEST_SCENES="${TEST_SCENES:-16}"
WIDTH="${WIDTH:-160}"
HEIGHT="${HEIGHT:-128}"
TEACHER_STEPS="${TEACHER_STEPS:-500}"                   # fewer than a student's, as in the paper (1 epoch against 16)
STUDENT_STEPS="${STUDENT_STEPS:-1000}"                  # of every round
AMP="${AMP:-auto}"                                      # auto, off, bf16, fp16
VARIANTS="rounds_1 rounds_2 rounds_3 official teacher_official kd_official kd_hard check_dynamic views_2 views_4 scratch
    read_out_official read_out_median no_product no_freeze"

settings_of() { # settings_of VARIANT: prints the settings in which it differs from rounds_1
    case "$1" in
        official) echo "RECIPE=official TEACHER_LOSS=official FREEZE_BN=1 THRES_VIEW=3" ;; # of 7 views on DTU
        teacher_official) echo "TEACHER_LOSS=official" ;;
        kd_official) echo "LOSS=official" ;;
        kd_hard) echo "LOSS=hard" ;;
        check_dynamic) echo "CHECK=dynamic" ;;
        views_[1-5]) echo "THRES_VIEW=${1#views_}" ;;
        scratch) echo "START=scratch" ;;
        read_out_official | read_out_median) echo "TEST_READ_OUT=${1#read_out_}" ;;
        no_product) echo "CONFIDENCE=last" ;;
        no_freeze) echo "FREEZE_BN=1" ;;
        rounds_[1-9]) echo "ROUNDS=${1#rounds_}" ;;
        *) fail "no variant $1; there are:" $VARIANTS ;;
    esac
}

trained_as() { # trained_as VARIANT: prints the one whose students it tests; read-outs and all rounds share rounds_1's
    case "$1" in read_out_* | rounds_*) echo rounds_1 ;; *) echo "$1" ;; esac
}

variants=("${@:-rounds_3}")
if [ "${variants[*]}" = all ]; then read -r -d '' -a variants <<<"$VARIANTS" || true; fi
for variant in "${variants[@]}"; do settings_of "$variant" >/dev/null; done

claim BENCH_DIR "$BENCH_DIR" "$TRAIN_SCENES and $TEST_SCENES scenes, ${WIDTH}x$HEIGHT, $TEACHER_STEPS and $STUDENT_STEPS steps, AMP $AMP"
data="$BENCH_DIR/data"
render() { # render LAYOUT SCENES FIRST_SEED LIGHTS: once
    local list="$data/$1.txt"
    if [ -f "$list" ] && [ "$(wc -l <"$list")" -eq "$2" ]; then return; fi
    stoppable "$PYTHON_BIN" "$ROOT/tools/make_synthetic.py" --outdir "$data/$1" --layout "$1" --scenes "$2" \
        --first_seed "$3" --rig_seed 1 --lights "$4" --style rich --width "$WIDTH" --height "$HEIGHT" --list "$list"
}
echo "== scenes"
render train "$TRAIN_SCENES" 1000 0,3,6
render test "$TEST_SCENES" 5000 3

# tested CHECKPOINT OUTDIR [READ_OUT]: depth and clouds of the held-out scenes. In scenes of six views one source has to
# agree, where DTU's 49 views allow two, within 0.25 pixels: what serves the teacher's clouds best.
tested() {
    TESTPATH="$data/test" TEST_LIST="$data/test.txt" DATASET=general_eval CKPT_FILE="$1" OUTDIR="$2" READ_OUT="${3:-}" \
        RECIPE=official FILTER_METHOD=gipuma NUM_CONSISTENT=1 DISP_THRESHOLD=0.25 EVAL_DIR= \
        stoppable bash "$ROOT/scripts/run_test_dtu.sh"
}

run_variant() { # run_variant SEED VARIANT, in a subshell: its settings end with it
    local seed="$1" variant="$2" setting
    export RECIPE=best TEACHER_LOSS=per_pixel ROUNDS=1 FREEZE_BN= TEST_READ_OUT=
    for setting in $(settings_of "$variant"); do export "${setting?}"; done
    export DATASET=dtu_yao DATASET_DIR="$data/train" TRAIN_LIST="$data/train.txt" TEST_LIST= AMP EPOCHS=1000
    local samples=$((TRAIN_SCENES * 18)) # of an epoch: views and lights
    local common=(--seed "$seed" --warmup_steps 50 --save_steps 500)
    local teacher_dir="$BENCH_DIR/seed_$seed/teacher_$TEACHER_LOSS${FREEZE_BN:+_freeze_$FREEZE_BN}" teacher student
    local dir="$BENCH_DIR/seed_$seed/$variant"
    local students="$BENCH_DIR/seed_$seed/$(trained_as "$variant")"
    echo "== seed $seed, $variant: teacher"
    LOG_DIR="$teacher_dir" LOSS="$TEACHER_LOSS" stoppable bash "$ROOT/scripts/run_train_unsup.sh" \
        --max_steps "$TEACHER_STEPS" --lrepochs "$(decay "$TEACHER_STEPS" "$samples" 3)" "${common[@]}"
    teacher="$(best_checkpoint "$teacher_dir")"
    tested "$teacher" "$teacher_dir/test"
    echo "== seed $seed, $variant: student"
    LOG_DIR="$students" CKPT_FILE="$teacher" stoppable bash "$ROOT/scripts/run_train_kd.sh" \
        --max_steps "$STUDENT_STEPS" --lrepochs "$(decay "$STUDENT_STEPS" "$samples" 3)" "${common[@]}"
    student="$(best_checkpoint "$students/round_$ROUNDS/student")"
    tested "$student" "$dir/test" "$TEST_READ_OUT"
    stoppable "$PYTHON_BIN" "$ROOT/tools/eval_scenes.py" --testpath "$data/test" --testlist "$data/test.txt" \
        --predictions "teacher=$teacher_dir/test" "student=$dir/test" --thresholds 0.5,1,2,4,8,16 --out "$dir/scores.json"
}

for seed in $SEEDS; do
    for variant in "${variants[@]}"; do
        (run_variant "$seed" "$variant")
    done
done
echo "== score without ground truth against true errors"
head -n 4 "$data/test.txt" >"$BENCH_DIR/ranked.txt"
trained=()
while read -r folder; do trained+=("$folder"); done < <(
    find "$BENCH_DIR"/seed_* -name 'model_[0-9]*.ckpt' -exec dirname {} \; | sort -u
)
[ ${#trained[@]} -gt 0 ] || fail "$BENCH_DIR: there is no checkpoint to score"
stoppable "$PYTHON_BIN" "$ROOT/tools/rank_checkpoints.py" --logdir "${trained[@]}" --testpath "$data/test" \
    --testlist "$BENCH_DIR/ranked.txt" --amp "$AMP" --out "$BENCH_DIR/ranking.json"
stoppable "$PYTHON_BIN" "$ROOT/tools/benchmark_table.py" --outdir "$BENCH_DIR"

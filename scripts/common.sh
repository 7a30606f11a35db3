# Shared by the drivers; sourced, not run. Sets ROOT and PYTHON_BIN, and makes .venv when needed: unless PYTHON_BIN is set
# to another Python, which then has to have what requirements.txt lists. The drivers run with the bash 3.2 and the BSD
# tools of macOS too; tests/scripts/test_portable.py looks for what these do not have.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
GIVEN_PYTHON="${PYTHON_BIN:-}"
NGPUS="${NGPUS:-1}"
SHIPPED_CKPT="$ROOT/ckpt/kdmvs.ckpt" # the student that comes with the project

# OpenMP's threads wait for each other spinning. On a machine with other work that made training steps ten times slower;
# a short spin, then sleep, is as fast when the machine is idle.
export GOMP_SPINCOUNT="${GOMP_SPINCOUNT:-10000}"

fail() { echo "error: $*" >&2; exit 1; }

set_up() { # set_up FLAGS...: the project's own environment, with what these flags of setup.sh add
    [ -n "$GIVEN_PYTHON" ] || bash "$ROOT/scripts/setup.sh" "$@" || fail "the set-up failed"
}

[ -z "$GIVEN_PYTHON" ] || command -v "$GIVEN_PYTHON" >/dev/null || fail "PYTHON_BIN=$GIVEN_PYTHON: no such program"
set_up
VENV="${VENV:-.venv}"
case "$VENV" in /*) ;; *) VENV="$ROOT/$VENV" ;; esac
PYTHON_BIN="${GIVEN_PYTHON:-$VENV/bin/python}"

use_recipe() { # settings that RECIPE names and the environment does not set: official (the defaults) or best
    RECIPE="${RECIPE:-official}"
    [ "$RECIPE" = official ] && return
    [ -f "$ROOT/scripts/recipe_$RECIPE.sh" ] || fail "RECIPE=$RECIPE: there are official and best"
    source "$ROOT/scripts/recipe_$RECIPE.sh"
}

launch() { # launch PROGRAM FLAGS...: one process, or one per GPU under torchrun
    local program="$ROOT/$1"
    shift
    if [ "$NGPUS" -gt 1 ]; then
        stoppable "$PYTHON_BIN" -m torch.distributed.run --standalone --nproc_per_node "$NGPUS" "$program" "$@"
    else
        stoppable "$PYTHON_BIN" "$program" "$@"
    fi
}

stoppable() { # stoppable COMMAND...: run it; after a signal wait for its end, then exit with the signal's status
    local child="" status=0 caught=0
    trap 'caught=143; end_child "$child"' TERM
    trap 'caught=130; end_child "$child"' INT
    trap 'caught=129; end_child "$child"' HUP
    "$@" & # in the background, for bash acts on a signal only when no foreground command runs
    child=$!
    [ "$caught" -eq 0 ] || end_child "$child"
    wait "$child" || status=$?
    while kill -0 "$child" 2>/dev/null; do # a signal ends only the waiting
        status=0
        wait "$child" || status=$?
    done
    trap - TERM INT HUP
    [ "$caught" -eq 0 ] || exit "$caught"
    return "$status"
}

end_child() { # SIGTERM whatever came: in the background SIGINT is ignored until a program handles it
    [ -z "$1" ] || kill -TERM "$1" 2>/dev/null || true
}

decay() { # decay STEPS SAMPLES DIVISOR: --lrepochs that divides the rate at two thirds and at five sixths of the steps
    awk -v steps="$1" -v epoch="$2" -v divisor="$3" \
        'BEGIN { printf "%.4g,%.4g:%s", steps * 2 / 3 / epoch, steps * 5 / 6 / epoch, divisor }'
}

need_data() { # need_data NAME FOLDER WHAT: one clear message when the data set is missing
    [ -d "$2" ] || fail "$1=$2: no such folder. Set $1 to $3 (download links: github.com/YoYo000/MVSNet," \
        "section on data sets). To see everything work without any data: bash scripts/run_demo.sh"
}

best_checkpoint() { # best_checkpoint FOLDER: the one that --select kept there, else the last model_*.ckpt, or nothing
    if [ -f "$1/model_best.ckpt" ]; then echo "$1/model_best.ckpt"; return; fi
    find "$1" -maxdepth 1 -name 'model_[0-9]*.ckpt' 2>/dev/null | sort | tail -n 1 || true # a missing folder is no failure
}

newest_student() { # newest_student LOG_DIR: the checkpoint of the last round in it that has one, or nothing
    local round=1 student="" found
    while [ -d "$1/round_$round" ]; do
        found="$(best_checkpoint "$1/round_$round/student")"
        student="${found:-$student}"
        round=$((round + 1))
    done
    echo "$student"
}

scenes_in() { # scenes_in FOLDER: the names of the folders in it that hold a pair.txt, one a line
    local pairs
    for pairs in "$1"/*/pair.txt; do
        if [ -f "$pairs" ]; then basename "$(dirname "$pairs")"; fi
    done
}

last_value() { # last_value FLAG DEFAULT ARGUMENTS...: what the last of the arguments says that sets a flag
    local flag="$1" value="$2"
    shift 2
    while [ $# -gt 0 ]; do
        case "$1" in
            "$flag="*) value="${1#*=}" ;;
            "$flag") value="${2:-}" ;;
        esac
        shift
    done
    echo "$value"
}

claim() { # claim SETTING FOLDER WHAT: from now on it holds results of WHAT; fails where it holds anything else
    local record="$2/made_from"
    if [ -e "$record" ]; then
        [ "$(cat "$record")" = "$3" ] || fail "$1=$2: holds results of other scenes, weights or settings" \
            "($(head -n 1 "$record")); remove it or set another $1"
    elif [ -n "$(ls -A "$2" 2>/dev/null)" ]; then
        fail "$1=$2: exists and is none of this script's folders; set another $1"
    fi
    mkdir -p "$2"
    printf '%s\n' "$3" >"$record"
}

need_test_layout() { # need_test_layout DATASET: the test programs do not read the training layout
    case "$1" in
        general_eval | tanks | blended) ;;
        *) fail "DATASET=$1: must be general_eval, tanks or blended here" ;;
    esac
}

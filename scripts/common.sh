# Shared by the drivers; sourced, not run. Sets ROOT and PYTHON_BIN, and makes .venv when needed.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
PYTHON_BIN="${PYTHON_BIN:-$ROOT/.venv/bin/python}"
NGPUS="${NGPUS:-1}"
SHIPPED_CKPT="$ROOT/ckpt/kdmvs.ckpt" # the student that comes with the project

# OpenMP's threads wait for each other spinning. On a machine with other work that made training steps ten times slower;
# a short spin, then sleep, is as fast when the machine is idle.
export GOMP_SPINCOUNT="${GOMP_SPINCOUNT:-10000}"

fail() { echo "error: $*" >&2; exit 1; }

bash "$ROOT/scripts/setup.sh" || fail "the set-up failed"

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

default_amp() { # bf16 where this machine is fast at it, else off
    if grep -qsE 'amx_bf16|avx512_bf16' /proc/cpuinfo || command -v nvidia-smi >/dev/null; then echo bf16; else echo off; fi
}

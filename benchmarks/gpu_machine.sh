#!/usr/bin/env bash
# All GPU work of a benchmark's speed on a bare machine: Python 3.12 with torch 2.11 and a GPU, no network, 30 minutes.
#
#     benchmarks/gpu_machine.sh pack PACK [DATA]    here: this checkout, wheels of what torch does not bring, datasets
#     PACK/gpu_machine.sh run PACK OUT              there: the rows of a GPU, the GPU tests, one source of `medium`
#
# Each step of `run` has a time budget of its own, writes its files into OUT as it goes, and does not stop the next ones
# by its failure. OUT/steps.txt has a line for each: what it did, or what is missing.
#
# Variables of `pack`: PYTHON (python3), PYTHON_VERSION (3.12, that of the other machine), TORCHVISION (0.26.*, which is
# for torch 2.11), NO_WHEELS=1 (the other machine has all packages).
# Variables of `run`: PYTHON (python3), SECONDS_LEFT (1740, in all), ONLY (names of steps), TINY=1 (to try the script:
# sizes that mean nothing, on a CPU too), STORE (OUT/store; that of an earlier run goes on where it stopped).
set -u

PYTHON=${PYTHON:-python3}
OTHERS="cifar-100-python CIFAR-10-C"
# An operator that torchvision cannot load, in a build for another CUDA, is none that networks need.
CHECK='
import os, sys
try:
    import torch
except ImportError as error:
    sys.exit(f"missing: torch ({error})")
from bench.api.torchvision import prepare_torchvision
prepare_torchvision()
try:
    import torchvision.models
except ImportError as error:
    print(f"missing: torchvision ({error})")
    sys.exit(3)
import bench_plugins
from benchmarks import results_file
print(results_file.machine())
if not torch.cuda.is_available() and os.environ.get("TINY") != "1":
    sys.exit("missing: torch sees no GPU here (torch.cuda.is_available() is false)")
'

usage() { sed -n '2,13p' "$0" | sed 's/^# \{0,1\}//'; exit 2; }

pack() {
    local pack=$1 data=${2:-${BENCH_DATA:-}} root
    root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
    mkdir -p "$pack/wheels" "$pack/data"
    cp "${BASH_SOURCE[0]}" "$pack/gpu_machine.sh"
    git -C "$root" ls-files -z | (cd "$root" && tar --null -T - -czf -) >"$pack/source.tar.gz" || return 1
    git -C "$root" rev-parse --short HEAD >"$pack/commit"
    local clean  # of what earlier builds have left in the checkout
    clean=$(mktemp -d) && tar -xzf "$pack/source.tar.gz" -C "$clean" || return 1
    "$PYTHON" -m pip wheel -q --no-deps --no-build-isolation -w "$pack/wheels" "$clean" || return 1
    rm -rf "$clean"
    local version=${PYTHON_VERSION:-3.12} download
    download=("$PYTHON" -m pip download -q --only-binary=:all: --python-version "$version" --implementation cp
        --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64
        -c "$root/constraints.txt" -d "$pack/wheels")
    if [ -z "${NO_WHEELS:-}" ]; then
        (cd "$root" && "$PYTHON" - <<'PY'
import configparser
import re

parser = configparser.ConfigParser()
parser.read("setup.cfg")
options = parser["options"]["install_requires"].split() + parser["options.extras_require"]["test"].split()
skipped = {"torch", "torchvision", "fingerprint-bench", "import-linter", "playwright", "nbclient", "ipykernel"}
print("\n".join(line for line in options if re.split(r"[>=\[]", line)[0] not in skipped))
PY
        ) >"$pack/requirements.txt" || return 1
        "${download[@]}" -r "$pack/requirements.txt" || echo "missing: some wheels could not be downloaded"
        mkdir -p "$pack/torchvision"
        "$PYTHON" -m pip download -q --no-deps --only-binary=:all: --python-version "$version" --implementation cp \
            --platform manylinux_2_28_x86_64 -d "$pack/torchvision" "torchvision==${TORCHVISION:-0.26.*}" ||
            echo "missing: no torchvision wheel; the other machine needs one of its own"
    fi
    local name
    for name in cifar-10-batches-py $OTHERS; do
        if [ -n "$data" ] && [ -d "$data/$name" ]; then
            cp -r "$data/$name" "$pack/data/"
        else
            echo "missing: ${data:-DATA}/$name"
        fi
    done
    du -sh "$pack"/* | sed "s|$pack/||"
}

left() { echo $((END - $(date +%s))); }

report() { echo "$(date +%H:%M:%S) $*" | tee -a "$OUT/steps.txt"; }

# Run a step: its name, its seconds, what to do before it is killed, then the command.
step() {
    local name=$1 seconds=$2 begun code
    shift 2
    case " ${ONLY:-$name environment} " in *" $name "*) ;; *) return 0 ;; esac
    [ "$(left)" -lt "$seconds" ] && seconds=$(left)
    if [ "$seconds" -le 5 ]; then
        report "$name: not begun, no time is left"
        return 1
    fi
    local limited=(timeout -s INT -k 30 "$seconds")
    # the first Ctrl-C lets a run wait for its tasks, which train for minutes; the second lets it write its tables
    [ "$name" = medium ] &&
        limited=(timeout --foreground -s INT $((seconds + 10)) timeout --foreground -s INT -k 40 "$seconds")
    begun=$(date +%s)
    (cd "$SOURCE" && "${limited[@]}" "$@") >"$OUT/$name.log" 2>&1
    code=$?
    case $code in
    0) report "$name: done in $(($(date +%s) - begun)) s" ;;
    124 | 137 | 130) report "$name: stopped after its $seconds s; what it had done is in OUT" ;;
    *) report "$name: failed with $code after $(($(date +%s) - begun)) s: $(grep -v '^ *$' "$OUT/$name.log" | tail -1 | cut -c1-300)" ;;
    esac
    return $code
}

install_wheels() {
    "$PYTHON" -m pip install -q --no-index --no-deps --target "$OUT/site" "$PACK"/wheels/*.whl || return 1
    local code=0
    "$PYTHON" -c "$CHECK" || code=$?
    [ $code -eq 3 ] || return $code
    "$PYTHON" -m pip install -q --no-index --no-deps --target "$OUT/site" "$PACK"/torchvision/*.whl && "$PYTHON" -c "$CHECK"
}

medium() {
    local attacks=() sizes=() name
    for name in $OTHERS; do
        [ -d "$BENCH_DATA/$name" ] || attacks=(--attacks finetune_a,finetune_l,prune,extract_l,extract_p,extract_adv)
    done
    local dataset=cifar10
    if [ "${TINY:-}" = 1 ]; then
        dataset=noisy_digits
        attacks=(--attacks finetune_a,extract_l)
        sizes=(--sources tiny_vgg --suspects tiny_vgg --methods sac_m --no-baselines --replicates 1 --copies 1
            --set recipe.images=200 --set recipe.epochs=1)
    fi
    exec "$PYTHON" -m bench run --preset medium --datasets "$dataset" --seeds 1 --per-gpu "${PER_GPU:-4}" "${attacks[@]}" \
        "${sizes[@]}" --out "$OUT/medium"
}

run() {
    local tiny=()
    PACK=$(cd "$1" && pwd) || { echo "missing: no folder $1"; exit 2; }
    mkdir -p "$2" && OUT=$(cd "$2" && pwd) || exit 2
    [ -f "$PACK/source.tar.gz" ] || { echo "missing: $PACK/source.tar.gz; make the pack first: gpu_machine.sh pack $1"; exit 2; }
    END=$(($(date +%s) + ${SECONDS_LEFT:-1740}))
    SOURCE=$OUT/source
    mkdir -p "$SOURCE" "$OUT/site"
    tar -xzf "$PACK/source.tar.gz" -C "$SOURCE" || exit 2
    export PACK OUT SOURCE PYTHON OTHERS CHECK BENCH_DATA=$PACK/data BENCH_STORE=${STORE:-$OUT/store}
    export PYTHONPATH=$OUT/site${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1 BENCH_COMMIT
    BENCH_COMMIT=$(cat "$PACK/commit" 2>/dev/null)
    export -f install_wheels medium
    report "begun, commit ${BENCH_COMMIT:-unknown}, with $(left) s"
    [ -d "$BENCH_DATA/cifar-10-batches-py" ] || report "missing: CIFAR10 in the pack, which 'medium' needs"
    local failed=0 rounds=3 name
    for name in $OTHERS; do
        [ -d "$BENCH_DATA/$name" ] || report "missing: $name; transfer_a, transfer_l and finetune_c are left out of 'medium'"
    done
    [ "${TINY:-}" = 1 ] && tiny=(--tiny) rounds=1
    step environment 300 bash -c install_wheels || failed=1
    step rows 660 "$PYTHON" -m benchmarks --gpu "${tiny[@]}" --rounds "$rounds" --out "$OUT/RESULTS.md" || failed=1
    # shellcheck disable=SC2046
    step tests 240 "$PYTHON" -m pytest -q -p no:cacheprovider -m gpu -rs $(cd "$SOURCE" && grep -rl "mark.gpu" tests) || failed=1
    step medium 1200 bash -c medium || failed=1
    report "ended, with $(left) s left"
    return $failed
}

case "${1:-}" in
pack) [ $# -ge 2 ] || usage; mkdir -p "$2"; pack "$(cd "$2" && pwd)" "${3:-}" ;;
run) [ $# -eq 3 ] || usage; run "$2" "$3" ;;
*) usage ;;
esac

#!/usr/bin/env bash
# Every check, in order, each with its time and result in one summary at the end. A check that cannot run
# fails, unless OFFLINE=1: then it is skipped by name. The output of each stays in target/checks/.
set -uo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-$PWD/target}
logs=$target/checks
export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-never} PATH=$PWD/tests/.tools/bin:$PATH:/usr/sbin
# Tests that start the gateway start this one, and compile nothing twice. Given from outside, it is another build: the
# image's, say.
export GATEWAY_BIN=${GATEWAY_BIN:-$target/quick/fanline}
[[ -n ${OFFLINE:-} ]] && export CARGO_NET_OFFLINE=true

summary=()
failed=0

note() { summary+=("$(printf '%-8s %5ss  %s' "$1" "$2" "$3")"); }

# check NAME COMMAND…: runs it, shows and keeps its output, and notes how it ended.
check() {
    local name=$1 begin=$SECONDS result=ok
    shift
    echo "== $name: $*"
    "$@" </dev/null 2>&1 | tee "$logs/${name// /-}.log" || { result=FAILED; failed=1; }
    note $result $((SECONDS - begin)) "$name"
}

# check_with TOOL NAME COMMAND…: as check, where setup found or installed the tool.
check_with() {
    local tools=$1 name=$2 tool
    shift
    for tool in $tools; do
        [[ " $absent " == *" $tool "* ]] || continue
        if [[ -n ${OFFLINE:-} ]]; then
            note skipped 0 "skipped (OFFLINE=1): $name, without $tool"
        else
            note FAILED 0 "$name: cannot run without $tool"
            failed=1
        fi
        return
    done
    check "$@"
}

setup() {
    local begin=$SECONDS tool
    absent=
    for tool in $(tests/setup.sh --list); do
        tests/setup.sh $tool || absent+=" $tool"
    done
    if [[ -z $absent ]]; then note ok $((SECONDS - begin)) setup; else note lacking $((SECONDS - begin)) "setup:$absent"; fi
}

# The integration tests that need what: they say so by the modules they name.
need_of() {
    if grep -qE '\bChromium\b' "$1"; then echo browser
    elif grep -qE '\bforeign\b' "$1"; then echo foreign
    elif grep -qE '\bPrometheus\b' "$1"; then echo stack
    elif grep -qE '\bHaproxy\b' "$1"; then echo haproxy
    elif grep -qE '\bRedisServer\b|redis-server' "$1"; then echo redis
    else echo nothing; fi
}

# The integration tests that need just that, as arguments for cargo.
targets() {
    local file name
    for file in tests/*.rs tests/*/main.rs load/tests/*.rs; do
        name=${file%/main.rs} name=${name##*/}
        [[ -e $file && $(need_of "$file") == "$1" ]] && printf -- '--test %s ' "${name%.rs}"
    done
}

# tests TOOLS NAME NEED: the integration tests that need it; without any, nothing.
tests() {
    local chosen
    chosen=$(targets "$3")
    [[ -z $chosen ]] || check_with "$1" "$2" cargo test --locked --workspace --no-fail-fast $chosen
}

docs() { RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps; }

# How many of the tests ended so: passed, failed. Lines of cargo (`test result: ok. 3 passed; 0 failed; …`) and of
# pytest (`3 passed, 1 failed in 0.1s`).
count() {
    cat "$logs"/*.log | awk -v word="$1" '/^test result: / || /(passed|failed|skipped|errors?).* in [0-9.]+s/ {
        gsub(/[;,=]/, ""); for (i = 2; i <= NF; i++) if ($i == word) n += $(i - 1) } END { print n + 0 }'
}

# Beside the gateway of GATEWAY_BIN they start the model of a fleet. Who skips says why.
deployment() {
    cargo build --locked --package fanline-load --bin fanline-load &&
        LOAD_BIN=$target/debug/fanline-load tests/.tools/venv/bin/python -m pytest -q -rs -p no:cacheprovider tests/deploy
}

rm -rf "$logs" && mkdir -p "$logs"
setup
check format cargo fmt --all --check
check clippy cargo clippy --locked --workspace --all-targets -- -D warnings
check docs docs
check build cargo build --locked --profile quick --bin fanline
check "unit tests" cargo test --locked --workspace --no-fail-fast --lib --bins --examples
tests "" "house tests" nothing
tests redis "redis tests" redis
tests "redis haproxy" "rolling restart" haproxy
tests "redis haproxy prometheus node python" "the whole of it" stack
tests "redis curl node python" "foreign clients" foreign
# Optimised as the gateway that people run from here is, so that what is counted is what they get.
check_with "valgrind redis" "cost of the hot paths" cargo test --locked --profile quick -p fanline-cost --test cost
tests "node chromium" "browser" browser
# Each test says what tool it lacks.
check_with python "deployment" deployment
check loom make --no-print-directory loom
check doctests cargo test --locked --workspace --doc
check_with cargo-deny dependencies cargo-deny --log-level error check bans licenses sources

echo
printf '%s\n' "${summary[@]}"
echo "$(count passed) passed, $(count failed) failed"
exit $failed

#!/bin/sh
# Fuzzes each target of tests/fuzz for SECONDS (default 30) with libFuzzer, ASan and UBSan. A finding
# is left in build/fuzz and fails the run. usage: tools/fuzz.sh [TARGET…]
set -eu
cd "$(dirname "$0")/.."
SECONDS_EACH=${SECONDS_EACH:-30}
BUILD=build/fuzz

# shellcheck disable=SC2046 # a list of words
[ $# -gt 0 ] || set -- $(find tests/fuzz -name 'fuzz_*.c' | sed 's|.*/fuzz_||; s|\.c$||' | sort)
for target; do
    make -s BUILD="$BUILD" CC=clang \
        OPTIMIZE='-O1 -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all' \
        "$BUILD/tests/fuzz/fuzz_$target"
    mkdir -p "$BUILD/corpus/$target"
    echo "fuzz_$target: $SECONDS_EACH s"
    "$BUILD/tests/fuzz/fuzz_$target" -max_total_time="$SECONDS_EACH" -max_len=65536 -timeout=10 \
        -rss_limit_mb=1024 -artifact_prefix="$BUILD/$target-" -print_final_stats=1 -verbosity=0 \
        "$BUILD/corpus/$target" "tests/fuzz/corpus/$target" 2>"$BUILD/$target.log" || {
        tail -n 40 "$BUILD/$target.log"
        echo "fuzz_$target: FAILED"
        exit 1
    }
    sed -n 's/^stat::number_of_executed_units: */  runs: /p' "$BUILD/$target.log"
done

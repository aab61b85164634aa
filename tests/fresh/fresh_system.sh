#!/bin/bash
# A new user's first minutes: makes a clean Debian 12 in a temporary folder, clones the committed
# HEAD into it and runs the README's commands there. Needs root and Debian's package server.
# usage: tests/fresh/fresh_system.sh [run] [test]    (both unless named)
set -euo pipefail
REPOSITORY=$(cd "$(dirname "$0")/../.." && pwd)
READY_WITHIN_S=900 # `make run` installs its packages and compiles first
STOPPED_WITHIN_S=30

say() {
    printf 'fresh: %s\n' "$*"
}

fail() {
    say "FAILED: $*" >&2
    exit 1
}

# Becomes a command in the clone as a new login would.
inside() {
    local tree=$1 name settings=(HOME=/root LANG=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin)
    shift
    for name in http_proxy https_proxy no_proxy NODE_EXTRA_CA_CERTS; do
        [ -z "${!name:-}" ] || settings+=("$name=${!name}")
    done
    # shellcheck disable=SC2016 # for the shell in there
    exec chroot "$tree" env -i "${settings[@]}" sh -c 'cd /root/tillbox && exec "$@"' sh "$@"
}

readme_says() {
    grep -qF "$2" "$1/root/tillbox/README.md" || fail "README.md doesn't say: $2"
}

answers() {
    curl --silent --noproxy '*' --max-time 5 --output /dev/null --fail "http://127.0.0.1:$1/livez"
}

# A port of the 5000 from this one on that nobody listens on.
free_port() {
    local port
    while port=$(($1 + RANDOM % 5000)) && (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do :; done
    echo "$port"
}

# expect STATUS PATTERN CURL-ARGUMENT…
expect() {
    local status=$1 pattern=$2 answer
    shift 2
    answer=$(curl --silent --noproxy '*' --max-time 10 --write-out '\n%{http_code}' "$@") ||
        fail "no answer: curl $*"
    say "${answer//$'\n'/ }"
    [[ $answer == *$'\n'$status ]] || fail "not the status $status"
    [[ $answer == *$pattern* ]] || fail "no $pattern in the answer"
}

try_the_three_calls() {
    local orders=$1 inventory=$2 json='Content-Type: application/json'
    expect 201 '"product_id"' --location --request POST "http://127.0.0.1:$inventory/products" \
        --header "$json" --data-raw '{"product_name": "iPhone", "stock": 50}'
    expect 201 '"id"' -X POST "http://127.0.0.1:$orders/orders" -H "$json" \
        -d '{"user_id": 1, "product_id": 1, "quantity": 1}'
    expect 200 '"cancelled"' -X POST "http://127.0.0.1:$orders/orders/1/cancel"
}

# wait_until SECONDS COMMAND…: false if the command still fails when the time is over.
wait_until() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.5
    done
}

ended() {
    ! kill -0 "$1" 2>/dev/null
}

up_or_ended() {
    ended "$1" || { answers "$2" && answers "$3"; }
}

try_run() {
    local tree=$1 log=$1/tmp/run.log orders inventory pid
    orders=$(free_port 20000)
    inventory=$(free_port 25000)
    say "make run, on ports $orders and $inventory"
    inside "$tree" make run \
        ARGS="--orders-listen 127.0.0.1:$orders --inventory-listen 127.0.0.1:$inventory" \
        >"$log" 2>&1 &
    pid=$!
    wait_until "$READY_WITHIN_S" up_or_ended "$pid" "$orders" "$inventory" || true
    if ! answers "$orders"; then
        tail -n 40 "$log"
        fail "make run didn't come up"
    fi
    try_the_three_calls "$orders" "$inventory"
    kill -TERM "$pid"
    wait_until "$STOPPED_WITHIN_S" ended "$pid" || fail "make run didn't stop"
    if answers "$orders" || answers "$inventory"; then
        fail "a program outlived make run"
    fi
    say "make run: ok"
}

try_test() {
    local tree=$1 log=$1/tmp/test.log
    say "make test"
    (inside "$tree" make test) 2>&1 | tee "$log" || fail "make test"
    tail -n 1 "$log" | grep -qE '^[1-9][0-9]* passed, 0 failed' || fail "make test: a test failed, or none ran"
    say "make test: ok"
}

# In namespaces of its own: every mount and every process ends with this shell.
try_parts() {
    local tree=$1 part
    shift
    mount -t proc proc "$tree/proc"
    mount --rbind /dev "$tree/dev"
    mount -t tmpfs -o mode=1777 tmpfs "$tree/dev/shm"
    for part in "$@"; do
        readme_says "$tree" "make $part"
        "try_$part" "$tree"
    done
}

clean_up() {
    if [ -n "${namespaces:-}" ] && kill -KILL "$namespaces" 2>/dev/null; then
        wait "$namespaces" 2>/dev/null || true
    fi
    # A process that is still dying may write into the tree until it is gone.
    for _ in 1 2 3 4 5; do
        rm -rf --one-file-system "$work" && return
        sleep 1
    done
}

if [ "${1:-}" = --in-namespaces ]; then
    shift
    try_parts "$@"
    exit
fi

[ $# -gt 0 ] || set -- run test
for part in "$@"; do
    [[ $part =~ ^(run|test)$ ]] || fail "unknown part $part; there are: run test"
done
[ "$(id -u)" -eq 0 ] || fail "needs root, for chroot and mounts"
"$REPOSITORY/tools/install-deps.sh" fresh
work=$(mktemp -d)
chmod 755 "$work"
trap clean_up EXIT
trap 'exit 130' INT TERM
say "making a clean Debian 12"
"$REPOSITORY/tests/fresh/make_system.sh" "$work/system" git,make
git clone --quiet --no-hardlinks "$REPOSITORY" "$work/system/root/tillbox"
unshare --mount --pid --fork --kill-child "$0" --in-namespaces "$work/system" "$@" &
namespaces=$!
wait "$namespaces"
say "all of it works: $*"

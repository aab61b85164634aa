#!/bin/sh
# Installs the Debian packages that a task needs; silent and quick when all of them are there.
# usage: tools/install-deps.sh run|test|lint|bench|coverage|fresh|deb|image|compose|all
set -eu

RUN='gcc make libc6-dev pkg-config libmicrohttpd-dev libsqlite3-dev libcjson-dev libinih-dev
     libssl-dev libcurl4-openssl-dev libpq-dev librabbitmq-dev libsystemd-dev'
TEST='libcmocka-dev gdb openssl python3 python3-pytest python3-jsonschema python3-yaml curl sqlite3
      postgresql postgresql-client rabbitmq-server pgbouncer python3-pika python3-pytest-xdist
      python3-aiosmtpd prometheus chromium fonts-liberation'
LINT='clang clang-format clang-tidy cppcheck shellcheck python3-pyflakes libclang-rt-dev git'
BENCH='wrk'
COVERAGE='gcovr'
FRESH='mmdebstrap git curl util-linux'
DEB='debhelper dpkg-dev po-debconf help2man bash-completion lintian systemd mmdebstrap nftables
     iproute2 man-db'

IMAGE='mmdebstrap dosfstools mtools e2fsprogs fdisk qemu-system-x86 qemu-utils ovmf nbdkit
       openssh-client'

# A nodejs of another origin brings its own npm, beside which Debian's can't be installed.
command -v npm >/dev/null || TEST="$TEST nodejs npm"

COMPOSE='docker.io docker-compose iptables mmdebstrap python3-pytest python3-yaml curl
         postgresql-client'

case ${1:-} in
run) wanted=$RUN ;;
test) wanted="$RUN $TEST" ;;
lint) wanted="$RUN $TEST $LINT" ;;
bench) wanted="$RUN $TEST $BENCH" ;;
coverage) wanted="$RUN $TEST $COVERAGE" ;;
fresh) wanted=$FRESH ;;
deb) wanted="$RUN $DEB" ;;
image) wanted="$RUN $DEB $IMAGE" ;;
compose) wanted=$COMPOSE ;;
all) wanted="$RUN $TEST $LINT $BENCH $FRESH $DEB" ;;
*)
    echo "usage: tools/install-deps.sh run|test|lint|bench|coverage|fresh|deb|image|compose|all" >&2
    exit 2
    ;;
esac

say() {
    echo "install-deps: $*" >&2
}

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    say "not a Debian system: make sure that what these Debian packages hold is installed:"
    say "$(echo "$wanted" | xargs)"
    exit 0
fi

# dpkg-query fails when it doesn't know one of the names, and still lists the others.
# shellcheck disable=SC2086 # a list of words
present=$(dpkg-query --show --showformat='${db:Status-Status} ${Package}\n' $wanted 2>/dev/null |
    sed -n 's/^installed //p' | tr '\n' ' ') || true
missing=
for package in $wanted; do
    case " $present" in
    *" $package "*) ;;
    *) missing="$missing $package" ;;
    esac
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -eq 0 ]; then
    as_root=
elif command -v sudo >/dev/null; then
    as_root=sudo
else
    say "these packages are missing, and it takes root or sudo to install them:$missing"
    exit 1
fi

say "installing$missing"
if ! $as_root apt-get update -qq; then
    say "apt-get update failed: is the network up, and /etc/apt/sources.list right?"
    exit 1
fi
# shellcheck disable=SC2086 # a list of words
if ! $as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -qq -y --no-install-recommends $missing >/dev/null; then
    say "apt-get could not install$missing"
    exit 1
fi
say "done"

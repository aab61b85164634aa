#!/bin/bash
# Makes a clean Debian 12 in the folder TREE. What it takes over from this system is only how to reach
# the package servers. Needs root. usage: tests/fresh/make_system.sh TREE [PACKAGE,…]
set -euo pipefail
tree=$1
packages=ca-certificates${2:+,$2}

sources=()
# shellcheck source=/dev/null
. /etc/os-release
if [ "${VERSION_CODENAME:-}" = bookworm ]; then
    for file in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list; do
        [ ! -s "$file" ] || sources=("$file")
    done
fi
mmdebstrap --quiet --variant=minbase --include="$packages" bookworm "$tree" "${sources[@]}"
apt-config dump | grep -E '^Acquire::.*(Proxy|CaInfo|Verify|Retries)' \
    >"$tree/etc/apt/apt.conf.d/90host" || true
cp -L /etc/resolv.conf /etc/hosts "$tree/etc/"
cp -L /etc/ssl/certs/ca-certificates.crt "$tree/etc/ssl/certs/"
# There is no init in there to start a service with.
printf '#!/bin/sh\nexit 101\n' >"$tree/usr/sbin/policy-rc.d"
chmod +x "$tree/usr/sbin/policy-rc.d"

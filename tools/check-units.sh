#!/bin/bash
# The units as they are installed: systemd finds nothing wrong with them, and no service is exposed
# more than EXPOSURE_MAX. usage: tools/check-units.sh BUILD
set -euo pipefail
cd "$(dirname "$0")/.."
EXPOSURE_MAX=1.5 # of 10, as systemd-analyze security counts

tools/install-deps.sh deb
build=$(realpath "$1")
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
make --no-print-directory BUILD="$build" install PREFIX="$tree" DESTDIR= \
    SETTINGS_DIR="$tree/etc" >/dev/null
make --no-print-directory install-box PREFIX=/usr DESTDIR="$tree/box" UNITDIR=/units >/dev/null
cp -r "$tree/box/units/." "$tree/lib/systemd/system"

units=("$tree"/lib/systemd/system/*.{service,timer})
findings=$(systemd-analyze verify --man=no "${units[@]}" 2>&1) || true
[ -z "$findings" ] || { echo "$findings" && exit 1; }

failed=0
for unit in "$tree"/lib/systemd/system/*.service; do
    systemd-analyze security --offline=true --threshold="${EXPOSURE_MAX/./}" "$unit" >"$tree/report" ||
        failed=1
    tail -n 1 "$tree/report" | sed 's/^[^O]*//'
done
[ "$failed" = 0 ] || echo "units: more exposed than $EXPOSURE_MAX" >&2
exit "$failed"

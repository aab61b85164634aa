#!/bin/bash
# Builds tillbox_VERSION_ARCH.deb and tillbox-box_VERSION_all.deb into BUILD, from a copy of the tree as it is.
# usage: tools/build-deb.sh VERSION BUILD
set -euo pipefail
cd "$(dirname "$0")/.."
version=$1 build=$(realpath -m "$2")
stage=$build/deb/tillbox-$version

rm -rf "$stage"
mkdir -p "$stage"
tar -c --exclude=./build --exclude=./.git --exclude=./var . | tar -x -C "$stage"
mv "$stage/firmware-config/debian" "$stage/debian"
echo "$version" >"$stage/VERSION"
# The same tree makes the same package, bit by bit.
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y VERSION)}
sed -e "s/@VERSION@/$version/g" -e "s/@DATE@/$(date -Rud "@$epoch")/" \
    "$stage/debian/changelog.in" >"$stage/debian/changelog"
rm "$stage/debian/changelog.in"
# What the calling make was given isn't meant for the package's.
(cd "$stage" && env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u BUILD DEB_BUILD_OPTIONS=noautodbgsym \
    dpkg-buildpackage --build=binary --unsigned-changes --unsigned-buildinfo) >"$stage.log" 2>&1 ||
    { tail -n 40 "$stage.log" && exit 1; }
mv "$build/deb/"tillbox*"_${version}_"*.deb "$build/"
ls "$build/"tillbox*"_${version}_"*.deb

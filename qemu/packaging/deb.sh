#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Debian packages of what was built, in build/deb.

set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
. "$top/qemu/lib.sh"

folder=$top/build/deb
rm -rf "$folder"
mkdir -p "$folder/source"
cp -R "$top/qemu/packaging/debian" "$folder/source/debian"
cd "$folder/source"

version=$(sed -n 's/^#define COLONY_VERSION "\(.*\)"/\1/p' \
    "$top/colo-net/core/versions.h")
packaged=$(dpkg-parsechangelog -S Version)
test "$version" = "$packaged" ||
    die "this is Colony $version, its packages would be $packaged:" \
        "qemu/packaging/debian/changelog needs an entry"

# -d: nothing is compiled here, so build-essential may be missing.
COLONY_TOP=$top dpkg-buildpackage -d -b -us -uc > "$folder/log" 2>&1 || {
    tail -n 30 "$folder/log" >&2
    die "dpkg-buildpackage failed; all it said: $folder/log"
}
rm -rf "$folder/source"
cd "$folder"
note "in build/deb:" ./*.deb

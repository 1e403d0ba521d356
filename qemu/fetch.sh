#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Make sure that the cache holds what the build needs and the system lacks:
# QEMU's source, unless --qemu-src names one, and a meson that is new enough.
# Does nothing, and needs no network, when it does.

set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
. "$top/qemu/lib.sh"
. "$top/qemu/base.conf"

fetch()
{
    mkdir -p "$cache" 2> /dev/null && test -w "$cache" || die \
        "$package must be downloaded, but cannot be kept: $cache is read-only" \
        "set XDG_CACHE_HOME to a folder that can be written"
    note "fetching the $1 package $2 of Debian $suite"
    "$top/qemu/from-suite.sh" "$1" "$2" "$suite" "$3"
}

if test -z "${QEMU_SRC:-}" && ! ls "$cache"/qemu/*.dsc > /dev/null 2>&1; then
    package=qemu
    fetch source qemu "$cache/qemu"
fi

meson=$(meson_path)
if test -n "$meson" && test ! -d "$meson/mesonbuild"; then
    package=meson
    fetch binary meson "$cache/meson-package"
    rm -rf "$cache/meson" "$cache/meson.new"
    dpkg-deb -x "$cache"/meson-package/meson_*.deb "$cache/meson.new"
    mv "$cache/meson.new" "$cache/meson"
    rm -rf "$cache/meson-package"
fi

#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# build.sh patched|stock [TARGET...]
#
# Configure (when needed) and build one of the two QEMU trees: our four
# programs, linked from build/bin or build/stock/bin, or the ninja targets
# given.

set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
. "$top/qemu/lib.sh"

case $1 in
patched) base=$top/build ;;
stock) base=$top/build/stock ;;
*) die "build.sh: '$1' is neither patched nor stock" ;;
esac
shift
programs="qemu-system-x86_64 qemu-img qemu-io
          storage-daemon/qemu-storage-daemon"

PYTHONPATH=$(meson_path)
export PYTHONPATH
test -n "$PYTHONPATH" || unset PYTHONPATH

compiler=${CC:-gcc}
if test "${WITH_CCACHE:-yes}" = yes; then
    compiler="ccache $compiler"
    # Relative paths only: clones at other places share the results, and so
    # do the two trees, whose folders lie alike.
    export CCACHE_BASEDIR="$top" CCACHE_NOHASHDIR=1
    if mkdir -p "$cache/ccache" 2> /dev/null && test -w "$cache/ccache"; then
        export CCACHE_DIR="$cache/ccache" CCACHE_MAXSIZE=2G
    else
        note "note: $cache is read-only, compiling without ccache's store"
        export CCACHE_DISABLE=1
    fi
fi

mkdir -p "$base/qemu" "$base/bin"
cd "$base/qemu"
# Two ninjas in one folder spoil each other's records.
exec 9> colony-lock
flock -n 9 || {
    note "waiting: another make is building in ${base#"$top/"}/qemu"
    flock 9
}

# Only what Colony uses. The firmware is Debian's. The prefix does not count:
# an installed QEMU finds everything relative to itself (see install.sh).
firmware=/usr/share/qemu:/usr/share/seabios:/usr/lib/ipxe/qemu
set -- "$@" --
set -- "$@" --python="$python" --cc="$compiler" --prefix=/usr/local \
    --target-list=x86_64-softmmu --without-default-features \
    --disable-download --disable-install-blobs --firmwarepath="$firmware" \
    --enable-system --enable-tools --enable-tcg --enable-replication \
    --enable-colo-proxy --enable-fdt=system --enable-trace-backends=log \
    --disable-werror
# shellcheck disable=SC2086
set -- "$@" $QEMU_OPTIONS
targets=
while test "$1" != --; do
    targets="$targets $1"
    shift
done
shift

if test ! -f build.ninja ||
    test "$(cat colony-options 2> /dev/null)" != "$*"; then
    note "configuring QEMU $(cat ../qemu-src/VERSION) in ${base#"$top/"}/qemu"
    rm -f colony-options
    ../qemu-src/configure "$@" > configure.log 2>&1 || {
        tail -n 30 configure.log >&2
        die "QEMU's configure failed; all it said: $base/qemu/configure.log"
    }
    echo "$*" > colony-options
    note "compiling QEMU; the first time this takes some minutes"
fi

# Where a program that runs from its build folder looks for the firmware.
old_ifs=$IFS
IFS=:
for folder in $firmware; do
    mkdir -p "qemu-bundle$folder"
    for file in "$folder"/*; do
        link=qemu-bundle$file
        test -e "$link" || ln -sf "$file" "$link"
    done
done
IFS=$old_ifs

quiet=--quiet
test ! -t 1 && test -z "${V:-}" || quiet=
# shellcheck disable=SC2086
ninja $quiet ${V:+-v} -j "${JOBS:-$(nproc)}" ${targets:-$programs} 9>&-

if test -z "$targets"; then
    for program in $programs; do
        ln -sf "../qemu/$program" "$base/bin/${program##*/}"
    done
fi

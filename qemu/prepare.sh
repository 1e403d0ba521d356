#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Make the two source trees:
#
#   build/stock/qemu-src    QEMU as it comes
#   build/qemu-src          the same with qemu/patches/ applied and our
#                           directories linked in as colony/
#
# Run again after any change it does no more than that change: a file keeps
# its time stamp when its content is the same, so little is compiled anew.

set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
. "$top/qemu/lib.sh"
. "$top/qemu/base.conf"
cd "$top"

stock=build/stock/qemu-src
tree=build/qemu-src

# --- the tree as it comes -------------------------------------------------

# What the stock tree was made from: a change means to make it anew.
if test -n "${QEMU_SRC:-}"; then
    test -e "$QEMU_SRC" || die \
        "--qemu-src=$QEMU_SRC: there is no such folder or file"
    # Another configure run asks for another look at it.
    origin="$QEMU_SRC $(stat -c %Y "$QEMU_SRC" build/config.mk | tr '\n' ' ')"
else
    dsc=$(ls "$cache"/qemu/*.dsc | sort -V | tail -n 1)
    origin=$(basename "$dsc")
fi

unpack()
{
    if test -z "${QEMU_SRC:-}"; then
        # The signature was checked by apt; the checksums are checked here.
        dpkg-source -x "$dsc" "$1" > "$1.log" 2>&1 || {
            cat "$1.log" >&2
            die "the QEMU source in $cache/qemu is damaged" \
                "remove that folder, and it will be fetched again"
        }
    elif test -d "$QEMU_SRC"; then
        test -f "$QEMU_SRC/VERSION" && test -f "$QEMU_SRC/meson.build" || die \
            "--qemu-src=$QEMU_SRC is not a QEMU source tree" \
            "(no VERSION and meson.build in it)"
        mkdir -p "$1"
        tar -C "$QEMU_SRC" --exclude=./.git --exclude=./build -cf - . |
            tar -C "$1" -xf -
    else
        mkdir -p "$1"
        tar -xf "$QEMU_SRC" -C "$1" --strip-components=1 2> "$1.log" || {
            cat "$1.log" >&2
            die "--qemu-src=$QEMU_SRC cannot be unpacked by tar"
        }
        test -f "$1/VERSION" && test -f "$1/meson.build" || die \
            "--qemu-src=$QEMU_SRC holds no QEMU source tree" \
            "(no VERSION and meson.build in its top folder)"
    fi
    rm -f "$1.log"
}

check_version()
{
    case $version in
    $series.*) ;;
    *) die "this is QEMU $version, but Colony needs QEMU $series" \
        "($oldest or later); it came from ${QEMU_SRC:-$dsc}" ;;
    esac
    version_at_least "$version" "$oldest" || die \
        "QEMU $version is too old: before $oldest COLO cannot be entered" \
        "it came from ${QEMU_SRC:-$dsc}"
    test "$version" = "$tested" || note \
        "note: QEMU $version is untested with Colony (tested: $tested)"
}

if test "$(cat build/stock/origin 2> /dev/null)" != "$origin"; then
    note "unpacking QEMU"
    mkdir -p build/stock
    rm -rf "$stock" "$stock.new" build/stock/origin
    unpack "$stock.new"
    version=$(cat "$stock.new/VERSION")
    check_version
    # A tree with other contents: the patched one is made anew as well.
    rm -rf "$tree"
    mv "$stock.new" "$stock"
    echo "$origin" > build/stock/origin
fi
version=$(cat "$stock/VERSION")

# --- the patched tree -----------------------------------------------------

if test ! -f "$tree/VERSION"; then
    rm -rf "$tree" "$tree.new" build/qemu-src.files
    cp -a "$stock" "$tree.new"
    mv "$tree.new" "$tree"
fi

# Patch copies of just the files that the series touches...
scratch=$(mktemp -d build/prepare.XXXXXX)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
mkdir "$scratch/new"

patches=$(find qemu/patches -name '[0-9]*.patch' | sort)
# shellcheck disable=SC2086
sed -n -e 's,^--- a/,,p' -e 's,^+++ b/,,p' \
    -e 's,^rename from ,,p' -e 's,^rename to ,,p' $patches /dev/null |
    sort -u > "$scratch/files"
while read -r file; do
    mkdir -p "$scratch/new/$(dirname "$file")"
    test ! -e "$stock/$file" || cp -p "$stock/$file" "$scratch/new/$file"
done < "$scratch/files"

for patch in $patches; do
    patch -p1 -d "$scratch/new" --fuzz=0 --force --no-backup-if-mismatch \
        -r - < "$patch" > "$scratch/log" 2>&1 || {
        grep -E '^(patching|checking) file|FAILED|^The |ignored' \
            "$scratch/log" >&2
        die "$patch does not apply to QEMU $version (tested: $tested)" \
            "the hunks that failed are named above"
    }
done

# ... and take over what differs, here or from an earlier series.
sort -u "$scratch/files" build/qemu-src.files 2> /dev/null > "$scratch/all" ||
    cp "$scratch/files" "$scratch/all"
cat "$scratch/all" > build/qemu-src.files
while read -r file; do
    if grep -qxF "$file" "$scratch/files"; then
        from=$scratch/new/$file
    else
        from=$stock/$file
    fi
    if test ! -e "$from"; then
        rm -f "$tree/$file"
    elif ! cmp -s "$from" "$tree/$file"; then
        mkdir -p "$tree/$(dirname "$file")"
        cp "$from" "$tree/$file"
    fi
done < "$scratch/all"
cp "$scratch/files" build/qemu-src.files

# --- our directories ------------------------------------------------------

link()
{
    test "$(readlink "$tree/colony/$2" || :)" = "../../../$1" || {
        rm -rf "$tree/colony/$2"
        ln -s "../../../$1" "$tree/colony/$2"
    }
}
mkdir -p "$tree/colony"
link qemu/graft/meson.build meson.build
link colo-net colo-net
link plover-sync plover-sync
link gannet-blk gannet-blk
link tests/qtest qtest
link tests tests
for schema in apus.json colony.json gannet.json; do
    test -L "$tree/qapi/$schema" ||
        ln -s "../../../qemu/qapi/$schema" "$tree/qapi/$schema"
done

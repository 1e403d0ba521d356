#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# series.sh open|save
#
# open: make build/series, a git tree of the stock QEMU with one commit for
# each patch of qemu/patches/, to work on. save: write its commits back.

set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
. "$top/qemu/lib.sh"
tree=$top/build/series

command -v git > /dev/null || die "git is needed: apt-get install git"

as_us()
{
    git -C "$tree" -c user.name='Colony developers' \
        -c user.email=colony@localhost -c commit.gpgsign=false "$@"
}

case $1 in
open)
    test ! -e "$tree" || die "build/series is there already" \
        "save or remove it first; its changes would be lost"
    cp -a "$top/build/stock/qemu-src" "$tree.new"
    git -C "$tree.new" init -q -b series
    # QEMU's .gitignore would hide files that a patch may touch.
    git -C "$tree.new" add --force --all
    mv "$tree.new" "$tree"
    as_us commit -q -m "QEMU $(cat "$tree/VERSION")"
    git -C "$tree" tag stock
    as_us am -q --keep-cr "$top"/qemu/patches/[0-9]*.patch
    echo "build/series: $(git -C "$tree" rev-list --count stock..) commits;" \
        "make series-save writes them back"
    ;;
save)
    test -d "$tree/.git" || die "there is no build/series: make series"
    test -z "$(git -C "$tree" status --porcelain)" || die \
        "build/series has changes that are not committed"
    new=$(mktemp -d "$top/build/patches.XXXXXX")
    trap 'rm -rf "$new"' EXIT
    git -C "$tree" format-patch -q --no-renames --zero-commit --no-signature \
        --no-numbered --no-base --abbrev=8 -o "$new" stock..
    # No dates: they would change each time.
    sed -i '1,/^$/{/^Date: /d}' "$new"/*.patch
    # Those that stay the same keep their time stamp.
    for old in "$top"/qemu/patches/[0-9]*.patch; do
        test -e "$new/${old##*/}" || rm -f "$old"
    done
    for patch in "$new"/*.patch; do
        cmp -s "$patch" "$top/qemu/patches/${patch##*/}" ||
            cp "$patch" "$top/qemu/patches/"
    done
    echo "qemu/patches: $(git -C "$tree" rev-list --count stock..) patches"
    ;;
*) die "series.sh: '$1' is neither open nor save" ;;
esac

#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# build.sh REVISION: build another revision of Colony beside this one, in
# build/upgrade. What it prints is the folder of its programs.

set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
. "$top/qemu/lib.sh"

revision=$(git -C "$top" rev-parse --verify --quiet --short=12 "$1^{commit}") ||
    die "there is no revision '$1' here: OLD= takes a tag or a commit"
folder=$top/build/upgrade/$revision

if test ! -e "$folder/built"; then
    note "building revision $revision; it takes as long as this one did" >&2
    rm -rf "$folder"
    mkdir -p "$folder"
    git -C "$top" archive "$revision" | tar -x -C "$folder"
    (
        cd "$folder"
        unset MAKEFLAGS MAKELEVEL MFLAGS
        ./configure && make -j"${JOBS:-$(nproc)}" qemu tools
    ) > "$folder.log" 2>&1 || {
        tail -n 30 "$folder.log" >&2
        die "revision $revision cannot be built; all it said: $folder.log"
    }
    touch "$folder/built"
fi
echo "$folder/build/bin"

#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# meson-test.sh NAME WHAT...
#
# Run tests in the patched QEMU's build folder, as `meson test WHAT...` does;
# the results are meson-logs/NAME.junit.xml there.

set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
. "$top/qemu/lib.sh"
cd "$top/build/qemu"

PYTHONPATH=$(meson_path)
export PYTHONPATH
test -n "$PYTHONPATH" || unset PYTHONPATH

name=$1
shift
rm -f "meson-logs/$name.junit.xml"
exec pyvenv/bin/meson test --no-rebuild --print-errorlogs --logbase "$name" \
    --num-processes "${JOBS:-$(nproc)}" "$@"

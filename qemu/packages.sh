#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# packages.sh [--list] WHEN...
#
# Install the Debian packages that qemu/packages names for WHEN (build, guest,
# check, docs) and that are missing: as root, or through sudo, saying so first.
# Where neither is to be had, print the command and stop. With --list only
# print those missing.

set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
. "$top/qemu/lib.sh"

list=
if test "$1" = --list; then
    list=yes
    shift
fi

if ! command -v dpkg-query > /dev/null; then
    test -n "$list" || note "note: not a Debian system, so what is needed" \
        "must be there already (see qemu/packages)"
    exit 0
fi

wanted=
while read -r when with package; do
    case " $* " in
    *" $when "*) ;;
    *) continue ;;
    esac
    case " ${WITHOUT:-} " in
    *" $with "*) ;;
    *) wanted="$wanted $package" ;;
    esac
done < "$top/qemu/packages"

# A package may be there under another name that provides this one.
missing=
# shellcheck disable=SC2016,SC2086
present=" $(dpkg-query -W -f '${db:Status-Status} ${Package} ${Provides}\n' |
    sed -n 's/^installed //p' | sed 's/([^)]*)//g' | tr ',\n' '  ') "
for package in $wanted; do
    case $present in
    *" $package "*) ;;
    *) missing="$missing $package" ;;
    esac
done
missing=${missing# }
test -n "$missing" || exit 0
if test -n "$list"; then
    echo "$missing"
    exit 0
fi

command="apt-get install --no-install-recommends $missing"
as_root=
if test "$(id -u)" != 0; then
    if command -v sudo > /dev/null &&
        { test -t 0 || sudo -n true 2> /dev/null; }; then
        echo "These packages are missing; sudo is asked to install them:"
        echo "  sudo $command"
        as_root=sudo
    else
        echo "These packages are missing. As root, type:" >&2
        echo "  $command" >&2
        exit 1
    fi
else
    echo "Installing what is missing: $missing"
fi
export DEBIAN_FRONTEND=noninteractive
# make -j runs several of us; and a machine's own upgrade may be under way.
mkdir -p "$top/build"
exec 9> "$top/build/packages.lock"
flock 9
install()
{
    # shellcheck disable=SC2086
    $as_root apt-get install -y -q --no-install-recommends \
        -o DPkg::Lock::Timeout=600 $missing
}
# The machine's package lists may be missing or old.
install || { $as_root apt-get update -q && install; } ||
    die "apt-get could not install: $missing"

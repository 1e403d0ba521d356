#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Builds the test guest from Debian packages: see README.rst beside this file.
# Needs no root, and writes nowhere but to --out, --cache and a temporary
# directory.  Packages come from wherever the machine's own apt sources say.

set -eu
umask 022

here=$(cd "$(dirname "$0")" && pwd)
out=
cache=${XDG_CACHE_HOME:-$HOME/.cache}/colony/guest
refresh=no

usage()
{
    cat <<USAGE
usage: build.sh --out=DIR [--cache=DIR] [--refresh]

  --out=DIR    where kernels, initrd.img and seg/*.img go
  --cache=DIR  where downloaded packages are kept, for good
               (default: \$XDG_CACHE_HOME/colony/guest)
  --refresh    ask for newer packages, instead of using those in the cache
USAGE
}

die()
{
    echo "build.sh: $*" >&2
    exit 1
}

while [ $# -gt 0 ]; do
    case $1 in
    --out=*) out=${1#*=} ;;
    --cache=*) cache=${1#*=} ;;
    --out | --cache)
        [ $# -gt 1 ] || die "$1 wants a directory"
        [ "$1" = --out ] && out=$2 || cache=$2
        shift
        ;;
    --refresh) refresh=yes ;;
    -h | --help)
        usage
        exit
        ;;
    *) die "unknown argument $1, try --help" ;;
    esac
    shift
done
[ -n "$out" ] || die "no --out=DIR given, try --help"

for tool in apt-get dpkg-deb cpio gcc readelf objcopy nm xz tar sha256sum; do
    command -v $tool > /dev/null ||
        die "$tool is missing: install apt, dpkg, cpio, gcc, libc6-dev, binutils, xz-utils and tar"
done

mkdir -p "$out/seg" "$cache"
out=$(cd "$out" && pwd)
cache=$(cd "$cache" && pwd)
debs=$cache/debs

. "$here/packages.sh"
. "$here/kernels.sh"
. "$here/segments.sh"

# One build at a time per cache
exec 9> "$cache/lock"
flock 9

[ $refresh = no ] && [ -e "$cache/manifest" ] || fetch

stamp=$({
    cat "$cache/manifest"
    gcc --version
    cd "$here" && find . -type f ! -name '*.rst' | LC_ALL=C sort |
        xargs sha256sum
} | sha256sum)
if [ "$stamp" = "$(cat "$out/stamp" 2> /dev/null)" ]; then
    exit
fi

work=$(mktemp -d "$out/work.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM HUP

unpack
mkdir "$work/out" "$work/out/seg"
make_segments

for flavour in '' -stock; do
    cat "$work/modules$flavour.img" "$work/base.img" \
        > "$work/out/initrd$flavour.img"
    cp "$unpacked/vmlinuz$flavour" "$unpacked/vmlinux$flavour" "$work/out/"
done

# Nobody who boots the guest meanwhile is to find half an image.
rm -f "$out/stamp"
mv "$work/out/seg"/* "$out/seg/"
rmdir "$work/out/seg"
mv "$work/out"/* "$out/"
echo "$stamp" > "$out/stamp"
echo "guest: built in $out"

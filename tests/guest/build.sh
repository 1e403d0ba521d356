#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Builds the test guest from Debian packages: see README.rst beside this file.
# Needs no root, and writes nowhere but to --out, --cache and a temporary
# directory.  Packages come from wherever the machine's own apt sources say.

set -eu

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

# ---------------------------------------------------------------- packages

# Packages whose programs go into the guest; libraries follow from these.
programs='busybox-static e2fsprogs redis-server nginx sqlite3 postgresql fio stress-ng'
programs="$programs lz4 zstd"
kernels='linux-image-cloud-amd64 linux-image-amd64'

# apt with state of its own: nothing is installed as far as it knows, and
# its lists are the machine's unless those will not do.
lists=
apt()
{
    command=$1
    shift
    LC_ALL=C "$command" \
        -o Dir::State::status="$cache/apt/status" \
        -o Dir::Cache="$cache/apt" \
        ${lists:+-o Dir::State::Lists="$lists"} \
        -o Debug::NoLocking=1 \
        -o APT::Architecture=amd64 \
        -o APT::Sandbox::User= \
        -o APT::Install-Recommends=0 \
        -o Acquire::Languages=none \
        "$@"
}

# The kernel's package name changes with each security update: the name of
# the image is what the meta-package depends on.
kernel_packages()
{
    for meta in $kernels; do
        apt apt-cache show --no-all-versions "$meta" 2> /dev/null |
            sed -n 's/^Depends: *\(linux-image-[^ ,]*\).*/\1/p' | head -n 1
    done
}

# Of all that the programs depend on, only programs and libraries are taken.
resolve()
{
    images=$(kernel_packages)
    [ "$(echo "$images" | wc -w)" = 2 ] || return 1
    closure=$(apt apt-get install -qq --print-uris $programs 2> "$cache/apt/log") ||
        return 1
    {
        echo "$images"
        echo "$closure" | sed "s/^'[^']*' \([^_]*\)_.*/\1/" |
            grep -E "^(lib|zlib1g|$(echo $programs | tr ' ' '|')|redis-tools|postgresql-|logsave)" |
            grep -Ev '^lib(perl|llvm|ssl-dev|json-perl|.*-perl$)|^libLLVM|postgresql-(common|client-common)'
    } | LC_ALL=C sort -u
}

download()
{
    names=$(resolve) && [ -n "$names" ] || return 1
    rm -rf "$cache/debs.new"
    mkdir -p "$cache/debs.new"
    files=$(cd "$cache/debs.new" &&
            apt apt-get download -qq --print-uris $names |
            sed "s/^'[^']*' \([^ ]*\) .*/\1/")
    for file in $files; do
        [ ! -e "$debs/$file" ] || ln "$debs/$file" "$cache/debs.new/"
    done
    # apt takes what is there already, if its hash is right
    (cd "$cache/debs.new" && apt apt-get download -qq $names) \
        > "$cache/apt/log" 2>&1 || return 1
    rm -rf "$debs"
    mv "$cache/debs.new" "$debs"
    (cd "$debs" && sha256sum ./*.deb) > "$cache/manifest.new"
    mv "$cache/manifest.new" "$cache/manifest"
}

fetch()
{
    mkdir -p "$cache/apt/archives/partial"
    : > "$cache/apt/status"
    echo "guest: downloading packages to $cache"
    download && return
    echo "guest: this machine's package lists will not do, reading newer ones"
    lists=$cache/apt/lists
    mkdir -p "$lists/partial"
    # A source of somebody else's may fail: what counts is the next step.
    apt apt-get update -qq > /dev/null 2>&1 || true
    download && return
    cat "$cache/apt/log" >&2
    die "cannot download the guest's packages: check this machine's apt sources and network"
}

# One build at a time per cache
exec 9> "$cache/lock"
flock 9

[ $refresh = no ] && [ -e "$cache/manifest" ] || fetch

stamp=$({
    cat "$cache/manifest"
    gcc --version
    cd "$here" && find build.sh root src -type f | LC_ALL=C sort | xargs sha256sum
} | sha256sum)
if [ "$stamp" = "$(cat "$out/stamp" 2> /dev/null)" ]; then
    exit
fi
rm -f "$out/stamp"

# ----------------------------------------------------------------- unpack

work=$(mktemp -d "$out/work.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM HUP

(cd "$debs" && sha256sum --quiet -c "$cache/manifest") > "$work/log" 2>&1 || {
    cat "$work/log" >&2
    die "$debs is damaged: delete it and $cache/manifest"
}
mkdir "$work/tree"
for deb in "$debs"/*.deb; do
    case ${deb##*/} in
    linux-*) ;;
    *)
        dpkg-deb --fsys-tarfile "$deb" |
            tar -x -C "$work/tree" --keep-directory-symlink --no-same-owner \
                --exclude=./usr/share/doc --exclude=./usr/share/man \
                --exclude=./usr/share/locale
        ;;
    esac
done

find "$work/tree" \( -name 'lib*.so*' -o -name 'ld-linux*.so*' \) \
    > "$work/libraries"

# ----------------------------------------------------------------- helpers

# stub LIBRARY COPY: a library with the same C symbols that does nothing.  It
# stands for big ones behind features that no test uses: Ceph, Gluster and NBD
# in fio, one class of stress-ng.
stub()
{
    nm -D --defined-only --with-symbol-versions "$1" |
        sed -n 's/^[0-9a-f]* \([TWRDBV]\) \([A-Za-z][A-Za-z0-9_]*\)\(@@.*\)\{0,1\}$/\1 \2 \3/p' |
        tr -d '@' | LC_ALL=C sort -r -k 2 | awk '!seen[$2]++' \
        > "$work/symbols"
    sed -n -e 's/^[TW] \([^ ]*\).*/void \1(void) { __builtin_trap(); }/p' \
        -e 's/^[RDBV] \([^ ]*\).*/const char \1[64] = { 0 };/p' \
        "$work/symbols" > "$work/stub.c"
    awk '$3 { s[$3] = s[$3] " " $2 ";" }
         END { for (v in s) print v " {" s[v] " };" }' \
        "$work/symbols" > "$work/stub.map"
    [ -s "$work/stub.map" ] || echo '{ *; };' > "$work/stub.map"
    gcc -shared -fPIC -fno-builtin -O1 -w -s -nostdlib \
        -Wl,-soname="${1##*/}" -Wl,--version-script="$work/stub.map" \
        -o "$2" "$work/stub.c"
}

# with_libraries DEST: names of programs on stdin; copies to DEST the
# libraries that they need and the base segment does not have.
with_libraries()
{
    dest=$1/usr/lib/x86_64-linux-gnu
    mkdir -p "$dest"
    while read -r elf; do
        readelf -d "$elf" 2> /dev/null |
            sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'
    done | sort -u > "$work/needed"
    : > "$work/added"
    while read -r library; do
        [ -e "$dest/$library" ] ||
            [ -e "$work/base/usr/lib/x86_64-linux-gnu/$library" ] && continue
        file=$(grep -m 1 "/$library\$" "$work/libraries") ||
            die "no package has $library, needed for ${1##*/}"
        case $library in
        librbd.so.* | librados.so.* | libgfapi.so.* | libnbd.so.* | \
            libIPSec_MB.so.*) stub "$file" "$dest/$library" ;;
        *) cp -L "$file" "$dest/$library" ;;
        esac
        echo "$dest/$library" >> "$work/added"
    done < "$work/needed"
    if [ -s "$work/added" ]; then
        cp "$work/added" "$work/next"
        with_libraries "$1" < "$work/next"
    fi
    rmdir "$dest" 2> /dev/null || true
}

# program DEST PATH...: copies programs of the tree into /usr/bin of DEST
program()
{
    to=$1
    shift
    mkdir -p "$to/usr/bin"
    for path; do
        cp -L "$work/tree/$path" "$to/usr/bin/"
        echo "$to/usr/bin/${path##*/}"
    done | with_libraries "$to"
}

# pack DIR IMAGE: one cpio segment, the same bytes for the same files
pack()
{
    find "$1" -exec touch -h -d @0 {} +
    (cd "$1" && find . -mindepth 1 | LC_ALL=C sort |
        cpio --quiet -o -H newc -R 0:0 --reproducible) > "$work/image"
    mkdir -p "$(dirname "$2")"
    mv "$work/image" "$2"
}

# ----------------------------------------------------------------- kernels

wanted='drivers/virtio/|drivers/net/(net_failover|virtio_net)\.ko'
wanted="$wanted|drivers/block/virtio_blk\\.ko|net/core/failover\\.ko|lib/"
wanted="$wanted|fs/(ext4/|jbd2/|mbcache)|crypto/crc32c"

# unpack_kernel PATTERN VMLINUZ DIR MODULES: from the package whose name
# matches PATTERN, the kernel and those modules whose path matches MODULES
unpack_kernel()
{
    deb=$(ls "$debs" | grep -E "$1") || die "no kernel package in $debs"
    dpkg-deb --fsys-tarfile "$debs/$deb" > "$work/kernel.tar"
    mkdir -p "$3"
    # Only what may be a module here; in other kernels it is built in.
    tar -t -f "$work/kernel.tar" |
        grep -E "/boot/vmlinuz-|/kernel/($4)" | grep -v '/$' > "$work/files"
    tar -x -C "$3" -f "$work/kernel.tar" --no-same-owner -T "$work/files"
    rm "$work/kernel.tar"
    find "$3" -name '*.ko.xz' -exec xz -d {} +
    find "$3" -name '*.ko' > "$3/modules"
    cp "$3"/boot/vmlinuz-* "$2"
}

# module DIR NAME LIST: copies a module and, first, what it depends on into
# LIST's segment; a name that this kernel has no module for is built in.
module()
{
    grep -qx "$2.ko" "$3" 2> /dev/null && return
    for ko in $(grep -E "/$(echo "$2" | sed 's/[-_]/[-_]/g')\.ko\$" "$1/modules"); do
        for need in $(objcopy -O binary -j .modinfo "$ko" /dev/stdout |
                      tr '\0' '\n' | sed -n 's/^depends=//p' | tr , ' '); do
            (module "$1" "$need" "$3")
        done
        cp "$ko" "$segment/usr/lib/modules/$2.ko"
        echo "$2.ko" >> "$3"
    done
}

# modules DIR SEGMENT [NAME...]: the modules that a guest needs at boot, in
# the order to load them; and those that it needs for ext4
modules()
{
    tree=$1
    segment=$2
    shift 2
    mkdir -p "$segment/usr/lib/modules" "$segment/etc/colony"
    for name in virtio virtio_pci virtio_mmio virtio_net virtio_blk "$@"; do
        module "$tree" $name "$segment/etc/colony/modules.boot"
    done
    for name in crc32c_generic libcrc32c ext4; do
        module "$tree" $name "$segment/etc/colony/modules.ext4"
    done
}

# from_tree PROGRAM ARG...: runs a program out of the packages
from_tree()
{
    run=$work/tree/usr/bin/$1
    shift
    "$(grep -m 1 '/ld-linux-x86-64' "$work/libraries")" --library-path \
        "$work/tree/lib/x86_64-linux-gnu:$work/tree/usr/lib/x86_64-linux-gnu" \
        "$run" "$@"
}

# uncompress VMLINUZ VMLINUX: the payload of a bzImage, whose place is in its
# setup header (Documentation/arch/x86/boot.rst).  QEMU enters it by PVH,
# which saves the guest from uncompressing itself.
field()
{
    od -An -v -t "u$3" -j "$2" -N "$3" "$1" | tr -d ' '
}

uncompress()
{
    setup=$(field "$1" $((0x1f1)) 1)
    start=$(((setup + 1) * 512 + $(field "$1" $((0x248)) 4)))
    length=$(field "$1" $((0x24c)) 4)
    magic=$(od -An -v -t x1 -j $start -N 4 "$1" | tr -d ' ')
    case $magic in
    fd377a58) with='xz -dc --single-stream' ;;
    1f8b*) with='gzip -dc' ;;
    28b52ffd) with='from_tree zstd -dc' ;;
    02214c18) with='from_tree lz4 -dcq' ;;
    *) die "$1: compressed in a way not known here ($magic)" ;;
    esac
    # The size of the result stands in four bytes behind it, which the
    # program takes for garbage: the length of what came out tells.
    tail -c +$((start + 1)) "$1" | head -c $((length - 4)) |
        $with > "$2" || true
    size=$(field "$1" $((start + length - 4)) 4)
    [ "$(stat -c %s "$2")" = "$size" ] || die "$1: cannot uncompress its payload"
}

for flavour in cloud stock; do
    case $flavour in
    cloud)
        unpack_kernel '^linux-image-.*-cloud-amd64_' \
            "$work/vmlinuz" "$work/cloud" "$wanted"
        uncompress "$work/vmlinuz" "$work/vmlinux"
        modules "$work/cloud" "$work/modules"
        ;;
    stock)
        unpack_kernel '^linux-image-[^_]*[0-9]-amd64_|^linux-image-[^_]*deb[0-9]*-amd64_' \
            "$work/vmlinuz-stock" "$work/stock" \
            "$wanted|drivers/net/ethernet/intel/e1000/"
        uncompress "$work/vmlinuz-stock" "$work/vmlinux-stock"
        modules "$work/stock" "$work/modules-stock" e1000
        ;;
    esac
done

# ---------------------------------------------------------------- segments

segments='nginx sqlite3 postgresql fio stress-ng'

base=$work/base
mkdir -p "$base/usr/bin" "$base/usr/lib/colony" "$base/usr/lib64" \
    "$base/etc" "$base/dev" "$base/proc" "$base/sys" "$base/tmp" \
    "$base/run" "$base/data" "$base/root" "$base/var"
ln -s usr/bin "$base/bin"
ln -s usr/bin "$base/sbin"
ln -s bin "$base/usr/sbin"
ln -s usr/lib "$base/lib"
ln -s usr/lib64 "$base/lib64"
ln -s ../run "$base/var/run"
ln -s ../lib/x86_64-linux-gnu/ld-linux-x86-64.so.2 "$base/usr/lib64/ld-linux-x86-64.so.2"
cp -R "$here/root/." "$base/"
echo $segments | tr ' ' '\n' > "$base/etc/colony/segments"

# A segment is what is under root/, the programs named here, and their
# libraries.
busybox=$(find "$work/tree" -name busybox -path '*bin/*')
cp "$busybox" "$base/usr/bin/"
for applet in $("$busybox" --list); do
    [ -e "$base/usr/bin/$applet" ] || ln -s busybox "$base/usr/bin/$applet"
done
mke2fs=$(find "$work/tree" -name mke2fs -path '*bin/*' | head -n 1)
cp "$mke2fs" "$base/usr/bin/mke2fs.real"
cp "$work/tree/usr/bin/redis-check-rdb" "$base/usr/bin/redis-server"
printf '%s\n' "$base/usr/bin/mke2fs.real" "$base/usr/bin/redis-server" |
    with_libraries "$base"
for library in ld-linux-x86-64.so.2 libgcc_s.so.1; do
    file=$(grep -m 1 "/$library\$" "$work/libraries")
    cp -L "$file" "$base/usr/lib/x86_64-linux-gnu/"
done

for helper in echo racey selfmod diskseq; do
    gcc -std=gnu11 -O2 -Wall -Wextra -Werror -static -pthread -s \
        -o "$base/usr/lib/colony/$helper" \
        "$here/src/$helper.c" "$here/src/serve.c"
done
gcc -std=gnu11 -O2 -Wall -Wextra -Werror -static -s \
    -o "$base/usr/lib/colony/tcpexec" "$here/src/tcpexec.c"

for segment in $segments; do
    mkdir -p "$work/$segment/etc/colony/services"
    mv "$base/etc/colony/services/$segment" \
        "$work/$segment/etc/colony/services/"
done

program "$work/nginx" usr/sbin/nginx
mv "$base/etc/colony/nginx.conf" "$work/nginx/etc/colony/"
www=$work/nginx/usr/share/colony/www
mkdir -p "$www"
echo 'Colony test guest' > "$www/index.html"
for kib in 1 10 100 1000; do
    yes 0123456789abcdef | head -c $((kib * 1024)) > "$www/${kib}k"
done

program "$work/sqlite3" usr/bin/sqlite3
program "$work/fio" usr/bin/fio
program "$work/stress-ng" usr/bin/stress-ng

pg=$(cd "$work/tree" && echo usr/lib/postgresql/*)
share=usr/share/postgresql/${pg##*/}
mkdir -p "$work/postgresql/$pg/bin" "$work/postgresql/$pg/lib" \
    "$work/postgresql/$share"
for name in bin/postgres bin/initdb lib/plpgsql.so lib/dict_snowball.so; do
    cp "$work/tree/$pg/$name" "$work/postgresql/$pg/$name"
    echo "$work/postgresql/$pg/$name"
done | with_libraries "$work/postgresql"
(cd "$work/tree/$share" && cp -R *.bki *.sql *.sample *.txt \
    timezonesets tsearch_data extension "$work/postgresql/$share/")

# While the kernel unpacks a segment, 256 MiB are too small for this one: it
# carries an archive, which the guest unpacks later.
mv "$work/postgresql" "$work/late"
mkdir -p "$work/postgresql/usr/share/colony/late" \
    "$work/postgresql/etc/colony"
mv "$work/late/etc/colony/services" "$work/postgresql/etc/colony/"
pack "$work/late" "$work/postgresql/usr/share/colony/late/postgresql"
gzip -6n "$work/postgresql/usr/share/colony/late/postgresql"

pack "$base" "$out/seg/base.img"
for flavour in '' -stock; do
    pack "$work/modules$flavour" "$work/modules.img"
    cat "$work/modules.img" "$out/seg/base.img" > "$work/initrd.img"
    mv "$work/initrd.img" "$out/initrd$flavour.img"
    mv "$work/vmlinuz$flavour" "$work/vmlinux$flavour" "$out/"
done
rm "$out/seg/base.img"
for segment in $segments; do
    pack "$work/$segment" "$out/seg/$segment.img"
done

echo "$stamp" > "$out/stamp"
echo "guest: built in $out"

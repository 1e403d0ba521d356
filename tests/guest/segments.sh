# SPDX-License-Identifier: GPL-2.0-or-later
#
# Part of build.sh: puts the segments together, in $work.

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
    while read -r need; do
        [ -e "$dest/$need" ] ||
            [ -e "$work/base/usr/lib/x86_64-linux-gnu/$need" ] && continue
        file=$(library "$need") ||
            die "no package has $need, needed for ${1##*/}"
        case $need in
        librbd.so.* | librados.so.* | libgfapi.so.* | libnbd.so.* | \
            libIPSec_MB.so.*) stub "$file" "$dest/$need" ;;
        *) cp -L "$file" "$dest/$need" ;;
        esac
        echo "$dest/$need" >> "$work/added"
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
        cp -L "$unpacked/tree/$path" "$to/usr/bin/"
        echo "$to/usr/bin/${path##*/}"
    done | with_libraries "$to"
}

# pack DIR IMAGE: one cpio segment, the same bytes for the same files
pack()
{
    chmod -R u+rwX,go+rX,go-w "$1"
    find "$1" -exec touch -h -d @0 {} +
    (cd "$1" && find . -mindepth 1 | LC_ALL=C sort |
        cpio --quiet -o -H newc -R 0:0 --reproducible) > "$2"
}

# compile NAME SOURCE...: a helper program of ours, into the base segment
compile()
{
    name=$1
    shift
    gcc -std=gnu11 -O2 -Wall -Wextra -Werror -static -pthread -s \
        -o "$work/base/usr/lib/colony/$name" "$@"
}

# skeleton DIR: folders that every system has, and busybox
skeleton()
{
    for name in usr/bin usr/lib/colony usr/lib64 etc dev proc sys tmp run \
        data root var; do
        mkdir -p "$1/$name"
    done
    ln -s usr/bin "$1/bin"
    ln -s usr/bin "$1/sbin"
    ln -s bin "$1/usr/sbin"
    ln -s usr/lib "$1/lib"
    ln -s usr/lib64 "$1/lib64"
    ln -s ../run "$1/var/run"
    from_packages busybox "$1"
    for applet in $("$1/usr/bin/busybox" --list); do
        [ -e "$1/usr/bin/$applet" ] || ln -s busybox "$1/usr/bin/$applet"
    done
}

# from_packages PROGRAM DIR: into /usr/bin of DIR, from whichever bin it is in
from_packages()
{
    cp --remove-destination \
        "$(find "$unpacked/tree" -path "*bin/$1" | head -n 1)" "$2/usr/bin/"
}

make_base()
{
    base=$work/base
    skeleton "$base"
    ln -s ../lib/x86_64-linux-gnu/ld-linux-x86-64.so.2 "$base/usr/lib64/"
    cp -R "$here/root/." "$base/"
    echo $segments | tr ' ' '\n' > "$base/etc/colony/segments"

    # busybox brings an mke2fs of its own, which knows no ext4
    from_packages mke2fs "$base"
    # One program, by several names
    cp "$unpacked/tree/usr/bin/redis-check-rdb" "$base/usr/bin/redis-server"
    ln -s redis-server "$base/usr/bin/redis-check-aof"
    printf '%s\n' "$base/usr/bin/mke2fs" "$base/usr/bin/redis-server" |
        with_libraries "$base"
    # Two that no program names: the loader, and what threads that end need
    for name in ld-linux-x86-64.so.2 libgcc_s.so.1; do
        cp -L "$(library $name)" "$base/usr/lib/x86_64-linux-gnu/"
    done

    for helper in echo racey selfmod diskseq sqlhttp; do
        compile $helper "$here/src/$helper.c" "$here/src/serve.c"
    done
    compile tcpexec "$here/src/tcpexec.c"
}

make_nginx()
{
    program "$work/nginx" usr/sbin/nginx
    mv "$work/base/etc/colony/nginx.conf" "$work/nginx/etc/colony/"
    www=$work/nginx/usr/share/colony/www
    mkdir -p "$www"
    echo 'Colony test guest' > "$www/index.html"
    for kib in 1 10 100 1000; do
        yes 0123456789abcde | head -c $((kib * 1024)) > "$www/${kib}k"
    done
}

make_postgresql()
{
    pg=$(cd "$unpacked/tree" && echo usr/lib/postgresql/*)
    share=usr/share/postgresql/${pg##*/}
    late=$work/late
    mkdir -p "$late/$pg/bin" "$late/$pg/lib" "$late/$share"
    for name in bin/postgres bin/initdb bin/pg_checksums bin/pgbench \
        lib/plpgsql.so lib/dict_snowball.so lib/amcheck.so; do
        cp "$unpacked/tree/$pg/$name" "$late/$pg/$name"
        echo "$late/$pg/$name"
    done | with_libraries "$late"
    (cd "$unpacked/tree/$share" && cp -R *.bki *.sql *.sample *.txt \
        timezonesets tsearch_data extension "$late/$share/")

    # While the kernel unpacks a segment, 256 MiB are too small for this one:
    # it carries an archive, which the guest unpacks later.
    pack "$late" "$work/late.img"
    mkdir -p "$work/postgresql/usr/share/colony/late"
    gzip -5nc "$work/late.img" \
        > "$work/postgresql/usr/share/colony/late/postgresql"
}

# A guest with software RDMA, to which its user adds /init and programs
make_rdma()
{
    skeleton "$work/rdma"
    cp -R "$unpacked/modules-rdma/." "$work/rdma/"
    pack "$work/rdma" "$work/out/initrd-rdma.img"
}

# base.img, modules*.img, out/seg/*.img and out/initrd-rdma.img
make_segments()
{
    segments='nginx sqlite3 postgresql fio stress-ng'
    make_base
    for segment in $segments; do
        mkdir -p "$work/$segment/etc/colony/services"
        mv "$work/base/etc/colony/services/$segment" \
            "$work/$segment/etc/colony/services/"
    done
    # Jobs and services that come with the segment of another one
    mv "$work/base/etc/colony/services/sqlhttp" \
        "$work/sqlite3/etc/colony/services/"
    mv "$work/base/etc/colony/services/pgbench" \
        "$work/postgresql/etc/colony/services/"
    make_nginx
    make_postgresql
    for name in sqlite3 fio stress-ng; do
        program "$work/$name" usr/bin/$name
    done

    for segment in $segments; do
        pack "$work/$segment" "$work/out/seg/$segment.img"
    done
    pack "$work/base" "$work/base.img"
    for flavour in '' -stock; do
        cp -R "$unpacked/modules$flavour" "$work/"
        pack "$work/modules$flavour" "$work/modules$flavour.img"
    done
    make_rdma
}

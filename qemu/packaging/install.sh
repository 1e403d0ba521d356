#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# install.sh install|uninstall
#
# What was built, and the files of this folder, below $DESTDIR: programs and
# manuals in $PREFIX, the agent in $OCFDIR, the place of configurations in
# /etc. Each file is named once, for both.

set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
. "$top/qemu/lib.sh"
cd "$top"

action=$1
prefix=${PREFIX:-/usr/local}
root=${DESTDIR:-}
agents=${OCFDIR:-$prefix/lib/ocf/resource.d}
case $action in
install | uninstall) ;;
*) die "install.sh: '$action' is neither install nor uninstall" ;;
esac

# put MODE SOURCE PLACE
put()
{
    if test "$action" = install; then
        install -D -m "$1" "$2" "$root$3"
    else
        rm -f "$root$3"
    fi
}

# put_text MODE SOURCE PLACE: a file that names programs by their paths
put_text()
{
    put "$@"
    test "$action" = uninstall || sed -i "s,/usr/local/,$prefix/,g" "$root$3"
}

# What is ours alone, also what is no longer made.
emulator=$prefix/libexec/colony
documents=$prefix/share/doc/colony
rm -rf "$root$emulator" "$root$documents"
rm -f "$root$prefix"/share/man/man[1-9]/colony*.[1-9] \
    "$root$prefix"/share/man/man[1-9]/apus*.[1-9]

for program in colony apusd apusctl; do
    put 755 "build/bin/$program" "$prefix/bin/$program"
done

# The emulator is not in PATH: the system may have a QEMU of its own. It looks
# for its firmware in the folder qemu-bundle beside it before anywhere else.
for program in qemu-system-x86_64 qemu-img qemu-storage-daemon; do
    put 755 "build/bin/$program" "$emulator/$program"
done
if test "$action" = install; then
    for folder in /usr/share/qemu /usr/share/seabios /usr/lib/ipxe/qemu; do
        link=$root$emulator/qemu-bundle$folder
        mkdir -p "${link%/*}"
        ln -sfn "$folder" "$link"
    done
fi

here=qemu/packaging
for unit in colony@.service apusd@.service; do
    put_text 644 "$here/$unit" "$prefix/lib/systemd/system/$unit"
done
for name in colony apusd; do
    put 644 "$here/$name.sysusers" "$prefix/lib/sysusers.d/$name.conf"
done
put 644 "$here/colony.tmpfiles" "$prefix/lib/tmpfiles.d/colony.conf"
put_text 755 "$here/colony.ocf" "$agents/colony/colony"
put 644 "$here/colony.bash" "$prefix/share/bash-completion/completions/colony"

put 644 COPYING "$documents/COPYING"
put 644 README "$documents/README"
if test "$action" = uninstall; then
    rm -rf "$root$documents"
    rmdir "$root$emulator" "$root$agents/colony" "$root/etc/colony" \
        2> /dev/null || :
    exit
fi

install -d "$root/etc/colony"
for example in "$here/apusd.conf" "$here"/examples/*.conf; do
    put 644 "$example" "$documents/examples/${example##*/}"
done
put 644 docs/grafana/colony.json "$documents/grafana/colony.json"
test ! -d build/docs ||
    cp -R --no-preserve=ownership,mode build/docs "$root$documents/html"
pages=$(ls build/man/*.[1-9] 2> /dev/null) ||
    note "note: there are no manual pages; make docs makes them"
for page in $pages; do
    put 644 "$page" "$prefix/share/man/man${page##*.}/${page##*/}"
done

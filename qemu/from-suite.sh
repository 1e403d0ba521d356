#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# from-suite.sh source|binary PACKAGE SUITE FOLDER
#
# Download a Debian package of a suite that need not be the host's own. Where
# from is taken from the machine's apt sources; apt checks the signatures with
# Debian's keyring. The lists and settings of the machine's apt stay as they
# are, and no special rights are needed. FOLDER appears when all is there.

set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
. "$top/qemu/lib.sh"

kind=$1 package=$2 suite=$3 folder=$4

keyring=
for ext in gpg pgp; do
    if test -r "/usr/share/keyrings/debian-archive-keyring.$ext"; then
        keyring=/usr/share/keyrings/debian-archive-keyring.$ext
        break
    fi
done
test -n "$keyring" || die \
    "Debian's archive keyring is missing (/usr/share/keyrings)" \
    "install the package debian-archive-keyring, or name a QEMU source" \
    "yourself: ./configure --qemu-src=DIR|TARBALL"

# Every place that offers component main, in both formats of apt's sources,
# best guess (the host's own suite, a path that ends in /debian) first.
# Guessing wrong is harmless: the signature would not be Debian's.
places()
{
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-none}")
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
        test ! -r "$file" || sed -n 's/^[[:space:]]*deb[[:space:]]//p' "$file" |
            sed 's/^[[:space:]]*\[[^]]*\]//'
    done > "$work/one-line"
    for file in /etc/apt/sources.list.d/*.sources; do
        test ! -r "$file" || { cat "$file"; echo; }
    done > "$work/stanzas"
    {
        awk '/ main( |$)/ { print $2, $1 }' "$work/one-line"
        awk '
            function flush(  u, s, n, m, i, j) {
                if (field["enabled"] != "no" &&
                    field["components"] ~ /(^| )main( |$)/) {
                    n = split(field["uris"], u, " ")
                    m = split(field["suites"], s, " ")
                    for (i = 1; i <= n; i++) {
                        for (j = 1; j <= m; j++) {
                            print s[j], u[i]
                        }
                    }
                }
                split("", field)
            }
            /^#/ { next }
            /^[[:space:]]*$/ { flush(); next }
            /^[[:space:]]/ { field[name] = field[name] $0; next }
            {
                name = tolower(substr($0, 1, index($0, ":") - 1))
                value = substr($0, index($0, ":") + 1)
                gsub(/[[:space:]]+/, " ", value)
                field[name] = value
            }
            END { flush() }' "$work/stanzas"
    } | awk -v codename="$codename" '
        {
            score = 2
            if ($1 == codename || $1 ~ /^(stable|testing|sid|unstable)$/) {
                score = 1
            }
            if ($2 !~ /\/debian\/?$/) {
                score += 2
            }
            print score, $2
        }' | sort -s -n -k 1,1 | awk '!seen[$2]++ { print $2 }'
}

mkdir -p "$(dirname "$folder")"
work=$(mktemp -d "$(dirname "$folder")/.fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
mkdir -p "$work/lists" "$work/cache" "$work/out"

private_apt()
{
    set -- apt-get -q \
        -o Dir::Etc::sourcelist="$work/sources.list" \
        -o Dir::Etc::sourceparts=- \
        -o Dir::State::Lists="$work/lists" \
        -o Dir::Cache="$work/cache" \
        -o Acquire::Languages=none "$@"
    # apt wants to drop root's rights, but cannot write here without them.
    test "$(id -u)" != 0 || set -- "$@" -o APT::Sandbox::User=root
    (cd "$work/out" && LC_ALL=C.UTF-8 "$@") >> "$work/log" 2>&1
}

case $kind in
source) type=deb-src get="source --download-only" ;;
binary) type=deb get=download ;;
*) die "from-suite.sh: '$kind' is neither source nor binary" ;;
esac

places > "$work/places"
test -s "$work/places" || die \
    "no Debian archive with component main in /etc/apt/sources.list or" \
    "/etc/apt/sources.list.d: from where is $package to come?" \
    "To build without: ./configure --qemu-src=DIR|TARBALL"

while read -r uri; do
    echo "$type [signed-by=$keyring] $uri $suite main" > "$work/sources.list"
    rm -rf "$work/lists" "$work/cache" && mkdir -p "$work/lists" "$work/cache"
    # "update" also succeeds when it could not reach the archive.
    if private_apt update && private_apt $get "$package/$suite"; then
        rm -rf "$folder"
        mv "$work/out" "$folder"
        exit 0
    fi
done < "$work/places"

cat "$work/log" >&2
die "cannot download package $package of Debian $suite; apt's messages are above" \
    "once it is in $folder, no network is needed;" \
    "a QEMU source of your own: ./configure --qemu-src=DIR|TARBALL"

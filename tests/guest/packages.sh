# SPDX-License-Identifier: GPL-2.0-or-later
#
# Part of build.sh: gets the guest's packages through apt, and unpacks them.
# Uses $cache and $refresh.

debs=$cache/debs

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

# Unpacks what is in $debs, once per set of packages, to $unpacked: the tree
# of all programs and libraries, a list of the libraries, and the kernels.
unpack()
{
    key=$(cat "$cache/manifest" "$here/packages.sh" "$here/kernels.sh" |
          sha256sum | cut -c 1-16)
    if [ "$key" = "$(cat "$cache/unpacked/key" 2> /dev/null)" ]; then
        unpacked=$cache/unpacked
        return
    fi
    (cd "$debs" && sha256sum --quiet -c "$cache/manifest") \
        > "$work/log" 2>&1 || {
        cat "$work/log" >&2
        die "$debs is damaged: delete it and $cache/manifest"
    }
    rm -rf "$cache/unpacked.new" "$cache/unpacked"
    unpacked=$cache/unpacked.new
    mkdir -p "$unpacked/tree"
    for deb in "$debs"/*.deb; do
        case ${deb##*/} in
        linux-*) ;;
        *)
            dpkg-deb --fsys-tarfile "$deb" |
                tar -x -C "$unpacked/tree" --keep-directory-symlink \
                    --no-same-owner --exclude=./usr/share/doc \
                    --exclude=./usr/share/man --exclude=./usr/share/locale
            ;;
        esac
    done
    (cd "$unpacked/tree" &&
        find . \( -name 'lib*.so*' -o -name 'ld-linux*.so*' \)) \
        > "$unpacked/libraries"
    unpack_kernels
    echo "$key" > "$unpacked/key"
    mv "$unpacked" "$cache/unpacked"
    unpacked=$cache/unpacked
}

# library NAME: where it is in the tree; fails if it is not
library()
{
    found=$(grep -m 1 "/$1\$" "$unpacked/libraries") || return
    echo "$unpacked/tree/$found"
}

# from_tree PROGRAM ARG...: runs a program out of the packages
from_tree()
{
    run=$unpacked/tree/usr/bin/$1
    shift
    "$(library ld-linux-x86-64.so.2)" --library-path \
        "$unpacked/tree/lib/x86_64-linux-gnu:$unpacked/tree/usr/lib/x86_64-linux-gnu" \
        "$run" "$@"
}

# SPDX-License-Identifier: GPL-2.0-or-later
# What the scripts in this directory share. To be sourced, with $top set to
# the top of the Colony tree.

die()
{
    printf 'error: %s\n' "$1" >&2
    shift
    for line; do
        printf '       %s\n' "$line" >&2
    done
    exit 1
}

note()
{
    printf '  %s\n' "$*"
}

# Downloads and the compiler cache: shared by all clones of this user.
cache=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/colony

# The system's Python, also where another one comes first in PATH: Debian's
# modules (pytest, Sphinx) belong to this one.
python=/usr/bin/python3

# version_at_least HAVE WANTED
version_at_least()
{
    test "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2"
}

# The folder to set PYTHONPATH to for a meson that QEMU accepts, or nothing
# when the system's own will do.
meson_path()
{
    if test -x /usr/bin/meson &&
        version_at_least "$(/usr/bin/meson --version)" 1.5; then
        return
    fi
    echo "$cache/meson/usr/lib/python3/dist-packages"
}

# SPDX-License-Identifier: GPL-2.0-or-later
#
# Completion of colony for bash. Verbs and options are what the program itself
# says that there are, nodes what the file on the command line names.

_colony_file()
{
    local word

    for word in "${COMP_WORDS[@]:2:COMP_CWORD-2}"; do
        if [[ $word != -* && -f $word ]]; then
            printf '%s\n' "$word"
            return
        fi
    done
}

_colony()
{
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}
    local verb=${COMP_WORDS[1]} words='' file

    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        words="--help --version $(colony --help 2> /dev/null |
            sed -n 's/^  \([a-z]\{1,\}\) .*/\1/p')"
    elif [[ $current == -* ]]; then
        words=$(colony "$verb" --help 2> /dev/null |
            grep -o -E -e '--[a-z][a-z-]*' | sort -u)
    else
        file=$(_colony_file)
        if [[ -n $file || $previous == --*of ]]; then
            words=$(sed -n 's/^\[node  *\([^] ]*\) *\].*/\1/p' "${file:-/dev/null}")
        else
            mapfile -t COMPREPLY < <(
                compgen -f -X '!*.conf' -- "$current"
                compgen -d -S / -- "$current"
                [[ -n $current ]] || compgen -G '/etc/colony/*.conf')
            compopt -o nospace -o filenames 2> /dev/null
            return
        fi
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}

complete -F _colony colony

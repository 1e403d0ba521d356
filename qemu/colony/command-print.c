/*
 * A command line for humans, and for their shell
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "command.h"

static gboolean is_plain(const char *word)
{
    for (const char *c = word; *c; c++) {
        if (!g_ascii_isalnum(*c) && !strchr("-_=+,.:/@%", *c)) {
            return FALSE;
        }
    }
    return *word != '\0';
}

/* A line for each option, with its value. */
char *colony_command_print(const char *const *argv)
{
    GString *text = g_string_new(NULL);

    for (unsigned i = 0; argv[i]; i++) {
        g_autofree char *quoted = is_plain(argv[i]) ? g_strdup(argv[i])
                                                    : g_shell_quote(argv[i]);

        if (i > 0) {
            g_string_append(text, argv[i][0] == '-' ? " \\\n    " : " ");
        }
        g_string_append(text, quoted);
    }
    g_string_append_c(text, '\n');
    return g_string_free(text, FALSE);
}

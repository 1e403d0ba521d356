/*
 * The options of a verb
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "verbs.h"

static gboolean complain(const char *what)
{
    g_printerr("%s: %s; see %s --help\n", g_get_prgname(), what,
               g_get_prgname());
    return FALSE;
}

gboolean colony_usage_parse(const ColonyUsage *usage, int *argc, char **argv)
{
    g_autoptr(GOptionContext) context = g_option_context_new(usage->arguments);
    g_autoptr(GError) error = NULL;

    g_option_context_set_summary(context, usage->text);
    if (usage->entries) {
        g_option_context_add_main_entries(context, usage->entries, NULL);
    }
    if (!g_option_context_parse(context, argc, &argv, &error)) {
        return complain(error->message);
    }
    if (*argc > 1 && !g_strcmp0(argv[1], "--")) {
        memmove(&argv[1], &argv[2], (*argc - 1) * sizeof(argv[0]));
        (*argc)--;
    }
    if (*argc - 1 < usage->min) {
        g_auto(GStrv) names = g_strsplit(usage->arguments, " ", -1);
        g_autofree char *text = g_strdup_printf("%s is missing",
                                                names[*argc - 1]);

        return complain(text);
    }
    if (usage->max >= 0 && *argc - 1 > usage->max) {
        g_autofree char *text = g_strdup_printf(
            "\"%s\" is too much", argv[usage->max + 1]);

        return complain(text);
    }
    return TRUE;
}

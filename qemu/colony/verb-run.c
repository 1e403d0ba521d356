/*
 * colony run: the supervisor of a node
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <stdlib.h>

#include "supervisor.h"
#include "verbs.h"

int colony_verb_run(int argc, char **argv)
{
    const ColonyUsage usage = {
        .arguments = "FILE NODE",
        .text = "Start and watch what NODE of the VM of FILE has to run, and "
                "protect the VM where it\nleads. Stays in the foreground until "
                "SIGTERM or SIGINT; the VM goes on then.",
        .min = 2,
        .max = 2,
    };
    g_autoptr(ColonyConfig) config = NULL;
    g_autoptr(GError) error = NULL;
    const ColonyNode *node;

    if (!colony_usage_parse(&usage, &argc, argv)) {
        return COLONY_EXIT_USAGE;
    }
    config = colony_config_load(argv[1], &error);
    if (!config) {
        g_printerr("%s\n", error->message);
        return COLONY_EXIT_FILE;
    }
    node = colony_config_node(config, argv[2]);
    if (!node) {
        g_printerr("%s: %s has no group [node %s]\n", g_get_prgname(),
                   argv[1], argv[2]);
        return COLONY_EXIT_USAGE;
    }
    if (colony_supervise(config, node, &error) != 0) {
        g_printerr("%s: %s\n", g_get_prgname(), error->message);
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}

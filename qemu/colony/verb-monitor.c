/*
 * colony monitor: a live screen
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <stdlib.h>
#include <unistd.h>

#include "monitor.h"
#include "operate.h"
#include "verbs.h"

int colony_verb_monitor(int argc, char **argv)
{
    static const ColonyUsage usage = {
        .arguments = "FILE",
        .text = "Watch the VM of FILE on the terminal, and steer it. q quits.",
        .min = 1,
        .max = 1,
    };
    g_autoptr(ColonyConfig) config = NULL;

    if (!colony_usage_parse(&usage, &argc, argv)) {
        return COLONY_EXIT_USAGE;
    }
    config = colony_operate_load(argv[1]);
    if (!config) {
        return COLONY_EXIT_FILE;
    }
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) {
        g_printerr("%s: this is no terminal; colony status tells it once, "
                   "colony events what happens\n", g_get_prgname());
        return COLONY_EXIT_FAILED;
    }
    colony_monitor_run(config);
    return EXIT_SUCCESS;
}

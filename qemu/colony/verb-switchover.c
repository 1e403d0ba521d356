/*
 * colony switchover: the secondary leads, without loss
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <stdlib.h>

#include "operate.h"
#include "verbs.h"

#define CALL_MS 30000

int colony_verb_switchover(int argc, char **argv)
{
    static const ColonyUsage usage = {
        .arguments = "FILE",
        .text = "Let the secondary lead, without loss, so that the leader's "
                "host can be maintained.\nExit status: 0 the other one leads.",
        .min = 1,
        .max = 1,
    };
    g_autoptr(ColonyConfig) config = NULL;
    const ColonyNode *leader;

    if (!colony_usage_parse(&usage, &argc, argv)) {
        return COLONY_EXIT_USAGE;
    }
    config = colony_operate_load(argv[1]);
    if (!config) {
        return COLONY_EXIT_FILE;
    }
    leader = colony_operate_leader(config);
    return leader && colony_operate_call(config, leader, "switchover", NULL,
                                         CALL_MS)
        ? EXIT_SUCCESS : COLONY_EXIT_FAILED;
}

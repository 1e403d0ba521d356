/*
 * colony reprotect: have the VM protected now
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <stdlib.h>

#include "operate.h"
#include "verbs.h"

#define CALL_MS 10000

static gboolean is_protected(const ColonyStatus *status,
                             void *opaque G_GNUC_UNUSED)
{
    return colony_status_health(status) == COLONY_PROTECTED;
}

static int reprotect(const ColonyConfig *config, const char *name,
                     int seconds)
{
    const ColonyNode *leader;
    JsonObject *arguments;

    if (name && !colony_operate_node(config, name)) {
        return COLONY_EXIT_USAGE;
    }
    leader = colony_operate_leader(config);
    if (!leader) {
        return COLONY_EXIT_FAILED;
    }
    arguments = json_object_new();
    if (name) {
        json_object_set_string_member(arguments, "node", name);
    }
    if (!colony_operate_call(config, leader, "reprotect", arguments,
                             CALL_MS)) {
        return COLONY_EXIT_FAILED;
    }
    return seconds <= 0 || colony_operate_wait(config, seconds, is_protected,
                                               NULL)
        ? EXIT_SUCCESS : COLONY_EXIT_FAILED;
}

int colony_verb_reprotect(int argc, char **argv)
{
    char *name = NULL;
    int seconds = 0;
    const GOptionEntry entries[] = {
        { "node", 0, 0, G_OPTION_ARG_STRING, &name,
          "the node that is to protect it", "NODE" },
        { "wait", 'w', 0, G_OPTION_ARG_INT, &seconds,
          "wait until it is protected", "SECONDS" },
        { NULL },
    };
    const ColonyUsage usage = {
        .arguments = "FILE",
        .text = "Have the VM protected now, and not at the next try. With "
                "policy reprotect=no nobody\nelse does it.\nExit status: 0 it "
                "was begun; with --wait: the VM is protected.",
        .min = 1,
        .max = 1,
        .entries = entries,
    };
    g_autoptr(ColonyConfig) config = NULL;
    g_autofree char *owned = NULL;

    if (!colony_usage_parse(&usage, &argc, argv)) {
        return COLONY_EXIT_USAGE;
    }
    owned = name;
    config = colony_operate_load(argv[1]);
    return config ? reprotect(config, name, seconds) : COLONY_EXIT_FILE;
}

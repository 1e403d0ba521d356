/*
 * colony failover: a replica goes on alone, because an operator says so
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <stdlib.h>

#include "ask.h"
#include "operate.h"
#include "status-internal.h"
#include "verbs.h"

#define CALL_MS 15000

/* The only one that answers and has the VM; NULL, and says so: not one. */
static const ColonyNode *find_node(const ColonyStatus *status)
{
    const ColonyNode *found = NULL;
    unsigned count = 0;

    for (unsigned i = 0; i < status->count; i++) {
        const StatusNode *node = &status->nodes[i];

        if (status_part_is(node, "leader") ||
            status_part_is(node, "secondary")) {
            found = node->node;
            count++;
        }
    }
    if (count != 1) {
        g_printerr("%s: %s has the VM; say which replica is to go on, with "
                   "--node\n", g_get_prgname(), count ? "more than one node" :
                   "no node that answers");
        return NULL;
    }
    return found;
}

static char *all_but(const ColonyStatus *status, const ColonyNode *node)
{
    GString *names = g_string_new(NULL);

    for (unsigned i = 0; i < status->count; i++) {
        if (status->nodes[i].node != node) {
            g_string_append_printf(names, "%s%s", names->len ? " and " : "",
                                   status->nodes[i].node->name);
        }
    }
    return g_string_free(names, FALSE);
}

static int failover(const ColonyConfig *config, const char *name,
                    gboolean force)
{
    g_autoptr(ColonyStatus) status = colony_ask(config, COLONY_ASK_MS);
    const ColonyNode *node = name ? colony_operate_node(config, name)
                                  : find_node(status);
    g_autofree char *others = NULL;
    JsonObject *arguments;

    if (!node) {
        return COLONY_EXIT_FAILED;
    }
    if (!force) {
        others = all_but(status, node);
        colony_operate_ask_force(
            "%s would go on alone, in a new generation: %s may never take part "
            "again with what they have; if one of them still runs, two VMs are "
            "heard; what clients were told since %s was last in step is lost",
            node->name, others, node->name);
        return COLONY_EXIT_FAILED;
    }
    arguments = json_object_new();
    json_object_set_boolean_member(arguments, "force", TRUE);
    return colony_operate_call(config, node, "failover", arguments, CALL_MS)
        ? EXIT_SUCCESS : COLONY_EXIT_FAILED;
}

int colony_verb_failover(int argc, char **argv)
{
    gboolean force = FALSE;
    char *name = NULL;
    const GOptionEntry entries[] = {
        { "node", 0, 0, G_OPTION_ARG_STRING, &name,
          "the replica that is to go on", "NODE" },
        { "force", 0, 0, G_OPTION_ARG_NONE, &force,
          "all other nodes are off for certain", NULL },
        { NULL },
    };
    const ColonyUsage usage = {
        .arguments = "FILE",
        .text = "Have a replica go on alone when the others are lost for good. "
                "As long as a\nmajority is there it decides by itself, and this "
                "is refused: see colony switchover.\nExit status: 0 it goes "
                "on.",
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
    return config ? failover(config, name, force) : COLONY_EXIT_FILE;
}

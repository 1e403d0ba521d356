/*
 * colony restart: a node's process is started again, as it is installed
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <stdlib.h>

#include "ask.h"
#include "line.h"
#include "operate.h"
#include "status-internal.h"
#include "verbs.h"

#define CALL_MS 10000

/* What the node was, and what is waited for. */
typedef struct Restart {
    const ColonyNode *node;
    gint64 pid; /* of the process that ends */
    gboolean protects; /* the VM was protected before */
} Restart;

static const StatusNode *find(const ColonyStatus *status,
                              const ColonyNode *node)
{
    return status_member(status, node->id);
}

static gint64 get_pid(const ColonyStatus *status, const ColonyNode *node)
{
    const StatusNode *known = find(status, node);

    return colony_json_int(known ? known->process : NULL, "pid", 0);
}

/* Another process is a member, and the VM is what it was. */
static gboolean is_done(const ColonyStatus *status, void *opaque)
{
    const Restart *restart = opaque;
    const StatusNode *known = find(status, restart->node);
    gint64 pid = get_pid(status, restart->node);

    return pid && pid != restart->pid && known->apus &&
           !colony_json_boolean(known->apus, "amnesiac", FALSE) &&
           (!restart->protects ||
            colony_status_health(status) == COLONY_PROTECTED);
}

/* One that may not go: without it, or while it is away, the VM would stop. */
static gboolean may_go(const ColonyStatus *status, const ColonyNode *node)
{
    const ColonyNode *secondary = colony_status_secondary(status);

    if (colony_status_health(status) == COLONY_PROTECTED) {
        if (node == secondary) {
            g_printerr("%s: %s is the secondary: %s is not protected until it "
                       "is back\n", g_get_prgname(), node->name,
                       status->config->name);
        }
        return TRUE;
    }
    colony_operate_ask_force("%s is not protected: without %s too it may stop",
                             status->config->name, node->name);
    return FALSE;
}

static int restart_node(const ColonyConfig *config, const ColonyNode *node,
                        gboolean force, int seconds)
{
    g_autoptr(ColonyStatus) status = colony_ask(config, COLONY_ASK_MS);
    Restart restart = {
        .node = node,
        .pid = get_pid(status, node),
        .protects = colony_status_health(status) == COLONY_PROTECTED,
    };
    JsonObject *arguments = NULL;

    if (node == colony_status_leader(status)) {
        g_printerr("%s: %s leads: let another one, with colony switchover, "
                   "which starts this one's QEMU again, too\n",
                   g_get_prgname(), node->name);
        return COLONY_EXIT_FAILED;
    }
    if (!force && !may_go(status, node)) {
        return COLONY_EXIT_FAILED;
    }
    if (force) {
        arguments = json_object_new();
        json_object_set_boolean_member(arguments, "force", TRUE);
    }
    if (!colony_operate_call(config, node, "restart", arguments, CALL_MS)) {
        return COLONY_EXIT_FAILED;
    }
    return seconds <= 0 || colony_operate_wait(config, seconds, is_done,
                                               &restart)
        ? EXIT_SUCCESS : COLONY_EXIT_FAILED;
}

int colony_verb_restart(int argc, char **argv)
{
    gboolean force = FALSE;
    int seconds = 0;
    const GOptionEntry entries[] = {
        { "wait", 'w', 0, G_OPTION_ARG_INT, &seconds,
          "wait until it is back, and the VM protected if it was", "SECONDS" },
        { "force", 0, 0, G_OPTION_ARG_NONE, &force,
          "even if the VM is not protected", NULL },
        { NULL },
    };
    const ColonyUsage usage = {
        .arguments = "FILE NODE",
        .text = "Start the QEMU or apusd of a node that does not lead again, "
                "as it is installed now.\nExit status: 0 it was begun; with "
                "--wait: it is back.",
        .min = 2,
        .max = 2,
        .entries = entries,
    };
    g_autoptr(ColonyConfig) config = NULL;
    const ColonyNode *node;

    if (!colony_usage_parse(&usage, &argc, argv)) {
        return COLONY_EXIT_USAGE;
    }
    config = colony_operate_load(argv[1]);
    if (!config) {
        return COLONY_EXIT_FILE;
    }
    node = colony_operate_node(config, argv[2]);
    return node ? restart_node(config, node, force, seconds)
                : COLONY_EXIT_USAGE;
}

/*
 * colony replace: another node in the place of one
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <stdlib.h>
#include <string.h>

#include "ask.h"
#include "operate.h"
#include "verbs.h"

#define CALL_MS 15000
#define NOBODY "none"

/* FALSE: there is no such node. NULL: nobody. */
static gboolean find(const ColonyConfig *config, const char *name,
                     const ColonyNode **node)
{
    *node = NULL;
    if (!strcmp(name, NOBODY)) {
        return TRUE;
    }
    *node = colony_operate_node(config, name);
    return *node != NULL;
}

/* By that a node knows that it joins a group, and does not found one. */
static gboolean is_one_more(const ColonyConfig *config)
{
    if (config->nodes->len % 2 == 0) {
        return TRUE;
    }
    g_printerr("%s: %s has %u nodes; with the new one, and the one that it "
               "replaces or that is lost, they have to be four or six: add one "
               "at a time\n", g_get_prgname(), config->path,
               config->nodes->len);
    return FALSE;
}

static gboolean is_meant(const ColonyConfig *config, const ColonyNode *old,
                         gboolean force)
{
    g_autoptr(ColonyStatus) status = NULL;

    if (force || !old) {
        return TRUE;
    }
    status = colony_ask(config, COLONY_ASK_MS);
    if (!colony_operate_is_alive(status, old)) {
        return TRUE;
    }
    colony_operate_ask_force(
        "%s is there and votes; once it is replaced, the state that it has of "
        "the group and of the disks is worth nothing, and it can come back "
        "only as a new member", old->name);
    return FALSE;
}

static int replace(const ColonyConfig *config, char **names, gboolean force)
{
    const ColonyNode *old, *new, *leader;
    JsonObject *arguments;

    if (!find(config, names[0], &old) || !find(config, names[1], &new)) {
        return COLONY_EXIT_USAGE;
    }
    if (old == new) {
        g_printerr("%s: OLD and NEW are the same\n", g_get_prgname());
        return COLONY_EXIT_USAGE;
    }
    if ((new && !is_one_more(config)) || !is_meant(config, old, force)) {
        return COLONY_EXIT_FAILED;
    }
    leader = colony_operate_leader(config);
    if (!leader) {
        return COLONY_EXIT_FAILED;
    }
    arguments = json_object_new();
    if (old) {
        json_object_set_string_member(arguments, "old", old->name);
    }
    if (new) {
        json_object_set_string_member(arguments, "new", new->name);
    }
    return colony_operate_call(config, leader, "replace", arguments, CALL_MS)
        ? EXIT_SUCCESS : COLONY_EXIT_FAILED;
}

int colony_verb_replace(int argc, char **argv)
{
    gboolean force = FALSE;
    const GOptionEntry entries[] = {
        { "force", 0, 0, G_OPTION_ARG_NONE, &force,
          "even if OLD is there and votes", NULL },
        { NULL },
    };
    const ColonyUsage usage = {
        .arguments = "FILE OLD NEW",
        .text = "Put node NEW in the place of OLD; both are in FILE. \"none\" "
                "for OLD only adds, for NEW\nonly removes.\nExit status: 0 it "
                "was begun; colony status tells when it is done.",
        .min = 3,
        .max = 3,
        .entries = entries,
    };
    g_autoptr(ColonyConfig) config = NULL;

    if (!colony_usage_parse(&usage, &argc, argv)) {
        return COLONY_EXIT_USAGE;
    }
    config = colony_operate_load(argv[1]);
    return config ? replace(config, argv + 2, force) : COLONY_EXIT_FILE;
}

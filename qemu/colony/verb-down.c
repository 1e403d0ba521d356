/*
 * colony down: end the VM
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <stdlib.h>

#include "ask.h"
#include "local.h"
#include "operate.h"
#include "verbs.h"

#define CALL_MS 10000
#define LOCAL_FORCE_S 5 /* what is not ended by then is killed */

static gboolean is_down(const ColonyStatus *status,
                        void *opaque G_GNUC_UNUSED)
{
    return colony_status_health(status) == COLONY_DOWN;
}

/* What only a majority can decide takes one. */
static gboolean can_power_off(const ColonyConfig *config)
{
    g_autoptr(ColonyStatus) status = colony_ask(config, COLONY_ASK_MS);

    if (!colony_operate_any_answers(status)) {
        return TRUE; /* the call says so of each; force would not help */
    }
    switch (colony_status_health(status)) {
    case COLONY_PROTECTED:
    case COLONY_UNPROTECTED:
    case COLONY_DOWN:
        return TRUE;
    default:
        colony_operate_ask_force(
            "the guest cannot be powered off in good order (%s); ending it at "
            "once loses its memory, and what it has not written to its disks",
            colony_status_why(status));
        return FALSE;
    }
}

static int down(const ColonyConfig *config, gboolean force, int seconds)
{
    JsonObject *arguments;
    unsigned failed;

    if (!force && !can_power_off(config)) {
        return COLONY_EXIT_FAILED;
    }
    arguments = json_object_new();
    json_object_set_boolean_member(arguments, "force", force);
    failed = colony_operate_call_all(config, NULL, "down", arguments, CALL_MS);
    if (failed == config->nodes->len) {
        return COLONY_EXIT_FAILED;
    }
    if (!colony_operate_wait(config, seconds, is_down, NULL)) {
        if (!force) {
            colony_operate_ask_force(
                "the guest was asked to power off, and has not (colony up %s "
                "takes that back); ending it at once loses its memory, and "
                "what it has not written to its disks", config->path);
        }
        return COLONY_EXIT_FAILED;
    }
    return failed ? COLONY_EXIT_FAILED : EXIT_SUCCESS;
}

static int end(const ColonyConfig *config)
{
    g_autoptr(GError) error = NULL;

    if (!colony_local_end(config, &error)) {
        g_printerr("%s: %s\n", g_get_prgname(), error->message);
        return COLONY_EXIT_FAILED;
    }
    return EXIT_SUCCESS;
}

/* What is ended by force may be as broken as it likes. */
static int down_local(const ColonyConfig *config, gboolean force, int seconds)
{
    int result = EXIT_SUCCESS;

    if (colony_local_is_busy(config)) {
        result = down(config, force, force ? MIN(seconds, LOCAL_FORCE_S)
                                           : seconds);
    }
    return result == EXIT_SUCCESS || force ? end(config) : result;
}

int colony_verb_down(int argc, char **argv)
{
    gboolean force = FALSE, local = FALSE;
    int seconds = 60;
    const GOptionEntry entries[] = {
        { "wait", 'w', 0, G_OPTION_ARG_INT, &seconds,
          "how long the guest may take to power off (60)", "SECONDS" },
        { "local", 'l', 0, G_OPTION_ARG_NONE, &local,
          "and take all that \"up --local\" has made off this host", NULL },
        { "force", 0, 0, G_OPTION_ARG_NONE, &force,
          "end it at once: its memory is lost, and what it has not written",
          NULL },
        { NULL },
    };
    const ColonyUsage usage = {
        .arguments = "FILE",
        .text = "Have the guest of FILE power off, and nothing run any more.\n"
                "Exit status: 0 it is off.",
        .min = 1,
        .max = 1,
        .entries = entries,
    };
    g_autoptr(ColonyConfig) config = NULL;

    if (!colony_usage_parse(&usage, &argc, argv)) {
        return COLONY_EXIT_USAGE;
    }
    config = colony_operate_load(argv[1]);
    if (!config) {
        return COLONY_EXIT_FILE;
    }
    return local ? down_local(config, force, MAX(seconds, 0))
                 : down(config, force, MAX(seconds, 0));
}

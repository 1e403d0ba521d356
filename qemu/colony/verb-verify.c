/*
 * colony verify: are both replicas the same?
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <stdio.h>
#include <stdlib.h>

#include "line.h"
#include "operate.h"
#include "status-internal.h"
#include "verbs.h"

#define CALL_MS 15000

static JsonObject *verified(const ColonyStatus *status,
                            const ColonyNode *leader)
{
    const StatusNode *node = status_member(status, leader->id);

    return colony_json_object(node->report, "verified");
}

typedef struct Result {
    const ColonyNode *leader;
    JsonObject *verified; /* NULL: another one leads now */
} Result;

static gboolean has_result(const ColonyStatus *status, void *opaque)
{
    Result *result = opaque;
    JsonObject *now = verified(status, result->leader);
    const char *state = colony_json_string(now, "state");
    const ColonyNode *leader = colony_status_leader(status);

    if (leader && leader != result->leader) {
        return TRUE;
    }
    if (!state || !g_strcmp0(state, "running")) {
        return FALSE;
    }
    result->verified = json_object_ref(now);
    return TRUE;
}

static int show(JsonObject *verified)
{
    const char *state = colony_json_string(verified, "state");
    const char *error = colony_json_string(verified, "error");
    gint64 differing = colony_json_int(verified, "differing-bytes", 0);
    g_autofree char *bytes = status_bytes(
        colony_json_int(verified, "bytes", 0));
    g_autofree char *different = status_bytes(differing);
    JsonArray *sections = colony_json_array(verified, "sections");

    if (!g_strcmp0(state, "failed")) {
        g_printerr("%s: not completed%s%s\n", g_get_prgname(),
                   error ? ": " : "", error ? error : "");
        return COLONY_EXIT_FAILED;
    }
    printf("memory: %" G_GINT64_FORMAT " pages compared, %" G_GINT64_FORMAT
           " differ\ndevices: %u differ\ndisks: %s compared, %s differ\n",
           colony_json_int(verified, "pages", 0),
           colony_json_int(verified, "differing", 0),
           sections ? json_array_get_length(sections) : 0, bytes, different);
    return g_strcmp0(state, "equal") ? COLONY_EXIT_FAILED : EXIT_SUCCESS;
}

static int verify(const ColonyConfig *config, int seconds)
{
    Result result = { .leader = colony_operate_leader(config) };
    int status;

    if (!result.leader ||
        !colony_operate_call(config, result.leader, "verify", NULL,
                             CALL_MS)) {
        return COLONY_EXIT_FAILED;
    }
    if (seconds <= 0) {
        return EXIT_SUCCESS;
    }
    if (!colony_operate_wait(config, seconds, has_result, &result)) {
        return COLONY_EXIT_FAILED;
    }
    if (!result.verified) {
        g_printerr("%s: the VM is not protected any more\n",
                   g_get_prgname());
        return COLONY_EXIT_FAILED;
    }
    status = show(result.verified);
    json_object_unref(result.verified);
    return status;
}

int colony_verb_verify(int argc, char **argv)
{
    int seconds = 3600;
    const GOptionEntry entries[] = {
        { "wait", 'w', 0, G_OPTION_ARG_INT, &seconds,
          "for the result (3600; 0: do not)", "SECONDS" },
        { NULL },
    };
    const ColonyUsage usage = {
        .arguments = "FILE",
        .text = "Compare memory, devices and disks of both replicas. The guest "
                "stands while its memory\nis compared, and runs while its "
                "disks are.\nExit status: 0 they are the same; 1 they differ, "
                "or it was not completed.",
        .min = 1,
        .max = 1,
        .entries = entries,
    };
    g_autoptr(ColonyConfig) config = NULL;

    if (!colony_usage_parse(&usage, &argc, argv)) {
        return COLONY_EXIT_USAGE;
    }
    config = colony_operate_load(argv[1]);
    return config ? verify(config, seconds) : COLONY_EXIT_FILE;
}

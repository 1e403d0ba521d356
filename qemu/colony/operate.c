/*
 * What the verbs that steer have in common
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "ask.h"
#include "control.h"
#include "line.h"
#include "operate.h"
#include "status-internal.h"
#include "text.h"

#define POLL_US (G_USEC_PER_SEC / 2)
#define FRESH_S 5 /* a supervisor knows its process by then */

/* What others say is shown without control characters. */
static void complain(const char *text)
{
    g_autofree char *clean = colony_text_clean(text);

    g_printerr("%s: %s\n", g_get_prgname(), clean);
}

ColonyConfig *colony_operate_load(const char *path)
{
    g_autoptr(GError) error = NULL;
    ColonyConfig *config = colony_config_load(path, &error);

    if (!config) {
        g_printerr("%s\n", error->message);
    }
    return config;
}

const ColonyNode *colony_operate_node(const ColonyConfig *config,
                                      const char *name)
{
    const ColonyNode *node = colony_config_node(config, name);

    if (!node) {
        g_printerr("%s: there is no [node %s] in %s\n", g_get_prgname(), name,
                   config->path);
    }
    return node;
}

/* A supervisor was just started, and does not know its process yet. */
static gboolean is_fresh(const ColonyStatus *status)
{
    for (unsigned i = 0; i < status->count; i++) {
        const StatusNode *node = &status->nodes[i];
        JsonObject *supervisor = colony_json_object(node->report,
                                                    "supervisor");

        if (node->report && !node->apus &&
            status_number(supervisor, "uptime", FRESH_S) < FRESH_S) {
            return TRUE;
        }
    }
    return FALSE;
}

const ColonyNode *colony_operate_leader(const ColonyConfig *config)
{
    gint64 end = g_get_monotonic_time() + FRESH_S * G_USEC_PER_SEC;
    g_autoptr(ColonyStatus) status = colony_ask(config, COLONY_ASK_MS);
    const ColonyNode *leader = colony_status_leader(status);

    while (!leader && is_fresh(status) && g_get_monotonic_time() < end) {
        g_usleep(POLL_US);
        colony_status_free(status);
        status = colony_ask(config, COLONY_ASK_MS);
        leader = colony_status_leader(status);
    }
    if (!leader) {
        g_autofree char *text = g_strdup_printf(
            "nobody leads %s: %s", config->name, colony_status_why(status));

        complain(text);
    }
    return leader;
}

gboolean colony_operate_call(const ColonyConfig *config,
                             const ColonyNode *node, const char *verb,
                             JsonObject *arguments, unsigned timeout_ms)
{
    g_autoptr(GError) error = NULL;
    JsonObject *result = colony_call(
        config, node, colony_ask_is_local(config, node), verb, arguments,
        timeout_ms, &error);

    if (!result) {
        g_autofree char *text = g_strdup_printf("%s: %s", node->name,
                                                error->message);

        complain(text);
        return FALSE;
    }
    json_object_unref(result);
    return TRUE;
}

static JsonObject *copy_arguments(JsonObject *arguments)
{
    g_autoptr(GList) names = json_object_get_members(arguments);
    JsonObject *copy = json_object_new();

    for (GList *name = names; name; name = name->next) {
        json_object_set_member(copy, name->data, json_node_copy(
            json_object_get_member(arguments, name->data)));
    }
    return copy;
}

unsigned colony_operate_call_all(const ColonyConfig *config,
                                 const ColonyStatus *but, const char *verb,
                                 JsonObject *arguments, unsigned timeout_ms)
{
    g_autoptr(JsonObject) owned = arguments ? arguments : json_object_new();
    unsigned failed = 0;

    for (guint i = 0; i < config->nodes->len; i++) {
        const ColonyNode *node = g_ptr_array_index(config->nodes, i);

        if (!but || but->nodes[i].report) {
            failed += !colony_operate_call(config, node, verb,
                                           copy_arguments(owned), timeout_ms);
        }
    }
    return failed;
}

void colony_operate_ask_force(const char *format, ...)
{
    g_autofree char *text = NULL, *whole = NULL;
    va_list arguments;

    va_start(arguments, format);
    text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    whole = g_strdup_printf("%s; --force does it all the same", text);
    complain(whole);
}

gboolean colony_operate_wait(const ColonyConfig *config, unsigned seconds,
                             ColonyOperateDone *is_done, void *opaque)
{
    gint64 end = g_get_monotonic_time() + (gint64)seconds * G_USEC_PER_SEC;

    for (;;) {
        g_autoptr(ColonyStatus) status = colony_ask(config, COLONY_ASK_MS);

        if (is_done(status, opaque)) {
            return TRUE;
        }
        if (g_get_monotonic_time() >= end) {
            g_autofree char *text = g_strdup_printf(
                "not within %u s: %s", seconds, colony_status_why(status) ?
                colony_status_why(status) : "it is protected");

            complain(text);
            return FALSE;
        }
        g_usleep(POLL_US);
    }
}

char *colony_operate_silent(const ColonyConfig *config,
                            const ColonyStatus *status)
{
    GString *names = g_string_new(NULL);

    for (guint i = 0; i < config->nodes->len; i++) {
        if (!status->nodes[i].report) {
            g_string_append_printf(names, "%s%s", names->len ? " and " : "",
                                   status->nodes[i].node->name);
        }
    }
    return g_string_free(names, FALSE);
}

gboolean colony_operate_answers(const ColonyStatus *status,
                                const ColonyNode *node)
{
    const StatusNode *known = status_member(status, node->id);

    return known && known->report;
}

gboolean colony_operate_any_answers(const ColonyStatus *status)
{
    for (unsigned i = 0; i < status->count; i++) {
        if (status->nodes[i].report) {
            return TRUE;
        }
    }
    return FALSE;
}

gboolean colony_operate_is_alive(const ColonyStatus *status,
                                 const ColonyNode *node)
{
    const StatusNode *known = status_member(status, node->id);

    return known && (known->apus || known->heard);
}

/*
 * colony events: what happens, as it happens
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <stdio.h>
#include <stdlib.h>

#include "ask.h"
#include "control.h"
#include "line.h"
#include "operate.h"
#include "status-internal.h"
#include "text.h"
#include "verbs.h"

#define RETRY_MS 1000

typedef struct Listener {
    const ColonyConfig *config;
    const ColonyNode *node;
    gboolean json;
    gboolean connected, told; /* whether it was said that it is not */
    ColonyWatch *watch;
} Listener;

/* --- one event ----------------------------------------------------------- */

static void print_json(JsonObject *event)
{
    g_autoptr(JsonNode) root = json_node_new(JSON_NODE_OBJECT);
    g_autofree char *text = NULL;

    json_node_set_object(root, event);
    text = json_to_string(root, FALSE);
    printf("%s\n", text);
}

static void append_value(JsonObject *object G_GNUC_UNUSED, const char *name,
                         JsonNode *value, gpointer opaque)
{
    GString *text = opaque;

    GType type = JSON_NODE_HOLDS_VALUE(value) ? json_node_get_value_type(value)
                                              : G_TYPE_NONE;

    if (type == G_TYPE_STRING) {
        g_string_append_printf(text, " %s=\"%s\"", name,
                               json_node_get_string(value));
    } else if (type == G_TYPE_DOUBLE) {
        g_string_append_printf(text, " %s=%.3f", name,
                               json_node_get_double(value));
    } else {
        g_autofree char *json = json_to_string(value, FALSE);

        g_string_append_printf(text, " %s=%s", name, json);
    }
}

static void print_text(JsonObject *event)
{
    double seconds = status_number(event, "time", 0);
    g_autoptr(GDateTime) utc = g_date_time_new_from_unix_utc(seconds);
    g_autofree char *clock = utc ? g_date_time_format(utc, "%F %T")
                                 : g_strdup("?");
    JsonObject *data = colony_json_object(event, "data");
    const char *node = colony_json_string(event, "node");
    const char *name = colony_json_string(event, "event");
    GString *text = g_string_new(NULL);
    g_autofree char *clean = NULL;

    g_string_printf(text, "%s.%03d %-8s %s", clock,
                    (int)((seconds - (gint64)seconds) * 1000),
                    node ? node : "?", name ? name : "?");
    if (data) {
        json_object_foreach_member(data, append_value, text);
    }
    clean = colony_text_clean(text->str);
    printf("%s\n", clean);
    g_string_free(text, TRUE);
}

static void print(const Listener *listener, JsonObject *event)
{
    if (listener->json) {
        print_json(event);
    } else {
        print_text(event);
    }
    fflush(stdout);
}

static void print_own(const Listener *listener, const char *name,
                      const char *reason)
{
    g_autoptr(JsonObject) event = json_object_new();
    JsonObject *data = json_object_new();

    if (reason) {
        json_object_set_string_member(data, "reason", reason);
    }
    json_object_set_string_member(event, "node", listener->node->name);
    json_object_set_double_member(event, "time", g_get_real_time() / 1e6);
    json_object_set_string_member(event, "event", name);
    json_object_set_object_member(event, "data", data);
    print(listener, event);
}

/* --- one node ------------------------------------------------------------ */

static gboolean listen_to(gpointer opaque);

/* @event: NULL: it listens from now on */
static void take(void *opaque, JsonObject *event)
{
    Listener *listener = opaque;

    if (!listener->connected) {
        listener->connected = TRUE;
        listener->told = FALSE;
        print_own(listener, "COLONY_CONNECTED", NULL);
    }
    if (event) {
        print(listener, event);
    }
}

static void closed(void *opaque, JsonObject *result G_GNUC_UNUSED,
                   const GError *error)
{
    Listener *listener = opaque;

    if (listener->connected || !listener->told) {
        print_own(listener, "COLONY_DISCONNECTED", error->message);
    }
    listener->connected = FALSE;
    listener->told = TRUE;
    g_clear_pointer(&listener->watch, colony_watch_free);
    g_timeout_add(RETRY_MS, listen_to, listener);
}

static gboolean listen_to(gpointer opaque)
{
    Listener *listener = opaque;

    listener->watch = colony_watch_new(
        listener->config, listener->node,
        colony_ask_is_local(listener->config, listener->node), take, closed,
        listener);
    return G_SOURCE_REMOVE;
}

/* Until it is killed. */
static void listen_to_all(const ColonyConfig *config, const ColonyNode *only,
                          gboolean json)
{
    g_autoptr(GMainLoop) loop = g_main_loop_new(NULL, FALSE);
    g_autofree Listener *listeners = g_new0(Listener, config->nodes->len);

    for (guint i = 0; i < config->nodes->len; i++) {
        listeners[i] = (Listener) {
            .config = config,
            .node = g_ptr_array_index(config->nodes, i),
            .json = json,
        };
        if (!only || only == listeners[i].node) {
            listen_to(&listeners[i]);
        }
    }
    g_main_loop_run(loop);
}

int colony_verb_events(int argc, char **argv)
{
    gboolean json = FALSE;
    char *name = NULL;
    const GOptionEntry entries[] = {
        { "json", 'j', 0, G_OPTION_ARG_NONE, &json,
          "a line of JSON for each: see colony-status in the manual", NULL },
        { "node", 0, 0, G_OPTION_ARG_STRING, &name, "only of NODE", "NODE" },
        { NULL },
    };
    const ColonyUsage usage = {
        .arguments = "FILE",
        .text = "Tell what happens on all nodes, as it happens, until it is "
                "interrupted.",
        .min = 1,
        .max = 1,
        .entries = entries,
    };
    g_autoptr(ColonyConfig) config = NULL;
    g_autofree char *owned = NULL;
    const ColonyNode *only = NULL;

    if (!colony_usage_parse(&usage, &argc, argv)) {
        return COLONY_EXIT_USAGE;
    }
    owned = name;
    config = colony_operate_load(argv[1]);
    if (!config) {
        return COLONY_EXIT_FILE;
    }
    if (name) {
        only = colony_operate_node(config, name);
        if (!only) {
            return COLONY_EXIT_USAGE;
        }
    }
    listen_to_all(config, only, json);
    return EXIT_SUCCESS;
}

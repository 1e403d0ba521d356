/*
 * What apusd reports, for people
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "show.h"

#include <inttypes.h>
#include <string.h>

/* --- values that may be missing ------------------------------------------ */

static JsonNode *get(JsonObject *object, const char *name, GType type)
{
    JsonNode *node = object ? json_object_get_member(object, name) : NULL;

    return node && json_node_get_value_type(node) == type ? node : NULL;
}

static int64_t number(JsonObject *object, const char *name)
{
    JsonNode *node = get(object, name, G_TYPE_INT64);

    return node ? json_node_get_int(node) : 0;
}

static gboolean flag(JsonObject *object, const char *name)
{
    JsonNode *node = get(object, name, G_TYPE_BOOLEAN);

    return node && json_node_get_boolean(node);
}

static const char *text(JsonObject *object, const char *name)
{
    JsonNode *node = get(object, name, G_TYPE_STRING);

    return node ? json_node_get_string(node) : "";
}

static JsonObject *object_of(JsonNode *node)
{
    return node && JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node)
                                                : NULL;
}

static JsonObject *part(JsonObject *object, const char *name)
{
    return object ? object_of(json_object_get_member(object, name)) : NULL;
}

static JsonArray *list(JsonObject *object, const char *name)
{
    JsonNode *node = object ? json_object_get_member(object, name) : NULL;

    return node && JSON_NODE_HOLDS_ARRAY(node) ? json_node_get_array(node)
                                               : NULL;
}

/* --- members ------------------------------------------------------------- */

static const char *connection_of(JsonObject *member)
{
    if (flag(member, "self")) {
        return "this one";
    }
    if (flag(member, "dead")) {
        return "dead";
    }
    if (!flag(member, "connected")) {
        return "none";
    }
    return flag(member, "suspected") ? "silent" : "up";
}

static const char *role_of(JsonObject *report, int64_t id)
{
    JsonObject *role = part(report, "role");

    if (id == number(report, "leader")) {
        return "leader";
    }
    if (id == number(role, "secondary")) {
        return "secondary";
    }
    return id == number(report, "leaving") ? "leaves" : "";
}

static void show_members(GString *out, JsonObject *report)
{
    JsonArray *members = list(report, "members");

    g_string_append_printf(out, "  %-6s  %-28s  %-7s  %-10s  %s\n", "member",
                           "address", "runs VM", "connection", "role");
    for (guint i = 0; members && i < json_array_get_length(members); i++) {
        JsonObject *member = object_of(json_array_get_element(members, i));
        int64_t id = number(member, "id");

        g_string_append_printf(out, "  %-6" PRId64 "  %-28s  %-7s  %-10s  %s\n",
                               id, text(member, "address"),
                               flag(member, "can-run") ? "yes" : "no",
                               connection_of(member), role_of(report, id));
    }
}

char *apusd_show_members(JsonNode *report)
{
    GString *out = g_string_new(NULL);

    show_members(out, object_of(report));
    return g_string_free(out, FALSE);
}

/* --- the whole ----------------------------------------------------------- */

static void show_head(GString *out, JsonObject *report)
{
    const char *state = text(report, "state");
    int64_t leader = number(report, "leader");

    g_string_append_printf(out, "%s: member %" PRId64, text(report, "name"),
                           number(report, "id"));
    if (strcmp(state, "follower") != 0) {
        g_string_append_printf(out, " is %s", state);
    } else if (leader) {
        g_string_append_printf(out, " follows member %" PRId64, leader);
    } else {
        g_string_append(out, " waits for a leader");
    }
    g_string_append_printf(out, " in term %" PRId64, number(report, "term"));
    if (number(report, "generation") > 1) {
        g_string_append_printf(out, ", generation %" PRId64,
                               number(report, "generation"));
    }
    g_string_append_c(out, '\n');
}

static void show_protection(GString *out, JsonObject *report)
{
    JsonObject *role = part(report, "role");

    if (flag(role, "stopped")) {
        g_string_append(out, "  VM      switched off\n");
    } else if (number(report, "leader") && number(role, "secondary")) {
        g_string_append_printf(out, "  VM      protected: member %" PRId64
                               " would take over\n",
                               number(role, "secondary"));
    } else {
        g_string_append(out, "  VM      not protected\n");
    }
}

static void show_log(GString *out, JsonObject *report)
{
    JsonObject *log = part(report, "log");

    g_string_append_printf(out, "  log     committed %" PRId64 " of %" PRId64
                           ", trimmed to %" PRId64 ", %.1f MiB free\n"
                           "  set up  durability %s, transport %s, tls %s\n",
                           number(log, "commit"), number(log, "last"),
                           number(log, "base"),
                           number(log, "room") / (double)(1 << 20),
                           text(report, "durability"),
                           text(report, "transport"), text(report, "tls"));
}

static void show_problems(GString *out, JsonObject *report)
{
    JsonArray *problems = list(report, "problems");

    for (guint i = 0; problems && i < json_array_get_length(problems); i++) {
        JsonNode *problem = json_array_get_element(problems, i);

        if (json_node_get_value_type(problem) == G_TYPE_STRING) {
            g_string_append_printf(out, "%s  ! %s\n", i ? "" : "\n",
                                   json_node_get_string(problem));
        }
    }
}

char *apusd_show_status(JsonNode *node)
{
    JsonObject *report = object_of(node);
    GString *out = g_string_new(NULL);

    show_head(out, report);
    show_protection(out, report);
    show_log(out, report);
    g_string_append_c(out, '\n');
    show_members(out, report);
    show_problems(out, report);
    return g_string_free(out, FALSE);
}

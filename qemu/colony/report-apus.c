/*
 * "apus" of a Report: what query-apus tells, or apusd, in one form
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "line.h"
#include "supervisor-internal.h"

static JsonNode *convert(const char *name, JsonNode *value);

/* Numbers that JSON readers may not have room for are hexadecimal. */
static JsonNode *as_hex(JsonNode *value)
{
    g_autofree char *text = g_strdup_printf(
        "%016" G_GINT64_MODIFIER "x", json_node_get_int(value));
    JsonNode *node = json_node_new(JSON_NODE_VALUE);

    json_node_set_string(node, text);
    return node;
}

static JsonObject *convert_object(JsonObject *object)
{
    JsonObject *copy = json_object_new();
    JsonObjectIter iter;
    const char *name;
    JsonNode *value;

    json_object_iter_init(&iter, object);
    while (json_object_iter_next(&iter, &name, &value)) {
        json_object_set_member(copy, name, convert(name, value));
    }
    return copy;
}

static JsonArray *convert_array(JsonArray *array)
{
    JsonArray *copy = json_array_new();

    for (guint i = 0; i < json_array_get_length(array); i++) {
        json_array_add_element(copy, convert(
            "", json_array_get_element(array, i)));
    }
    return copy;
}

static JsonNode *convert(const char *name, JsonNode *value)
{
    JsonNode *node;

    if (JSON_NODE_HOLDS_OBJECT(value)) {
        node = json_node_new(JSON_NODE_OBJECT);
        json_node_take_object(node,
                              convert_object(json_node_get_object(value)));
        return node;
    }
    if (JSON_NODE_HOLDS_ARRAY(value)) {
        node = json_node_new(JSON_NODE_ARRAY);
        json_node_take_array(node, convert_array(json_node_get_array(value)));
        return node;
    }
    if (!strcmp(name, "incarnation") && JSON_NODE_HOLDS_VALUE(value) &&
        json_node_get_value_type(value) == G_TYPE_INT64) {
        return as_hex(value);
    }
    return json_node_copy(value);
}

/* apusd has "silence-ms", and no entry of its own has connection or silence. */
static void adapt_member(JsonObject *member)
{
    gint64 silence = colony_json_int(member, "silence-ms", 0);
    static const char *const flags[] = { "suspected", "dead" };

    if (!json_object_has_member(member, "silence")) {
        json_object_set_int_member(member, "silence", silence * 1000000);
    }
    json_object_remove_member(member, "silence-ms");
    if (!json_object_has_member(member, "connected")) {
        json_object_set_boolean_member(
            member, "connected", colony_json_boolean(member, "self", FALSE));
    }
    for (size_t i = 0; i < G_N_ELEMENTS(flags); i++) {
        if (!json_object_has_member(member, flags[i])) {
            json_object_set_boolean_member(member, flags[i], FALSE);
        }
    }
}

static void copy_member(JsonObject *to, const char *name, JsonObject *from,
                        const char *as)
{
    JsonNode *value = from ? json_object_get_member(from, name) : NULL;

    if (value) {
        json_object_set_member(to, as, json_node_copy(value));
    }
}

static JsonObject *adapt_apusd(JsonObject *status, const ColonyNode *node)
{
    static const char *const same[] = {
        "program", "state", "generation", "term", "amnesiac", "changing", "members",
        "log", "counters",
    };
    JsonObject *role = colony_json_object(status, "role");
    JsonObject *object = json_object_new();
    gint64 leader = colony_json_int(role, "leader", 0);
    gint64 secondary = colony_json_int(role, "secondary", 0);
    JsonArray *members;

    copy_member(object, "name", status, "cluster");
    json_object_set_int_member(object, "member", node->id);
    json_object_set_string_member(object, "part", "witness");
    for (size_t i = 0; i < G_N_ELEMENTS(same); i++) {
        copy_member(object, same[i], status, same[i]);
    }
    copy_member(object, "stopped", role, "stopped");
    if (leader) {
        json_object_set_int_member(object, "leader", leader);
    }
    if (secondary) {
        json_object_set_int_member(object, "secondary", secondary);
    }
    members = colony_json_array(object, "members");
    for (guint i = 0; members && i < json_array_get_length(members); i++) {
        adapt_member(json_array_get_object_element(members, i));
    }
    return object;
}

void colony_report_add_apus(JsonObject *report, JsonNode *apus,
                            const ColonyNode *node)
{
    JsonObject *object;

    if (!apus || !JSON_NODE_HOLDS_OBJECT(apus)) {
        return;
    }
    object = convert_object(json_node_get_object(apus));
    if (!node->can_run) {
        json_object_set_object_member(report, "apus",
                                      adapt_apusd(object, node));
        json_object_unref(object);
    } else {
        json_object_set_object_member(report, "apus", object);
    }
}

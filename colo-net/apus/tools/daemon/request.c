/*
 * What can be asked of apusd: a JSON object, one line
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "request.h"

#include <string.h>

static const char *const commands[] = {
    [APUSD_STATUS] = "status",
    [APUSD_TRACE] = "trace",
    [APUSD_REPLACE] = "replace",
};

/* The value of @name, of @type; NULL if there is none, or another. */
static JsonNode *get(JsonObject *object, const char *name, GType type)
{
    JsonNode *node = json_object_get_member(object, name);

    return node && json_node_get_value_type(node) == type ? node : NULL;
}

static gboolean check_names(JsonObject *object, const char *const *known,
                            GError **errp)
{
    g_autoptr(GList) names = json_object_get_members(object);

    for (GList *name = names; name; name = name->next) {
        if (!g_strv_contains(known, name->data)) {
            return apus_refuse(errp, APUS_ERROR_CORRUPT, "\"%s\" is unknown "
                               "here", (char *)name->data);
        }
    }
    return TRUE;
}

static gboolean get_id(JsonObject *object, const char *name, ApusId *id,
                       GError **errp)
{
    JsonNode *node = get(object, name, G_TYPE_INT64);
    gint64 value = node ? json_node_get_int(node) : -1;

    if (value < 1 || value > G_MAXUINT16) {
        return apus_refuse(errp, APUS_ERROR_CORRUPT, "\"%s\" has to be a "
                           "number from 1 to %d", name, G_MAXUINT16);
    }
    *id = value;
    return TRUE;
}

static gboolean get_member(JsonNode *node, ApusMember *member, GError **errp)
{
    static const char *const known[] = { "id", "address", "can-run", NULL };
    JsonNode *address, *can_run;
    JsonObject *object;

    if (!JSON_NODE_HOLDS_OBJECT(node)) {
        return apus_refuse(errp, APUS_ERROR_CORRUPT, "\"new\" has to be an "
                           "object");
    }
    object = json_node_get_object(node);
    address = get(object, "address", G_TYPE_STRING);
    can_run = get(object, "can-run", G_TYPE_BOOLEAN);
    if (!check_names(object, known, errp) ||
        !get_id(object, "id", &member->id, errp)) {
        return FALSE;
    }
    if (!address ||
        g_strlcpy(member->address, json_node_get_string(address),
                  sizeof(member->address)) >= sizeof(member->address)) {
        return apus_refuse(errp, APUS_ERROR_CORRUPT, "\"address\" has to be "
                           "HOST:PORT, of at most %d characters",
                           APUS_MAX_ADDRESS - 1);
    }
    if (!can_run && json_object_has_member(object, "can-run")) {
        return apus_refuse(errp, APUS_ERROR_CORRUPT, "\"can-run\" has to be "
                           "true or false");
    }
    member->can_run = can_run && json_node_get_boolean(can_run);
    return TRUE;
}

static gboolean get_replace(JsonObject *object, ApusdRequest *request,
                            GError **errp)
{
    static const char *const known[] = { "command", "old", "new", NULL };

    if (!check_names(object, known, errp)) {
        return FALSE;
    }
    if (json_object_has_member(object, "old") &&
        !get_id(object, "old", &request->old, errp)) {
        return FALSE;
    }
    if (json_object_has_member(object, "new") &&
        !get_member(json_object_get_member(object, "new"),
                    &request->new_member, errp)) {
        return FALSE;
    }
    return request->old != APUS_NOBODY ||
           request->new_member.id != APUS_NOBODY ||
           apus_refuse(errp, APUS_ERROR_CORRUPT, "replace needs \"old\", "
                       "\"new\" or both");
}

static gboolean get_request(JsonObject *object, ApusdRequest *request,
                            GError **errp)
{
    static const char *const known[] = { "command", NULL };
    JsonNode *node = get(object, "command", G_TYPE_STRING);
    const char *name = node ? json_node_get_string(node) : "";

    for (unsigned i = 0; i < G_N_ELEMENTS(commands); i++) {
        if (!strcmp(commands[i], name)) {
            request->command = i;
            return i == APUSD_REPLACE ? get_replace(object, request, errp)
                                      : check_names(object, known, errp);
        }
    }
    return apus_refuse(errp, APUS_ERROR_CORRUPT, "\"command\" has to be one of "
                       "status, trace, replace");
}

gboolean apusd_request_parse(ApusdRequest *request, const char *text,
                             size_t size, GError **errp)
{
    g_autoptr(JsonParser) parser = json_parser_new();
    JsonNode *root;

    *request = (ApusdRequest) { .old = APUS_NOBODY };
    if (size > APUSD_REQUEST_MAX || !g_utf8_validate(text, size, NULL) ||
        !json_parser_load_from_data(parser, text, size, NULL)) {
        return apus_refuse(errp, APUS_ERROR_CORRUPT, "this is no JSON");
    }
    root = json_parser_get_root(parser);
    if (!root || !JSON_NODE_HOLDS_OBJECT(root)) {
        return apus_refuse(errp, APUS_ERROR_CORRUPT, "a request has to be a "
                           "JSON object");
    }
    return get_request(json_node_get_object(root), request, errp);
}

/* --- lines --------------------------------------------------------------- */

static char *line(JsonBuilder *builder)
{
    g_autoptr(JsonNode) root = json_builder_get_root(builder);
    g_autofree char *text = json_to_string(root, FALSE);

    return g_strconcat(text, "\n", NULL);
}

char *apusd_answer_return(JsonNode *value)
{
    g_autoptr(JsonBuilder) builder = json_builder_new();

    json_builder_begin_object(builder);
    json_builder_set_member_name(builder, "return");
    json_builder_add_value(builder, value);
    json_builder_end_object(builder);
    return line(builder);
}

char *apusd_answer_error(const GError *error)
{
    g_autoptr(JsonBuilder) builder = json_builder_new();

    json_builder_begin_object(builder);
    json_builder_set_member_name(builder, "error");
    json_builder_add_string_value(builder, error->message);
    json_builder_end_object(builder);
    return line(builder);
}

char *apusd_answer_event(const char *text, double time)
{
    g_autoptr(JsonBuilder) builder = json_builder_new();

    json_builder_begin_object(builder);
    json_builder_set_member_name(builder, "event");
    json_builder_add_string_value(builder, text);
    json_builder_set_member_name(builder, "time");
    json_builder_add_double_value(builder, time);
    json_builder_end_object(builder);
    return line(builder);
}

static void add_member(JsonBuilder *builder, const ApusMember *member)
{
    json_builder_set_member_name(builder, "new");
    json_builder_begin_object(builder);
    json_builder_set_member_name(builder, "id");
    json_builder_add_int_value(builder, member->id);
    json_builder_set_member_name(builder, "address");
    json_builder_add_string_value(builder, member->address);
    json_builder_set_member_name(builder, "can-run");
    json_builder_add_boolean_value(builder, member->can_run);
    json_builder_end_object(builder);
}

char *apusd_request_line(const ApusdRequest *request)
{
    g_autoptr(JsonBuilder) builder = json_builder_new();

    json_builder_begin_object(builder);
    json_builder_set_member_name(builder, "command");
    json_builder_add_string_value(builder, commands[request->command]);
    if (request->old != APUS_NOBODY) {
        json_builder_set_member_name(builder, "old");
        json_builder_add_int_value(builder, request->old);
    }
    if (request->new_member.id != APUS_NOBODY) {
        add_member(builder, &request->new_member);
    }
    json_builder_end_object(builder);
    return line(builder);
}

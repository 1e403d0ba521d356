/*
 * A status for programs: docs/reference/colony-status.rst
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "line.h"
#include "status-internal.h"

#define VERSION 1

static void set_string(JsonObject *object, const char *name, const char *text)
{
    if (text) {
        json_object_set_string_member(object, name, text);
    }
}

/* A member of @from, if it is there. */
static void copy(JsonObject *to, const char *name, JsonObject *from,
                 const char *from_name)
{
    JsonNode *node = from ? json_object_get_member(from, from_name) : NULL;

    if (node) {
        json_object_set_member(to, name, json_node_copy(node));
    }
}

static JsonArray *tasks(const ColonyStatus *status)
{
    JsonArray *array = json_array_new();

    for (unsigned i = 0; i < status->count; i++) {
        const StatusNode *node = &status->nodes[i];
        g_autofree char *text = status_task_text(status, node);

        if (text) {
            g_autoptr(GList) names = json_object_get_members(node->task);
            JsonObject *task = json_object_new();

            for (GList *name = names; name; name = name->next) {
                copy(task, name->data, node->task, name->data);
            }
            set_string(task, "node", node->node->name);
            set_string(task, "text", text);
            json_array_add_object_element(array, task);
        }
    }
    return array;
}

static JsonArray *warnings(const ColonyStatus *status)
{
    JsonArray *array = json_array_new();

    for (guint i = 0; i < status->warnings->len; i++) {
        const StatusWarning *warning = g_ptr_array_index(status->warnings, i);
        JsonObject *object = json_object_new();

        set_string(object, "code", warning->code);
        if (warning->node) {
            set_string(object, "node", warning->node->node->name);
        }
        set_string(object, "text", warning->text);
        json_array_add_object_element(array, object);
    }
    return array;
}

static JsonArray *nodes(const ColonyStatus *status)
{
    JsonArray *array = json_array_new();

    for (unsigned i = 0; i < status->count; i++) {
        const StatusNode *node = &status->nodes[i];
        JsonObject *object = json_object_new();

        set_string(object, "node", node->node->name);
        set_string(object, "host", node->node->host);
        json_object_set_boolean_member(object, "can-run",
                                       node->node->can_run);
        json_object_set_boolean_member(object, "answers",
                                       node->report != NULL);
        set_string(object, "role", status_role_name(node->role));
        set_string(object, "text", node->text);
        set_string(object, "error", node->error);
        if (node->report) {
            json_object_set_object_member(object, "report",
                                          json_object_ref(node->report));
        }
        json_array_add_object_element(array, object);
    }
    return array;
}

static void add_sync(const ColonyStatus *status, JsonObject *result)
{
    JsonObject *plover = status->leader ? colony_json_object(
        status->leader->report, "plover") : NULL;
    JsonObject *sent = colony_json_object(plover, "leader");

    copy(result, "generation", status->newest, "generation");
    copy(result, "term", status->newest, "term");
    if (sent) {
        copy(result, "epoch", plover, "epoch");
        copy(result, "last-sync", plover, "age");
        copy(result, "pause", sent, "pause");
    }
}

JsonObject *colony_status_json(const ColonyStatus *status)
{
    JsonObject *result = json_object_new();

    json_object_set_int_member(result, "version", VERSION);
    set_string(result, "vm", status->config->name);
    set_string(result, "file", status->config->path);
    json_object_set_double_member(result, "time", status->time / 1e6);
    set_string(result, "health", status_health_name(status->health));
    set_string(result, "why", status->why);
    set_string(result, "leader", status->leader ?
               status->leader->node->name : NULL);
    set_string(result, "secondary", status->secondary ?
               status->secondary->node->name : NULL);
    add_sync(status, result);
    json_object_set_array_member(result, "tasks", tasks(status));
    json_object_set_array_member(result, "warnings", warnings(status));
    json_object_set_array_member(result, "nodes", nodes(status));
    return result;
}

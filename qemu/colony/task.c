/*
 * What a supervisor is doing
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "supervisor-internal.h"

static void add_seconds(JsonObject *object, const char *name, gint64 us)
{
    json_object_set_double_member(object, name,
                                  MAX(us, 0) / (double)G_TIME_SPAN_SECOND);
}

JsonObject *colony_task_json(const ColonyTask *task)
{
    JsonObject *object = json_object_new();
    gint64 now = g_get_monotonic_time();

    if (!task->kind) {
        return object;
    }
    json_object_set_string_member(object, "kind", task->kind);
    if (task->peer) {
        json_object_set_string_member(object, "peer", task->peer->name);
    }
    add_seconds(object, "since", now - task->since);
    if (task->attempt) {
        json_object_set_int_member(object, "attempt", task->attempt);
    }
    if (task->next) {
        add_seconds(object, "next", task->next - now);
    }
    if (task->total) {
        json_object_set_int_member(object, "done", task->done);
        json_object_set_int_member(object, "total", task->total);
    }
    if (task->error) {
        json_object_set_string_member(object, "error", task->error);
    }
    if (task->force) {
        json_object_set_boolean_member(object, "force", TRUE);
    }
    return object;
}

void colony_task_error(ColonyTask *task, const char *error)
{
    if (g_strcmp0(task->error, error)) {
        g_free(task->error);
        task->error = g_strdup(error);
    }
}

void colony_task_set(ColonySupervisor *supervisor, ColonyTask *task,
                     const char *kind, const ColonyNode *peer)
{
    if (!g_strcmp0(task->kind, kind) && task->peer == peer) {
        return;
    }
    task->kind = kind;
    task->peer = peer;
    task->since = g_get_monotonic_time();
    task->next = 0;
    task->done = task->total = 0;
    task->force = FALSE;
    colony_supervisor_emit(supervisor, "COLONY_TASK", colony_task_json(task));
}

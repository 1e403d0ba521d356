/*
 * What one node knows: its Report, see docs/reference/colony-status.rst
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <unistd.h>

#include "../../colo-net/core/versions.h"
#include "report.h"
#include "situation.h"
#include "store.h"
#include "supervisor-internal.h"

static double seconds(gint64 us)
{
    return MAX(us, 0) / (double)G_TIME_SPAN_SECOND;
}

static JsonObject *report_supervisor(const ColonySupervisor *supervisor)
{
    JsonObject *object = json_object_new();

    json_object_set_int_member(object, "pid", getpid());
    json_object_set_double_member(
        object, "uptime", seconds(g_get_monotonic_time() - supervisor->began));
    json_object_set_string_member(object, "wanted",
                                  supervisor->record->wanted ? "up" : "down");
    return object;
}

static const char *process_state(const ColonySupervisor *supervisor)
{
    gint64 since = colony_machine_since(supervisor->machine);

    if (!colony_machine_is_running(supervisor->machine)) {
        return supervisor->end && supervisor->record->wanted ? "ended"
                                                             : "absent";
    }
    if (colony_supervisor_view(supervisor)->known) {
        return "running";
    }
    return g_get_real_time() - since < 10 * G_TIME_SPAN_SECOND ? "starting"
                                                               : "silent";
}

static JsonObject *report_process(const ColonySupervisor *supervisor)
{
    JsonObject *object = json_object_new();

    json_object_set_string_member(object, "kind", supervisor->node->can_run
                                                  ? "qemu" : "apusd");
    json_object_set_string_member(object, "state", process_state(supervisor));
    if (colony_machine_is_running(supervisor->machine)) {
        json_object_set_int_member(object, "pid",
                                   colony_machine_pid(supervisor->machine));
        json_object_set_double_member(
            object, "uptime",
            seconds(g_get_real_time() -
                    colony_machine_since(supervisor->machine)));
    }
    json_object_set_int_member(object, "ended", supervisor->ended);
    if (supervisor->end) {
        json_object_set_string_member(object, "error", supervisor->end);
    }
    return object;
}

/* Of several the one that goes before the others. */
static const ColonyTask *get_task(const ColonySupervisor *supervisor)
{
    const ColonyTask *tasks[] = {
        colony_protector_task(supervisor->protector),
        colony_preparer_task(supervisor->preparer),
        colony_verifier_task(supervisor->verifier),
        colony_starter_task(supervisor->starter),
    };

    for (size_t i = 0; i < G_N_ELEMENTS(tasks); i++) {
        if (tasks[i]->kind) {
            return tasks[i];
        }
    }
    return NULL;
}

/* A copy of an object, for members to be changed. */
static JsonObject *copy_object(JsonNode *node)
{
    JsonObject *copy = json_object_new();
    JsonObjectIter iter;
    const char *name;
    JsonNode *value;

    json_object_iter_init(&iter, json_node_get_object(node));
    while (json_object_iter_next(&iter, &name, &value)) {
        json_object_set_member(copy, name, json_node_copy(value));
    }
    return copy;
}

static void add_object(JsonObject *report, const char *name, JsonNode *node)
{
    if (node && JSON_NODE_HOLDS_OBJECT(node)) {
        json_object_set_object_member(report, name, copy_object(node));
    }
}

static void add_plover(JsonObject *report, ColonySupervisor *supervisor)
{
    const ColonyView *view = colony_supervisor_view(supervisor);
    gint64 age = g_get_monotonic_time() - supervisor->epoch_seen;

    if (!view->plover || !JSON_NODE_HOLDS_OBJECT(view->plover)) {
        return;
    }
    add_object(report, "plover", view->plover);
    json_object_set_double_member(
        json_object_get_object_member(report, "plover"), "age", seconds(age));
}

static void add_process_parts(JsonObject *report,
                              ColonySupervisor *supervisor)
{
    const ColonyView *view = colony_supervisor_view(supervisor);

    if (!view->known) {
        return;
    }
    add_object(report, "guest", view->status);
    colony_report_add_apus(report, view->apus, supervisor->node);
    add_plover(report, supervisor);
    if (view->gannet && JSON_NODE_HOLDS_ARRAY(view->gannet)) {
        json_object_set_member(report, "gannet", json_node_copy(view->gannet));
    }
}

static gboolean has_guest(const ColonySupervisor *supervisor)
{
    const ColonyView *view = colony_supervisor_view(supervisor);

    return view->part == COLONY_PART_LEADER ||
           view->part == COLONY_PART_SECONDARY;
}

static JsonObject *report_store(const ColonySupervisor *supervisor)
{
    const ColonyRecord *record = supervisor->record;
    JsonObject *object = json_object_new();
    JsonArray *disks = json_array_new();
    ColonyStored stored = colony_store_read(supervisor->config,
                                            supervisor->node, disks);

    json_object_set_boolean_member(object, "founded", record->generation > 0);
    json_object_set_int_member(object, "generation",
                               MAX(record->generation, stored.generation));
    json_object_set_boolean_member(object, "off", record->off);
    json_object_set_array_member(object, "disks", disks);
    return object;
}

static void add_warnings(JsonObject *report,
                         const ColonySupervisor *supervisor)
{
    JsonArray *warnings = json_array_new();

    if (supervisor->warning) {
        json_array_add_string_element(warnings, supervisor->warning);
    }
    json_object_set_array_member(report, "warnings", warnings);
}

JsonObject *colony_report_new(ColonySupervisor *supervisor)
{
    JsonObject *report = json_object_new();
    const ColonyTask *task = get_task(supervisor);
    JsonObject *verified = colony_verifier_json(supervisor->verifier);
    g_autofree char *digest = g_strdup_printf(
        "%016" G_GINT64_MODIFIER "x",
        colony_config_digest(supervisor->config));

    json_object_set_int_member(report, "version", 1);
    json_object_set_string_member(report, "program", colony_version);
    json_object_set_string_member(report, "vm", supervisor->config->name);
    json_object_set_string_member(report, "node", supervisor->node->name);
    json_object_set_int_member(report, "member", supervisor->node->id);
    json_object_set_string_member(report, "config", digest);
    json_object_set_double_member(report, "time",
                                  seconds(g_get_real_time()));
    json_object_set_double_member(
        report, "age", seconds(g_get_monotonic_time() - supervisor->looked));
    json_object_set_object_member(report, "supervisor",
                                  report_supervisor(supervisor));
    json_object_set_object_member(report, "process",
                                  report_process(supervisor));
    json_object_set_object_member(report, "start",
                                  colony_situation_json(supervisor));
    if (task) {
        json_object_set_object_member(report, "task", colony_task_json(task));
    }
    if (verified) {
        json_object_set_object_member(report, "verified", verified);
    }
    if (!has_guest(supervisor)) {
        json_object_set_object_member(report, "store",
                                      report_store(supervisor));
    }
    add_process_parts(report, supervisor);
    add_warnings(report, supervisor);
    return report;
}

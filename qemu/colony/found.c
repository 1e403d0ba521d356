/*
 * A group is founded
 *
 * Whoever founds tells all others first, each of which ends its process and
 * notes the founding, then does so itself; and the node where the VM boots
 * last. So that cannot boot before all have let go of what was before.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "line.h"
#include "start-internal.h"

#define FOUND_MS 20000 /* for another node to be ready for it */

void colony_founding_clear(ColonyFounding *founding)
{
    g_free(founding->id);
    g_free(founding->place);
    g_strfreev(founding->absent);
    *founding = (ColonyFounding) { 0 };
}

gboolean colony_founding_is_busy(const ColonyStarter *starter)
{
    return starter->found.generation || starter->adopted.generation;
}

/* --- this node belongs to one --------------------------------------------- */

static void tell_boot(ColonyStarter *starter);
static void end(ColonyStarter *starter, const char *why);

static void answer(ColonyStarter *starter, const GError *error)
{
    ColonyRequest *request = g_steal_pointer(&starter->request);

    if (request && error) {
        colony_request_fail(request, error);
    } else if (request) {
        colony_request_return(request, NULL);
    }
}

/* The process of before is gone. */
static void adopt(ColonyStarter *starter)
{
    ColonySupervisor *supervisor = starter->supervisor;
    ColonyFounding founding = starter->adopted;
    gboolean own = starter->found.generation != 0; /* and there is more to do */
    g_autoptr(GError) error = NULL;

    starter->adopted = (ColonyFounding) { 0 };
    starter->insist = (ColonyInsist) { .disk_of = -1 };
    colony_record_found(supervisor->record, founding.generation, founding.id,
                        founding.place, founding.disks,
                        (const char *const *)founding.absent, &error);
    answer(starter, error);
    starter->failures = 0;
    starter->next = 0;
    if (error && own) {
        end(starter, error->message);
    } else if (error) {
        colony_starter_back_off(starter, error->message);
    } else if (own) {
        tell_boot(starter);
    }
    colony_founding_clear(&founding);
    colony_supervisor_wake(supervisor);
}

void colony_founding_look(ColonyStarter *starter)
{
    if (starter->adopted.generation &&
        !colony_machine_is_running(starter->supervisor->machine)) {
        adopt(starter);
    }
}

/* @founding: taken over */
static void begin_adoption(ColonyStarter *starter, ColonyFounding founding,
                           ColonyRequest *request)
{
    starter->adopted = founding;
    starter->request = request;
    if (colony_machine_is_running(starter->supervisor->machine)) {
        colony_starter_renew(starter);
    } else {
        adopt(starter);
    }
}

/* It becomes a part of the group's name. */
static gboolean is_id(const char *id)
{
    return id && *id && strlen(id) <= 8 &&
           strspn(id, "0123456789abcdef") == strlen(id);
}

/* As "start" of a Report, or a request, has it. FALSE: something is wrong. */
static gboolean parse(const ColonySupervisor *supervisor, JsonObject *object,
                      const char *place_member, const char *disks_member,
                      ColonyFounding *founding)
{
    gint64 generation = colony_json_int(object, "generation", 0);
    const char *id = colony_json_string(object, "id");
    const char *place = colony_json_string(object, place_member);

    if (!is_id(id) || !place || !*place || generation <= 0) {
        return FALSE;
    }
    *founding = (ColonyFounding) {
        .generation = generation,
        .id = g_strdup(id),
        .place = g_strdup(place),
        .boot = colony_config_node(supervisor->config, place),
        .disks = MAX(colony_json_int(object, disks_member, G_MAXINT64), 0),
    };
    return TRUE;
}

void colony_founding_join(ColonyStarter *starter, const ColonyNode *node)
{
    ColonyFounding founding;
    JsonObject *start = colony_json_object(
        colony_peers_get(starter->supervisor->peers, node)->report, "start");

    if (parse(starter->supervisor, start, "boot", "boot-disks", &founding)) {
        begin_adoption(starter, founding, NULL);
    }
}

static gboolean has_vm(const ColonySupervisor *supervisor)
{
    ColonyProcess process = colony_situation_process(supervisor);

    return process == COLONY_PROCESS_VM || process == COLONY_PROCESS_BOOTS;
}

void colony_starter_found(ColonyStarter *starter, ColonyRequest *request,
                          JsonObject *arguments)
{
    ColonySupervisor *supervisor = starter->supervisor;
    ColonyFounding founding = { 0 };
    const char *why = NULL;

    if (!parse(supervisor, arguments, "leader", "disks", &founding) ||
        !founding.boot) {
        colony_founding_clear(&founding);
        colony_starter_refuse(request, COLONY_CONTROL_ERROR_FAILED,
                              "found: generation, id or leader is missing or "
                              "wrong");
        return;
    }
    if (founding.generation <= supervisor->record->generation) {
        why = "the group was founded again meanwhile";
    } else if (colony_founding_is_busy(starter) || starter->launching) {
        why = "another founding is under way";
    } else if (has_vm(supervisor)) {
        why = "the VM may be running here";
    }
    if (why) {
        colony_founding_clear(&founding);
        colony_starter_refuse(request, COLONY_CONTROL_ERROR_REFUSED, why);
    } else {
        begin_adoption(starter, founding, request);
    }
}

/* --- this node begins one ------------------------------------------------- */

static void end(ColonyStarter *starter, const char *why)
{
    colony_founding_clear(&starter->found);
    g_clear_pointer(&starter->refused, g_free);
    starter->insist = (ColonyInsist) { .disk_of = -1 };
    if (why) {
        colony_starter_back_off(starter, why);
    }
}

static void ask_to_found(ColonyStarter *starter, const ColonyNode *node,
                         ColonyCallDone *done)
{
    const ColonyFounding *founding = &starter->found;
    JsonObject *arguments = json_object_new();

    json_object_set_int_member(arguments, "generation", founding->generation);
    json_object_set_string_member(arguments, "id", founding->id);
    json_object_set_string_member(arguments, "leader", founding->boot->name);
    json_object_set_int_member(arguments, "disks", founding->disks);
    colony_call_async(starter->supervisor->config, node, FALSE, "found",
                      arguments, FOUND_MS, done, starter);
}

static void on_boot_answer(void *opaque, JsonObject *result G_GNUC_UNUSED,
                           const GError *error)
{
    end(opaque, error ? error->message : NULL);
}

/* All others have let go of the group of before. */
static void tell_boot(ColonyStarter *starter)
{
    ask_to_found(starter, starter->found.boot, on_boot_answer);
}

static void found_here(ColonyStarter *starter)
{
    ColonyFounding founding = starter->found;

    founding.id = g_strdup(founding.id);
    founding.place = g_strdup(founding.place);
    founding.absent = g_strdupv(founding.absent);
    if (founding.boot == starter->supervisor->node) {
        end(starter, NULL);
    }
    begin_adoption(starter, founding, NULL);
}

static void on_answer(void *opaque, JsonObject *result G_GNUC_UNUSED,
                      const GError *error)
{
    ColonyStarter *starter = opaque;
    g_autofree char *refused = NULL;

    if (error && !starter->refused) {
        starter->refused = g_strdup(error->message);
    }
    if (--starter->left) {
        return;
    }
    if (starter->refused) {
        refused = g_steal_pointer(&starter->refused);
        end(starter, refused);
    } else {
        found_here(starter);
    }
}

void colony_founding_begin(ColonyStarter *starter,
                           const ColonyDecision *decision)
{
    ColonySupervisor *supervisor = starter->supervisor;
    GPtrArray *nodes = supervisor->config->nodes;
    const ColonyNode *boot = g_ptr_array_index(nodes, decision->node);
    g_autoptr(GStrvBuilder) absent = g_strv_builder_new();

    if (colony_starter_must_wait(starter)) {
        return;
    }
    colony_task_set(supervisor, &starter->task, "start", boot);
    starter->found = (ColonyFounding) {
        .generation = decision->generation,
        .id = g_strdup_printf("%08x", g_random_int()),
        .place = g_strdup(boot->name),
        .boot = boot,
        .disks = decision->disks,
    };
    starter->left = 1;
    for (guint i = 0; i < nodes->len; i++) {
        const ColonyNode *node = g_ptr_array_index(nodes, i);

        if (node == supervisor->node) {
            continue;
        }
        if (!colony_peers_get(supervisor->peers, node)->report) {
            g_strv_builder_add(absent, node->name);
        } else if (node != boot) {
            starter->left++;
            ask_to_found(starter, node, on_answer);
        }
    }
    starter->found.absent = g_strv_builder_end(absent);
    on_answer(starter, NULL, NULL);
}

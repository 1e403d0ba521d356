/*
 * A node gets ready to take the leader's VM
 *
 * That works once in the life of a QEMU: one that was prepared before, and has
 * not got the VM, is replaced by a new one first.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "command.h"
#include "line.h"
#include "sequence.h"
#include "supervisor-internal.h"

#define COMMAND_MS 5000
#define READY_US (25 * G_TIME_SPAN_SECOND) /* the leader waits a bit longer */

struct ColonyPreparer {
    ColonySupervisor *supervisor;
    ColonyTask task;
    ColonyRequest *request; /* not answered yet, or NULL */
    const ColonyNode *leader;
    gint64 end; /* of its patience, monotonic */
    pid_t prepared; /* the process that it was done to; 0: none */
    gboolean busy; /* the commands are under way */
};

static void answer(ColonyPreparer *preparer, const char *why)
{
    g_autoptr(GError) error = NULL;

    if (why) {
        error = g_error_new_literal(COLONY_CONTROL_ERROR,
                                    COLONY_CONTROL_ERROR_FAILED, why);
        colony_request_fail(preparer->request, error);
        colony_task_set(preparer->supervisor, &preparer->task, NULL, NULL);
    } else {
        colony_request_return(preparer->request, NULL);
    }
    preparer->request = NULL;
}

static void on_done(void *opaque, const GError *error)
{
    ColonyPreparer *preparer = opaque;

    preparer->busy = FALSE;
    if (!preparer->request) {
        return;
    }
    if (error) {
        colony_starter_renew(preparer->supervisor->starter);
    }
    answer(preparer, error ? error->message : NULL);
}

static void begin(ColonyPreparer *preparer)
{
    ColonySupervisor *supervisor = preparer->supervisor;
    ColonyQmp *qmp = colony_machine_qmp(supervisor->machine);

    if (!qmp || !colony_starter_is_idle(supervisor->starter)) {
        return;
    }
    if (preparer->prepared == colony_machine_pid(supervisor->machine)) {
        colony_starter_renew(supervisor->starter);
        return;
    }
    preparer->busy = TRUE;
    preparer->prepared = colony_machine_pid(supervisor->machine);
    colony_sequence_run(qmp, colony_command_prepare(supervisor->config,
                                                    supervisor->node,
                                                    preparer->leader),
                        COMMAND_MS, on_done, preparer);
}

void colony_preparer_look(ColonyPreparer *preparer)
{
    ColonySupervisor *supervisor = preparer->supervisor;

    if (preparer->request && !preparer->busy) {
        if (g_get_monotonic_time() > preparer->end) {
            answer(preparer, "its QEMU is not ready in time");
        } else {
            begin(preparer);
        }
    } else if (preparer->task.kind && !preparer->request &&
               (!colony_starter_is_idle(supervisor->starter) ||
                preparer->prepared !=
                colony_machine_pid(supervisor->machine))) {
        colony_task_set(supervisor, &preparer->task, NULL, NULL);
    }
}

void colony_preparer_serve(ColonyPreparer *preparer, ColonyRequest *request,
                           JsonObject *arguments)
{
    ColonySupervisor *supervisor = preparer->supervisor;
    const char *name = colony_json_string(arguments, "leader");
    const ColonyNode *leader = NULL;

    if (preparer->request) {
        answer(preparer, "it was asked again");
    }
    preparer->request = request;
    if (name) {
        leader = colony_config_node(supervisor->config, name);
    }
    if (!leader || leader == supervisor->node) {
        answer(preparer, "prepare: no such leader");
    } else if (!colony_starter_is_idle(supervisor->starter)) {
        answer(preparer, "there is no QEMU that waits for a VM");
    } else {
        preparer->leader = leader;
        preparer->end = g_get_monotonic_time() + READY_US;
        colony_task_set(supervisor, &preparer->task, "prepare", leader);
        colony_supervisor_wake(supervisor);
    }
}

const ColonyTask *colony_preparer_task(const ColonyPreparer *preparer)
{
    return &preparer->task;
}

ColonyPreparer *colony_preparer_new(ColonySupervisor *supervisor)
{
    ColonyPreparer *preparer = g_new0(ColonyPreparer, 1);

    preparer->supervisor = supervisor;
    return preparer;
}

void colony_preparer_free(ColonyPreparer *preparer)
{
    if (preparer) {
        g_free(preparer->task.error);
        g_free(preparer);
    }
}

/*
 * apus-group: the machine, and the operator
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "migration/colo.h"
#include "migration/misc.h"
#include "migration/options.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "system/runstate.h"
#include "system/system.h"
#include "colony/colo-net/apus/core/payload.h"
#include "group-internal.h"

/* For the others to hear that the guest was switched off. */
#define STOPPED_TIMEOUT_MS 500

/* --- the operator -------------------------------------------------------- */

const char *apus_group_fenced(void)
{
    ApusGroup *group = apus_group();

    if (!group) {
        return NULL;
    }
    if (qatomic_read(&group->vm_lost)) {
        return "this replica's VM was lost when a sync was applied";
    }
    switch (group->part) {
    case APUS_PART_DEPOSED:
        return group->why;
    case APUS_PART_WITNESS:
        return runstate_check(RUN_STATE_INMIGRATE) ||
               migration_incoming_in_colo_state()
               ? NULL : "this replica's VM may not run: the group has not "
                        "elected it";
    default:
        return NULL;
    }
}

void apus_group_force(bool force, Error **errp)
{
    ERRP_GUARD();
    ApusGroup *group = apus_group();
    GError *error = NULL;

    if (!force) {
        error_setg(errp, "The members of the apus-group decide by themselves "
                   "who goes on");
        error_append_hint(errp, "If the others are dead for certain, and this "
                          "replica is to go on alone: force=true.\n");
        return;
    }
    if (group->part != APUS_PART_LEADER && group->part != APUS_PART_SECONDARY) {
        error_setg(errp, "This replica has no VM that could go on: it is %s",
                   group->part == APUS_PART_DEPOSED ? "deposed" : "a witness");
        return;
    }
    /* What follows, a takeover or the end of a session, follows by itself. */
    if (!apus_force(group->apus, &error)) {
        error_setg(errp, "%s", error->message);
        g_error_free(error);
    }
}

/* --- the machine --------------------------------------------------------- */

typedef struct Stopped {
    QemuSemaphore told;
    unsigned users; /* the main loop and the member's thread */
} Stopped;

static void stopped_unref(Stopped *stopped)
{
    if (qatomic_fetch_dec(&stopped->users) == 1) {
        qemu_sem_destroy(&stopped->told);
        g_free(stopped);
    }
}

static void stopped_told(void *opaque, ApusFate fate, uint64_t index)
{
    Stopped *stopped = opaque;

    qemu_sem_post(&stopped->told);
    stopped_unref(stopped);
}

/*
 * The guest has switched itself off: nobody is to take over what is off. The
 * process is about to end, so this waits.
 */
static void machine_shutdown(Notifier *notifier, void *data)
{
    const ShutdownCause *cause = data;
    ApusGroup *group = apus_group();
    g_autoptr(GByteArray) payload = NULL;
    Stopped *stopped;
    ApusRole role;

    if (!group || group->part != APUS_PART_LEADER ||
        *cause != SHUTDOWN_CAUSE_GUEST_SHUTDOWN) {
        return;
    }
    role = (ApusRole) {
        .leader = group->id,
        .leader_incarnation = group->incarnation,
        .stopped = TRUE,
    };
    payload = g_byte_array_new();
    apus_role_append(payload, &role);
    stopped = g_new0(Stopped, 1);
    qemu_sem_init(&stopped->told, 0);
    stopped->users = 2;
    if (apus_submit(group->apus, APUS_ENTRY_ROLE, payload->data, payload->len,
                    stopped_told, stopped, NULL)) {
        qemu_sem_timedwait(&stopped->told, STOPPED_TIMEOUT_MS);
    } else {
        stopped_unref(stopped);
    }
    stopped_unref(stopped);
}

/* R8: whose VM has stopped by itself lets another go on. */
static void vm_state(void *opaque, bool running, RunState state)
{
    ApusGroup *group = opaque;

    if (group->part == APUS_PART_LEADER && group->protected &&
        (state == RUN_STATE_IO_ERROR || state == RUN_STATE_INTERNAL_ERROR ||
         state == RUN_STATE_GUEST_PANICKED)) {
        warn_report("apus-group: the VM has stopped by itself (%s): this "
                    "replica resigns", RunState_str(state));
        apus_resign(group->apus);
    }
}

/*
 * The copy says last how far inputs were delivered, when the VM stands. What
 * was delivered before is not needed.
 */
void group_machine_tick(ApusGroup *group)
{
    if (group->copying && runstate_is_running()) {
        apus_pin(group->apus, MAX(group->delivered, 1));
    }
}

/* What is ordered when the VM was copied has to be there afterwards (R24). */
static int migration_event(NotifierWithReturn *notifier, MigrationEvent *event,
                           Error **errp)
{
    ApusGroup *group = apus_group();

    if (group && event->type == MIG_EVENT_PRECOPY_FAILED) {
        group->copying = false;
        apus_pin(group->apus, 0);
    }
    if (!group || event->type != MIG_EVENT_PRECOPY_SETUP) {
        return 0;
    }
    if (group->part != APUS_PART_LEADER) {
        error_setg(errp, "only the leader's VM can be copied");
        return -1;
    }
    if (!migrate_colo() || !migrate_plover()) {
        error_setg(errp, "a VM with an apus-group is copied with capabilities "
                   "x-colo and x-plover, or not at all");
        return -1;
    }
    group->copying = true;
    group_machine_tick(group);
    return 0;
}

static NotifierWithReturn migration_notifier;
static Notifier shutdown_notifier = { .notify = machine_shutdown };
static VMChangeStateEntry *vm_state_entry;

void group_machine_init(ApusGroup *group)
{
    vm_state_entry = qemu_add_vm_change_state_handler(vm_state, group);
    migration_add_notifier(&migration_notifier, migration_event);
    qemu_register_shutdown_notifier(&shutdown_notifier);
}

void group_machine_clear(ApusGroup *group)
{
    notifier_remove(&shutdown_notifier);
    migration_remove_notifier(&migration_notifier);
    qemu_del_vm_change_state_handler(vm_state_entry);
}

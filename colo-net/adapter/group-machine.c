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
#include "group-internal.h"

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
        return group->off ? "the guest has switched itself off" :
               group->blank ? "the first sync is yet to bring this replica's "
                              "VM" : NULL;
    }
}

bool apus_group_deposed(void)
{
    ApusGroup *group = apus_group();

    return group && (group->part == APUS_PART_DEPOSED ||
                     qatomic_read(&group->vm_lost));
}

const char *apus_group_not_leading(void)
{
    ApusGroup *group = apus_group();

    return !group || group->part == APUS_PART_LEADER
           ? NULL : "this replica is not the leader of its apus-group";
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
    if ((group->part != APUS_PART_LEADER &&
         group->part != APUS_PART_SECONDARY) || group->blank) {
        error_setg(errp, "This replica has no VM that could go on: it is %s",
                   group->part == APUS_PART_DEPOSED ? "deposed" :
                   group->blank ? "waiting for its first sync" : "a witness");
        return;
    }
    /* What follows, a takeover or the end of a session, follows by itself. */
    if (!apus_force(group->apus, &error)) {
        error_setg(errp, "%s", error->message);
        g_error_free(error);
    }
}

/* --- the machine --------------------------------------------------------- */

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
    group_off_look(group);
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
static VMChangeStateEntry *vm_state_entry;

void group_machine_init(ApusGroup *group)
{
    vm_state_entry = qemu_add_vm_change_state_handler(vm_state, group);
    migration_add_notifier(&migration_notifier, migration_event);
    group_off_init(group);
}

void group_machine_clear(ApusGroup *group)
{
    group_off_clear(group);
    migration_remove_notifier(&migration_notifier);
    qemu_del_vm_change_state_handler(vm_state_entry);
}

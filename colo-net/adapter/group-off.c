/*
 * apus-group: the guest switches itself off
 *
 * That is an output like any other: what the guest did before is synced, with
 * its disks; then ROLE(stopped) is committed, so that nobody resurrects it;
 * then the process ends, and the secondary's when it hears of it.
 *
 *   leader     a sync that began afterwards is done,
 *              or there is no session (any more):      ROLE(stopped)
 *              when that is committed, or too late:    the end
 *   secondary  the leader's guest is off: COLO's session ends, and the process.
 *              Its own may be off earlier, or when the leader's is not: then
 *              the next sync forgets it. If this replica takes over before, it
 *              is off as a leader's
 *
 * The VM runs on until that sync stops it, since inputs have to be consumed,
 * and never goes on from there: see apus_group_fenced().
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "migration/colo.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/lockable.h"
#include "qemu/main-loop.h"
#include "system/runstate.h"
#include "colony/colo-net/apus/core/payload.h"
#include "group-internal.h"
#include "trace.h"

/* A secondary that dies is noticed sooner; this is for a lost majority. */
#define OFF_TIMEOUT_MS 10000

/* In the member's thread. */
static void told(void *opaque, ApusFate fate, uint64_t index)
{
    ApusGroup *group = opaque;

    WITH_QEMU_LOCK_GUARD(&group->lock) {
        group->off_told = true;
        group->off_committed = fate == APUS_FATE_COMMITTED;
    }
    qemu_bh_schedule(group->off_bh);
}

/* Nobody is named behind it: @naming stays, unless it comes to nothing. */
static void name_stopped(ApusGroup *group)
{
    g_autoptr(GByteArray) payload = g_byte_array_new();
    GError *error = NULL;
    ApusRole role = {
        .leader = group->id,
        .leader_incarnation = group->incarnation,
        .stopped = TRUE,
    };

    if (group->naming) {
        return;
    }
    group->naming = true;
    group->off = GROUP_OFF_ROLE;
    apus_role_append(payload, &role);
    if (!apus_submit(group->apus, APUS_ENTRY_ROLE, payload->data, payload->len,
                     told, group, &error)) {
        /* The next look tries again. */
        trace_apus_group_refused(error->message);
        g_error_free(error);
        group->naming = false;
        group->off = GROUP_OFF_SYNC;
    }
}

static bool is_synced(ApusGroup *group)
{
    QEMU_LOCK_GUARD(&group->lock);
    switch (group->session) {
    case GROUP_SESSION_NONE:
        return true;
    case GROUP_SESSION_FAILED:
        return false; /* it is about to be none */
    default:
        return group->session_synced > group->off_epoch;
    }
}

static void end(ApusGroup *group, ShutdownCause cause)
{
    group->off = GROUP_OFF_DONE;
    qemu_system_shutdown_request(cause);
}

static void look_at_fate(ApusGroup *group)
{
    bool is_told, committed;

    WITH_QEMU_LOCK_GUARD(&group->lock) {
        is_told = group->off_told;
        committed = group->off_committed;
        group->off_told = false;
    }
    if (is_told && committed) {
        end(group, SHUTDOWN_CAUSE_GUEST_SHUTDOWN);
    } else if (is_told) {
        group->naming = false;
        group->off = GROUP_OFF_SYNC;
    }
}

static void take_step(ApusGroup *group)
{
    if (group->off == GROUP_OFF_ROLE) {
        look_at_fate(group);
    } else if (group->off == GROUP_OFF_LEAVE) {
        if (get_colo_mode() == COLO_MODE_NONE) {
            end(group, SHUTDOWN_CAUSE_GUEST_SHUTDOWN);
        }
    } else if (is_synced(group)) {
        name_stopped(group);
    } else {
        colo_request_checkpoint();
    }
}

void group_off_look(ApusGroup *group)
{
    if (group->part == APUS_PART_LEADER && group->off_wanted) {
        group->off_wanted = false;
        qemu_system_shutdown_request(SHUTDOWN_CAUSE_GUEST_SHUTDOWN);
    }
    if (group->off == GROUP_OFF_NO || group->off == GROUP_OFF_DONE) {
        return;
    }
    if (group->part == APUS_PART_DEPOSED && group->off != GROUP_OFF_LEAVE) {
        group->off = GROUP_OFF_NO; /* another's guest is the one that counts */
        return;
    }
    take_step(group);
    if (group->off != GROUP_OFF_DONE &&
        qemu_clock_get_ms(QEMU_CLOCK_REALTIME) >= group->off_end) {
        warn_report("apus-group: the guest is off, but that was not settled "
                    "within %d ms: another replica may go on", OFF_TIMEOUT_MS);
        /* Nobody who watches is to take the guest for off. */
        end(group, SHUTDOWN_CAUSE_HOST_ERROR);
    }
}

static void begin(ApusGroup *group, GroupOff off)
{
    group->off = off;
    group->off_end = qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + OFF_TIMEOUT_MS;
    WITH_QEMU_LOCK_GUARD(&group->lock) {
        group->off_epoch = group->last_epoch;
    }
    trace_apus_group_off(group->off_epoch);
    group_off_look(group);
}

bool apus_group_holds_shutdown(ShutdownCause cause)
{
    ApusGroup *group = apus_group();

    if (!group || cause != SHUTDOWN_CAUSE_GUEST_SHUTDOWN ||
        group->off == GROUP_OFF_DONE) {
        return false;
    }
    switch (group->part) {
    case APUS_PART_LEADER:
        if (group->off == GROUP_OFF_NO) {
            begin(group, GROUP_OFF_SYNC);
        }
        break;
    case APUS_PART_SECONDARY:
        group->off_wanted = true;
        return true;
    case APUS_PART_DEPOSED:
        if (group->off == GROUP_OFF_NO) {
            begin(group, GROUP_OFF_LEAVE);
        }
        break;
    default:
        return false;
    }
    return group->off != GROUP_OFF_DONE;
}

bool group_off_forget(ApusGroup *group, Error **errp)
{
    /* Was it before or after what is to be applied? Soon that is known. */
    if (qemu_shutdown_requested_get() == SHUTDOWN_CAUSE_GUEST_SHUTDOWN) {
        error_setg(errp, "the secondary's guest is about to switch itself off");
        return false;
    }
    group->off_wanted = false;
    return true;
}

static void look(void *opaque)
{
    group_off_look(opaque);
}

void group_off_init(ApusGroup *group)
{
    group->off_bh = qemu_bh_new(look, group);
}

void group_off_clear(ApusGroup *group)
{
    qemu_bh_delete(group->off_bh);
}

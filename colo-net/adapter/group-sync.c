/*
 * apus-group: sync points, for syncvm
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "migration/failover.h"
#include "qapi/error.h"
#include "qemu/lockable.h"
#include "qemu/main-loop.h"
#include "colony/colo-net/apus/core/payload.h"
#include "group-internal.h"
#include "trace.h"

/* For a sync point to be ordered and reached. */
#define REACH_TIMEOUT_MS 1000
/* How often what else may end the wait is looked at. */
#define REACH_STEP_MS 20

/* --- the member's thread -------------------------------------------------- */

void group_sync_term_rises(void *opaque, uint64_t term)
{
    ApusGroup *group = opaque;

    QEMU_LOCK_GUARD(&group->lock);
    group->stood = term;
    qemu_cond_broadcast(&group->cond);
}

/* --- the main loop --------------------------------------------------------*/

void group_sync_reached(ApusGroup *group, ApusEpoch epoch, uint64_t index)
{
    QEMU_LOCK_GUARD(&group->lock);
    /* A leader that has given it up, or another's: nobody waits (R3). */
    if (group->part == APUS_PART_SECONDARY
        ? group->session == GROUP_SESSION_FAILED
        : group->asked != epoch.number) {
        apus_resume(group->apus);
        return;
    }
    group->barrier = epoch;
    group->barrier_index = index;
    qemu_cond_broadcast(&group->cond);
}

/* --- the sync's thread --------------------------------------------------- */

static void asked(void *opaque, ApusFate fate, uint64_t index)
{
    ApusGroup *group = opaque;

    if (fate == APUS_FATE_COMMITTED) {
        return;
    }
    QEMU_LOCK_GUARD(&group->lock);
    g_free(group->sync_error);
    group->sync_error = g_strdup("the sync point was not ordered in time: "
                                 "there is no majority, or another leader");
    qemu_cond_broadcast(&group->cond);
}

bool apus_group_sync_request(uint64_t epoch, uint64_t base, Error **errp)
{
    ApusGroup *group = apus_group();
    g_autoptr(GByteArray) payload = NULL;
    GError *error = NULL;
    ApusSync sync;

    if (!group) {
        return true;
    }
    /* The secondary would throw away what this side may not say any more. */
    if (qatomic_read(&group->handed_over)) {
        error_setg(errp, "leadership is being handed over");
        return false;
    }
    WITH_QEMU_LOCK_GUARD(&group->lock) {
        g_clear_pointer(&group->sync_error, g_free);
        sync = (ApusSync) {
            .epoch = { .term = group->last_term, .number = epoch },
            .base = { .term = group->last_term, .number = base },
        };
        group->last_epoch = MAX(group->last_epoch, epoch);
        group->asked = epoch;
    }
    payload = g_byte_array_new();
    apus_sync_append(payload, &sync);
    if (!apus_submit(group->apus, APUS_ENTRY_SYNC, payload->data,
                     payload->len, asked, group, &error)) {
        error_setg(errp, "the sync point cannot be ordered: %s",
                   error->message);
        g_error_free(error);
        return false;
    }
    return true;
}

/* Under the lock. */
static bool may_go_on_waiting(ApusGroup *group, Error **errp)
{
    if (group->sync_error) {
        error_setg(errp, "%s", group->sync_error);
    } else if (failover_get_state() != FAILOVER_STATUS_NONE) {
        error_setg(errp, "failover was requested");
    } else if (group->stood) {
        error_setg(errp, "another leader is being elected");
    } else {
        return true;
    }
    return false;
}

bool apus_group_sync_reached(uint64_t epoch, Error **errp)
{
    ApusGroup *group = apus_group();
    int64_t end = qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + REACH_TIMEOUT_MS;
    bool ok = false;

    if (!group) {
        return true;
    }
    qatomic_set(&group->hurry, true);
    apus_group_consumed(group);
    qemu_mutex_lock(&group->lock);
    while (group->barrier.number != epoch) {
        if (group->barrier.number && group->barrier.number < epoch) {
            /* A sync that was given up. */
            group->barrier.number = 0;
            apus_resume(group->apus);
        }
        if (!may_go_on_waiting(group, errp)) {
            break;
        }
        if (qemu_clock_get_ms(QEMU_CLOCK_REALTIME) >= end) {
            error_setg(errp, "sync point %" PRIu64 " was not reached in %d "
                       "ms", epoch, REACH_TIMEOUT_MS);
            break;
        }
        qemu_cond_timedwait(&group->cond, &group->lock, REACH_STEP_MS);
    }
    ok = group->barrier.number == epoch;
    group->syncing = ok ? epoch : 0;
    qemu_mutex_unlock(&group->lock);
    qatomic_set(&group->hurry, false);
    return ok;
}

bool apus_group_sync_decide(uint64_t term, Error **errp)
{
    ApusGroup *group = apus_group();

    if (!group) {
        return true;
    }
    if (!group_off_forget(group, errp)) {
        return false;
    }
    QEMU_LOCK_GUARD(&group->lock);
    if (group->stood || group->part != APUS_PART_SECONDARY) {
        error_setg(errp, "this replica does not follow the leader of term %"
                   PRIu64 " any more", term);
        return false;
    }
    group->staged = group->barrier_index;
    return true;
}

void apus_group_sync_done(uint64_t epoch)
{
    ApusGroup *group = apus_group();

    if (!group) {
        return;
    }
    QEMU_LOCK_GUARD(&group->lock);
    if (group->asked <= epoch) {
        group->asked = 0;
    }
    if (group->syncing <= epoch) {
        group->syncing = 0;
    }
    /* The next one may have been reached meanwhile. */
    if (group->barrier.number && group->barrier.number <= epoch) {
        group->barrier.number = 0;
        apus_resume(group->apus);
    }
}

void group_sync_init(ApusGroup *group)
{
    qemu_cond_init(&group->cond);
}

void group_sync_clear(ApusGroup *group)
{
    qemu_cond_destroy(&group->cond);
    g_free(group->sync_error);
}

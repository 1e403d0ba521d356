/*
 * apus-group: sessions of syncvm, by which a member becomes secondary
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/bswap.h"
#include "qemu/lockable.h"
#include "qemu/main-loop.h"
#include "group-internal.h"

void group_session_joined(ApusGroup *group, ApusId from, uint64_t incarnation)
{
    if (group->part == APUS_PART_LEADER &&
        group->session != GROUP_SESSION_NONE) {
        group->partner = from;
        group->partner_incarnation = incarnation;
        conductor_look(group);
    }
}

bool apus_group_session_begin(uint64_t *term, uint64_t *epoch, Error **errp)
{
    ApusGroup *group = apus_group();

    if (!group) {
        return true;
    }
    BQL_LOCK_GUARD();
    if (group->part != APUS_PART_LEADER ||
        group->status.state != APUS_STATE_LEADER) {
        error_setg(errp, "the group has no majority, or another leader: this "
                   "replica's VM cannot be protected now");
        return false;
    }
    group->copying = false;
    group->session = GROUP_SESSION_BEGUN;
    group->protected = false;
    QEMU_LOCK_GUARD(&group->lock);
    g_clear_pointer(&group->session_error, g_free);
    group->session_synced = 0;
    *term = group->status.term;
    *epoch = group->last_epoch;
    return true;
}

void apus_group_session_synced(uint64_t epoch)
{
    ApusGroup *group = apus_group();

    if (!group) {
        return;
    }
    WITH_QEMU_LOCK_GUARD(&group->lock) {
        group->session_synced = epoch;
        group->synced_index = group->barrier_index;
    }
    qemu_bh_schedule(group->conduct_bh);
}

void apus_group_session_failed(const char *why)
{
    ApusGroup *group = apus_group();

    if (!group) {
        return;
    }
    WITH_QEMU_LOCK_GUARD(&group->lock) {
        if (!group->session_error) {
            group->session_error = g_strdup(why);
        }
    }
    qemu_bh_schedule(group->conduct_bh);
}

void apus_group_session_end(void)
{
    ApusGroup *group = apus_group();

    if (group) {
        group->session = GROUP_SESSION_NONE;
        group->partner = APUS_NOBODY;
        group->copying = false;
        apus_pin(group->apus, 0);
        apus_group_sync_done(UINT64_MAX);
    }
}

void group_session_tell_joined(ApusGroup *group)
{
    uint8_t incarnation[8];

    stq_le_p(incarnation, group->incarnation);
    group_tell(group, group->partner, GROUP_NOTE_JOINED, incarnation,
               sizeof(incarnation));
}

/*
 * A sync point that is yet to be ordered comes behind everything that is
 * committed by now.
 */
static bool begin_behind(ApusGroup *group, bool blank, GError **errp)
{
    ApusStatus status;

    group->blank = blank;
    if (blank) {
        if (!apus_status(group->apus, &status, errp)) {
            return false;
        }
        group->delivered = status.commit;
    }
    return apus_deliver_from(group->apus, group->delivered, errp);
}

bool apus_group_session_joined(uint64_t term, bool blank, Error **errp)
{
    ApusGroup *group = apus_group();
    GError *error = NULL;

    if (!group) {
        return true;
    }
    BQL_LOCK_GUARD();
    if (group->part == APUS_PART_DEPOSED ||
        group->status.leader == APUS_NOBODY || group->status.term != term) {
        error_setg(errp, "the leader of term %" PRIu64 " is not the one that "
                   "this member of the group follows, in term %" PRIu64, term,
                   group->status.term);
        return false;
    }
    if (!begin_behind(group, blank, &error)) {
        error_setg(errp, "the inputs since the VM was copied are not to be "
                   "had: %s", error->message);
        g_error_free(error);
        return false;
    }
    group->session = GROUP_SESSION_BEGUN;
    group->session_leader = group->partner = group->status.leader;
    group->unnamed_since = 0;
    qatomic_set(&group->gap, false);
    WITH_QEMU_LOCK_GUARD(&group->lock) {
        group->staged = 0;
        group->stood = 0; /* before this session, and the term is not older */
    }
    conductor_set_part(group, APUS_PART_SECONDARY);
    group_session_tell_joined(group);
    conductor_tell_ears(group);
    return true;
}

void apus_group_vm_lost(void)
{
    ApusGroup *group = apus_group();

    if (group) {
        qatomic_set(&group->vm_lost, true);
        qemu_bh_schedule(group->conduct_bh);
    }
}

void apus_group_taken_over(void)
{
    ApusGroup *group = apus_group();

    if (!group || group->part != APUS_PART_SECONDARY) {
        return;
    }
    group->session = GROUP_SESSION_NONE;
    group->partner = APUS_NOBODY;
    conductor_set_why(group, "this replica has taken over, and has no "
                      "secondary yet");
    conductor_set_part(group, APUS_PART_LEADER);
    group->was_protected = true;
    apus_group_sync_done(UINT64_MAX);
    apus_settled(group->apus);
    conductor_tell_role(group);
    conductor_tell_unprotected(group, group->why);
    conductor_tell_ears(group);
}

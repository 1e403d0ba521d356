/*
 * apus-group: what a leader does about its secondary
 *
 * A session begins, its first sync is done, and the other side has said who it
 * is: then it is named. The session fails, or the other is dead: then nobody
 * is, and when that is committed this replica goes on alone.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "migration/colo.h"
#include "qapi/qapi-events-apus.h"
#include "qemu/error-report.h"
#include "qemu/lockable.h"
#include "qemu/main-loop.h"
#include "group-internal.h"
#include "trace.h"

/* From the end of the copy to the beginning of a session. */
#define BEGIN_MS 5000

/* --- naming a secondary, and nobody -------------------------------------- */

/* In the member's thread. */
static void named(void *opaque, ApusFate fate, uint64_t index)
{
    ApusGroup *group = opaque;

    WITH_QEMU_LOCK_GUARD(&group->lock) {
        group->named = fate == APUS_FATE_COMMITTED;
        group->name_failed = fate != APUS_FATE_COMMITTED;
    }
    /* What was refused may be again, and at once: the next tick tries it. */
    if (fate == APUS_FATE_COMMITTED) {
        qemu_bh_schedule(group->conduct_bh);
    }
}

/*
 * As the process that has joined, and no other: one that was started since has
 * another incarnation, and no VM (R1).
 */
static void name(ApusGroup *group, ApusId secondary)
{
    GError *error = NULL;

    if (group->naming || group->status.state != APUS_STATE_LEADER) {
        return;
    }
    group->naming = true;
    group->forsaking = secondary == APUS_NOBODY;
    trace_apus_group_name(secondary);
    if (!apus_submit_role(group->apus, secondary,
                          group->partner_incarnation, named, group, &error)) {
        /* The next look tries again. */
        trace_apus_group_refused(error->message);
        g_error_free(error);
        group->naming = false;
    }
}

static void secondary_is_named(ApusGroup *group)
{
    group->protected = true;
    group->was_protected = true;
    conductor_set_why(group, NULL);
    conductor_set_hush(group);
    apus_pin(group->apus, 0);
    conductor_tell_role(group);
    qapi_event_send_colo_protected(group->status.term, group->synced_epoch,
                                   group->partner);
}

/* Only now may this replica speak for itself (R12). */
static void nobody_is_named(ApusGroup *group)
{
    group->session = GROUP_SESSION_NONE;
    group->partner = APUS_NOBODY;
    apus_pin(group->apus, 0);
    conductor_tell_role(group);
    conductor_tell_unprotected(group, group->why);
    conductor_end_colo();
}

static void look_at_naming(ApusGroup *group)
{
    bool done, failed;

    WITH_QEMU_LOCK_GUARD(&group->lock) {
        done = group->named;
        failed = group->name_failed;
        group->named = group->name_failed = false;
    }
    if (!done && !failed) {
        return;
    }
    group->naming = false;
    if (failed) {
        return;
    }
    if (group->forsaking) {
        nobody_is_named(group);
    } else if (group->session == GROUP_SESSION_SYNCED) {
        secondary_is_named(group);
    }
}

/* --- what is the matter with the other side ------------------------------ */

static void look_at_partner(ApusGroup *group)
{
    const ApusPeerStatus *peer = apus_status_peer(&group->status,
                                                  group->partner);
    int64_t now = qemu_clock_get_ms(QEMU_CLOCK_REALTIME);

    if (group->session == GROUP_SESSION_NONE ||
        group->session == GROUP_SESSION_FAILED || !peer) {
        return;
    }
    if (!peer->suspected) {
        group->suspected_since = 0;
    } else if (!group->suspected_since) {
        group->suspected_since = now;
    }
    if (peer->dead || (peer->suspected && now - group->suspected_since >=
                                          group->patience)) {
        g_autofree char *why = g_strdup_printf(
            "the secondary, member %u, %s", peer->id,
            peer->dead ? "has died" : "is silent");

        group->suspected_since = 0;
        conductor_set_why(group, why);
        group->session = GROUP_SESSION_FAILED;
    }
}

/*
 * Until the secondary is named, the log keeps for it all that its state does
 * not have. If that did not end, inputs would have no room any more.
 */
static void look_at_unnamed(ApusGroup *group)
{
    int64_t now = qemu_clock_get_ms(QEMU_CLOCK_REALTIME);
    uint64_t index;

    if (group->session != GROUP_SESSION_SYNCED || group->protected) {
        group->unnamed_since = 0;
        return;
    }
    WITH_QEMU_LOCK_GUARD(&group->lock) {
        index = group->synced_index;
    }
    apus_pin(group->apus, index);
    if (!group->unnamed_since) {
        group->unnamed_since = now;
    } else if (now - group->unnamed_since >= GROUP_UNNAMED_MS) {
        conductor_set_why(group, "the group does not take the other side for "
                          "a secondary: see query-apus for its members");
        group->session = GROUP_SESSION_FAILED;
    }
}

/*
 * Between the end of the copy and the beginning of the session nobody else
 * looks whether the other side answers, and a guest may stand.
 */
static void look_at_beginning(ApusGroup *group)
{
    int64_t now = qemu_clock_get_ms(QEMU_CLOCK_REALTIME);

    if (group->session != GROUP_SESSION_NONE ||
        get_colo_mode() != COLO_MODE_PRIMARY) {
        group->begins_since = 0;
    } else if (!group->begins_since) {
        group->begins_since = now;
    } else if (now - group->begins_since >= BEGIN_MS) {
        group->begins_since = now;
        warn_report("apus-group: the VM is not protected: the other side did "
                    "not begin within %d ms", BEGIN_MS);
        conductor_end_colo();
    }
}

/* --- one step after the other -------------------------------------------- */

static bool another_leads(const ApusGroup *group)
{
    const ApusStatus *status = &group->status;

    return status->role.leader != group->id &&
           status->role.leader != APUS_NOBODY;
}

void conductor_lead(ApusGroup *group)
{
    const ApusRole *role = &group->status.role;

    if (another_leads(group)) {
        g_autofree char *why = g_strdup_printf(
            "member %u leads in term %" PRIu64 ", %s; start it anew, and it "
            "can be secondary", role->leader, group->status.term,
            group->handed_over
            ? "as apus-switchover wanted"
            : "because this replica was silent or cut off");

        conductor_depose(group, role->leader, why);
        return;
    }
    if (group->status.state != APUS_STATE_LEADER) {
        return;
    }
    look_at_naming(group);
    conductor_look_at_session(group);
    look_at_partner(group);
    look_at_unnamed(group);
    look_at_beginning(group);
    if (group->session == GROUP_SESSION_FAILED) {
        name(group, APUS_NOBODY);
    } else if (group->session == GROUP_SESSION_SYNCED && !group->protected &&
               group->partner != APUS_NOBODY) {
        name(group, group->partner);
    }
}

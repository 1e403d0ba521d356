/*
 * query-apus, and what an operator wants of a group
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "block/thread-pool.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-apus.h"
#include "colo-net/core/versions.h"
#include "filter-guard.h"
#include "group-internal.h"

QEMU_BUILD_BUG_ON((int)APUS_PART_WITNESS != (int)APUS_GROUP_PART_WITNESS);
QEMU_BUILD_BUG_ON((int)APUS_PART_DEPOSED != (int)APUS_GROUP_PART_DEPOSED);
QEMU_BUILD_BUG_ON((int)APUS_STATE_FOLLOWER !=
                  (int)APUS_GROUP_STATE_FOLLOWER);
QEMU_BUILD_BUG_ON((int)APUS_STATE_FAILED != (int)APUS_GROUP_STATE_FAILED);

/* What the member's thread is asked for. */
typedef struct Answer {
    Apus *apus;
    ApusStatus status;
    ApusTransportCounters transport;
    GError *error;
} Answer;

static int ask(void *opaque)
{
    Answer *answer = opaque;

    return apus_status(answer->apus, &answer->status, &answer->error) &&
           apus_counters(answer->apus, &answer->transport, &answer->error)
           ? 0 : -1;
}

static void describe_self(ApusMemberInfo *info, const ApusGroupObject *obj,
                          const ApusStatus *status)
{
    info->connected = true;
    info->amnesiac = status->amnesiac;
    info->has_incarnation = obj->config.incarnation;
    info->incarnation = obj->config.incarnation;
    info->has_match = true;
    info->match = status->last;
    info->has_delivered = true;
    info->delivered = status->delivered;
}

static void describe_peer(ApusMemberInfo *info, const ApusPeerStatus *peer,
                          bool leads)
{
    info->connected = peer->connected;
    info->suspected = peer->suspected;
    info->dead = peer->dead;
    info->amnesiac = leads && peer->amnesiac;
    info->has_incarnation = peer->incarnation;
    info->incarnation = peer->incarnation;
    info->has_match = leads;
    info->match = peer->match;
    info->has_delivered = leads;
    info->delivered = peer->delivered;
    info->silence = peer->silence;
}

static ApusMemberInfoList *describe_members(const ApusGroupObject *obj,
                                            const ApusStatus *status)
{
    ApusMemberInfoList *list = NULL, **tail = &list;
    bool leads = status->state == APUS_STATE_LEADER;

    for (unsigned i = 0; i < status->members.count; i++) {
        const ApusMember *member = &status->members.member[i];
        const ApusPeerStatus *peer = apus_status_peer(status, member->id);
        ApusMemberInfo *info = g_new0(ApusMemberInfo, 1);

        info->id = member->id;
        info->address = g_strdup(member->address);
        info->can_run = member->can_run;
        if (member->id == obj->config.id) {
            describe_self(info, obj, status);
        } else if (peer) {
            describe_peer(info, peer, leads);
        }
        QAPI_LIST_APPEND(tail, info);
    }
    return list;
}

static ApusLogInfo *describe_log(const ApusStatus *status)
{
    ApusLogInfo *info = g_new0(ApusLogInfo, 1);

    *info = (ApusLogInfo) {
        .base = status->base,
        .last = status->last,
        .commit = status->commit,
        .delivered = status->delivered,
        .room = status->room,
    };
    return info;
}

static ApusOutputInfo *describe_outputs(void)
{
    ApusOutputInfo *info = g_new0(ApusOutputInfo, 1);
    FilterGuardStats stats;

    filter_guard_stats(&stats);
    *info = (ApusOutputInfo) {
        .held = stats.held_frames,
        .held_bytes = stats.held_bytes,
        .has_oldest = stats.oldest >= 0,
        .oldest = MAX(stats.oldest, 0),
        .released = stats.released,
        .discarded = stats.discarded,
        .dropped = stats.dropped,
        .equal = stats.equal,
        .staged = stats.staged,
        .alone = stats.alone,
        .diverged = stats.diverged,
        .reports = stats.reports,
        .input_waits = stats.waits,
    };
    return info;
}

static ApusCounters *describe_counters(const ApusGroup *group,
                                       const Answer *answer)
{
    ApusCounters *info = g_new0(ApusCounters, 1);

    *info = (ApusCounters) {
        .submitted = group->frames_submitted,
        .delivered = group->frames_delivered,
        .refused = group->frames_refused,
        .strange = group->frames_strange,
        .notes = group->notes_told,
        .role_changes = group->role_changes,
        .elections = answer->status.elections,
        .elected = answer->status.elected,
        .committed = answer->status.committed,
        .bytes_sent = answer->transport.bytes_sent,
        .bytes_received = answer->transport.bytes_received,
        .writes = answer->transport.writes,
        .reads = answer->transport.reads,
    };
    return info;
}

static ApusInfo *describe(const ApusGroupObject *obj, const Answer *answer)
{
    const ApusGroup *group = obj->group;
    const ApusStatus *status = &answer->status;
    ApusInfo *info = g_new0(ApusInfo, 1);

    *info = (ApusInfo) {
        .program = g_strdup(colony_version),
        .id = g_strdup(object_get_canonical_path_component(OBJECT(obj))),
        .cluster = g_strdup(obj->cluster),
        .member = group->id,
        .part = (ApusGroupPart)group->part,
        .state = (ApusGroupState)status->state,
        .generation = status->generation,
        .term = status->term,
        .has_leader = status->leader != APUS_NOBODY,
        .leader = status->leader,
        .has_secondary = status->role.secondary != APUS_NOBODY,
        .secondary = status->role.secondary,
        .q_protected = group->protected,
        .may_speak = apus_group_may_speak(group),
        .unprotected = group->unprotected,
        .transport = obj->transport,
        .has_incarnation = obj->config.incarnation,
        .incarnation = obj->config.incarnation,
        .amnesiac = status->amnesiac,
        .hopeless = status->hopeless,
        .changing = status->changing,
        .error = g_strdup(group->why),
        .members = describe_members(obj, status),
        .log = describe_log(status),
        .outputs = describe_outputs(),
        .counters = describe_counters(group, answer),
    };
    return info;
}

/* The object, to be unreferenced; or an error. */
static ApusGroupObject *find_object(Error **errp)
{
    Object *found = object_resolve_path_type("", TYPE_APUS_GROUP, NULL);

    if (!found || !APUS_GROUP(found)->group) {
        error_setg(errp, "there is no apus-group: this VM is no member of one");
        return NULL;
    }
    return APUS_GROUP(object_ref(found));
}

ApusInfo *coroutine_fn qmp_query_apus(Error **errp)
{
    ApusGroupObject *obj = find_object(errp);
    ApusInfo *info = NULL;
    Answer answer = { 0 };

    if (!obj) {
        return NULL;
    }
    /* The main loop does not wait for the member's thread. */
    answer.apus = obj->group->apus;
    if (thread_pool_submit_co(ask, &answer) == 0) {
        info = describe(obj, &answer);
    } else {
        error_setg(errp, "apus-group: %s", answer.error->message);
        g_error_free(answer.error);
    }
    object_unref(OBJECT(obj));
    return info;
}

/* --- what an operator wants ---------------------------------------------- */

typedef struct Change {
    Apus *apus;
    ApusId old;
    const ApusMember *new_member;
    ApusStatus status;
    GError *error;
} Change;

static int replace(void *opaque)
{
    Change *change = opaque;

    return apus_status(change->apus, &change->status, &change->error) &&
           apus_replace(change->apus, change->old, change->new_member,
                        &change->error) ? 0 : -1;
}

static bool take_member(const ApusGroupMember *from, ApusMember *member,
                        Error **errp)
{
    *member = (ApusMember) { .id = from->id, .can_run = from->can_run };
    if (g_strlcpy(member->address, from->address, sizeof(member->address)) >=
        sizeof(member->address)) {
        error_setg(errp, "'%s' is no address: it has at most %zu characters",
                   from->address, sizeof(member->address) - 1);
        return false;
    }
    return true;
}

static void tell_refused(const ApusGroup *group, const Change *change,
                         Error **errp)
{
    if (g_error_matches(change->error, APUS_ERROR, APUS_ERROR_NOT_LEADER) &&
        !group_check_leads(group, &change->status, errp)) {
        return;
    }
    error_set(errp, apus_members_find(&change->status.members,
                                      change->old) < 0 &&
              change->old != APUS_NOBODY && change->status.members.count
              ? ERROR_CLASS_DEVICE_NOT_FOUND : ERROR_CLASS_GENERIC_ERROR,
              "%s", change->error->message);
}

void coroutine_fn qmp_apus_replace(bool has_old, uint16_t old,
                                   ApusGroupMember *new, Error **errp)
{
    ApusGroupObject *obj = find_object(errp);
    ApusMember member;
    Change change = {
        .old = has_old ? old : APUS_NOBODY,
        .new_member = new ? &member : NULL,
    };

    if (!obj) {
        return;
    }
    change.apus = obj->group->apus;
    if ((!new || take_member(new, &member, errp)) &&
        thread_pool_submit_co(replace, &change) != 0) {
        tell_refused(obj->group, &change, errp);
        g_error_free(change.error);
    }
    object_unref(OBJECT(obj));
}

void coroutine_fn qmp_apus_switchover(Error **errp)
{
    ApusGroupObject *obj = find_object(errp);

    if (obj) {
        group_switch_over(obj->group, errp);
        object_unref(OBJECT(obj));
    }
}

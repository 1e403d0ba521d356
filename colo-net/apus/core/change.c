/*
 * The consensus core: one member is replaced by another
 *
 * First the new one is brought up to date, without a say; then it is added;
 * then the old one goes. Each step is a MEMBER entry, in force as soon as it
 * is in the log, and the next begins when it is committed: majorities of two
 * lists that differ by one member always have a member in common. A leader
 * that finds a list with somebody leaving carries on from there.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "core-internal.h"
#include "payload.h"

#define CHANGE_TIMEOUT (30 * 1000 * 1000 * 1000ull)

static const ApusMembers *members_of(const ApusCore *core)
{
    return &apus_log_newest(core->log)->members;
}

/* The newest list is committed, and so is our own ROLE. */
static gboolean settled(const ApusCore *core)
{
    return core->state == APUS_STATE_LEADER &&
           (apus_log_newest_of(core->log, APUS_ENTRY_MEMBER) <= core->commit ||
            APUS_BROKEN(TWO_CHANGES));
}

gboolean apus_core_changing(const ApusCore *core)
{
    return core->changing || members_of(core)->leaving != APUS_NOBODY ||
           apus_log_newest_of(core->log, APUS_ENTRY_MEMBER) > core->commit;
}

static gboolean append_members(ApusCore *core, const ApusMembers *members)
{
    g_autoptr(GByteArray) payload = g_byte_array_new();

    apus_members_append(payload, members);
    return apus_core_append(core, APUS_ENTRY_MEMBER, payload->data,
                            payload->len);
}

static void without(const ApusMembers *from, ApusId id, ApusMembers *members)
{
    *members = (ApusMembers) { .count = 0 };
    for (unsigned i = 0; i < from->count; i++) {
        if (from->member[i].id != id) {
            members->member[members->count++] = from->member[i];
        }
    }
}

static void end_change(ApusCore *core)
{
    core->changing = FALSE;
    apus_core_sync_peers(core);
}

/* The new member has what is committed, and says that it counts. */
static gboolean up_to_date(ApusCore *core)
{
    Peer *peer = apus_core_peer(core, core->change_new.id);

    return peer && peer->connected && !peer->amnesiac && peer->match > 0 &&
           peer->match >= core->commit;
}

static void add(ApusCore *core)
{
    ApusMembers members = *members_of(core);

    members.member[members.count++] = core->change_new;
    members.leaving = core->change_old;
    if (append_members(core, &members)) {
        end_change(core);
    }
}

void apus_core_change_flush(ApusCore *core)
{
    ApusMembers members;

    if (core->changing && core->now >= core->change_until) {
        end_change(core);
    }
    if (!settled(core)) {
        return;
    }
    if (members_of(core)->leaving != APUS_NOBODY) {
        without(members_of(core), members_of(core)->leaving, &members);
        append_members(core, &members);
    } else if (core->changing && up_to_date(core)) {
        add(core);
    }
}

uint64_t apus_core_change_deadline(const ApusCore *core)
{
    return core->changing ? core->change_until : NEVER;
}

/* --- what is asked for --------------------------------------------------- */

static gboolean check_old(const ApusCore *core, ApusId old, GError **errp)
{
    const ApusRole *role = &apus_log_newest(core->log)->role;

    if (old == APUS_NOBODY) {
        return TRUE;
    }
    if (apus_members_find(members_of(core), old) < 0) {
        g_set_error(errp, APUS_ERROR, APUS_ERROR_MEMBERS,
                    "member %u does not belong to the group", old);
        return FALSE;
    }
    if (old == role->leader || old == role->secondary) {
        g_set_error(errp, APUS_ERROR, APUS_ERROR_ROLE, "member %u is %s: only "
                    "a member without a role can be replaced", old,
                    old == role->leader ? "the leader" : "the secondary");
        return FALSE;
    }
    return TRUE;
}

static gboolean check_result(const ApusCore *core, ApusId old,
                             const ApusMember *new, GError **errp)
{
    ApusMembers members = *members_of(core);

    if (new) {
        if (members.count == APUS_MAX_MEMBERS) {
            g_set_error(errp, APUS_ERROR, APUS_ERROR_MEMBERS,
                        "the group has %u members already", members.count);
            return FALSE;
        }
        members.member[members.count++] = *new;
        members.leaving = old;
    } else {
        without(members_of(core), old, &members);
    }
    return apus_members_check(&members, errp);
}

gboolean apus_core_replace(ApusCore *core, ApusId old, const ApusMember *new,
                           uint64_t now, GError **errp)
{
    ApusMembers members;

    core->now = MAX(core->now, now);
    if (core->state != APUS_STATE_LEADER) {
        g_set_error(errp, APUS_ERROR, APUS_ERROR_NOT_LEADER,
                    "this member does not lead");
        return FALSE;
    }
    if (apus_core_changing(core)) {
        g_set_error(errp, APUS_ERROR, APUS_ERROR_BUSY,
                    "another change of members is under way");
        return FALSE;
    }
    if (!new && old == APUS_NOBODY) {
        g_set_error(errp, APUS_ERROR, APUS_ERROR_MEMBERS,
                    "nobody to be added or removed");
        return FALSE;
    }
    if (!check_old(core, old, errp) || !check_result(core, old, new, errp)) {
        return FALSE;
    }
    if (!new) {
        without(members_of(core), old, &members);
        return append_members(core, &members);
    }
    core->changing = TRUE;
    core->change_old = old;
    core->change_new = *new;
    core->change_until = core->now + CHANGE_TIMEOUT;
    apus_core_sync_peers(core);
    return TRUE;
}

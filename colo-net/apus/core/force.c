/*
 * The consensus core: an operator says that the others are dead
 *
 * Without a majority a group decides nothing: those who are out of reach may
 * be alive, and may be one. Only somebody who knows that they are not can end
 * that. Then this member goes on alone, in a new generation, of which it is
 * the only member; the others are added again, as members that join, when they
 * have been set up anew.
 *
 * Should the operator have been wrong, the generation is what limits the harm:
 * nothing of another one is accepted, and who hears of a newer one takes no
 * further part. The upper bits of it count; the lower ones are random, so that
 * two members that were both forced are not of one generation.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "core-internal.h"
#include "payload.h"

#define RANDOM_BITS 16
#define ROOM 1024 /* bytes, for a MEMBER and a ROLE */

/* Could @id, if that is this member or one that is heard, lead by @role? */
static gboolean could_lead(const ApusCore *core, ApusId id,
                           const ApusRole *role)
{
    const Peer *peer = apus_core_peer(core, id);

    if (id == core->config.id) {
        return apus_core_eligible(core, role);
    }
    return peer && !role->stopped &&
           ((role->leader == id &&
             (role->leader_incarnation == 0 ||
              role->leader_incarnation == peer->incarnation)) ||
            (role->secondary == id &&
             role->secondary_incarnation == peer->incarnation));
}

static gboolean in_reach(const ApusCore *core, ApusId id)
{
    const Peer *peer = apus_core_peer(core, id);

    return id == core->config.id ||
           (peer && peer->connected && !peer->suspected);
}

/* By what it has said last: who was started anew decides nothing (R6). */
static gboolean remembers(const ApusCore *core, ApusId id)
{
    if (id == core->config.id) {
        return !core->amnesiac && core->stored >= core->cure_ticket;
    }
    return apus_core_peer(core, id)->vote.verdict != APUS_VOTE_AMNESIAC;
}

/* Is there somebody who could go on without being forced? */
static gboolean check_others(ApusCore *core, GError **errp)
{
    const ApusSnapshot *newest = apus_log_newest(core->log);
    const ApusMembers *members = &newest->members;
    unsigned reached = 0;
    ApusId able = APUS_NOBODY;

    for (unsigned i = 0; i < members->count; i++) {
        ApusId id = members->member[i].id;

        if (in_reach(core, id)) {
            reached += remembers(core, id);
            able = could_lead(core, id, &newest->role) ? id : able;
            if (able == id && id != core->config.id) {
                return apus_refuse(errp, APUS_ERROR_MAJORITY, "member %u is "
                                   "in reach, and may lead: stop it first, or "
                                   "force it instead", id);
            }
        }
    }
    if (able && reached >= apus_members_majority(members)) {
        return apus_refuse(errp, APUS_ERROR_MAJORITY, "%u of the group's %u "
                           "members are in reach: they decide by themselves",
                           reached, members->count);
    }
    return TRUE;
}

static gboolean check_self(const ApusCore *core, GError **errp)
{
    if (core->state == APUS_STATE_FAILED) {
        return apus_refuse(errp, APUS_ERROR_STOPPED, "this member has failed");
    }
    if (!apus_core_member(core, core->config.id)) {
        return apus_refuse(errp, APUS_ERROR_MEMBERS, "this is no member of "
                           "the group");
    }
    if (!core->config.can_run) {
        return apus_refuse(errp, APUS_ERROR_ROLE, "this member is a witness: "
                           "it cannot run the VM");
    }
    if (core->amnesiac || core->stored < core->cure_ticket) {
        return apus_refuse(errp, APUS_ERROR_MISSING, "this member was started "
                           "anew, and has not been brought up to date since");
    }
    /* Whoever was heard last may still speak for as long (R9). */
    if (core->now < core->promise || core->now < core->quarantine) {
        return apus_refuse(errp, APUS_ERROR_BUSY, "a leader may have been "
                           "alive a moment ago: try again");
    }
    return TRUE;
}

/* --- will it go on without an operator? ---------------------------------- */

/* What a member has last said of its log, and this one of its own. */
static gboolean look_at_log(const ApusCore *core, ApusId id, ApusVote *log)
{
    const Peer *peer = apus_core_peer(core, id);
    const ApusSnapshot *newest = apus_log_newest(core->log);

    if (id == core->config.id) {
        *log = (ApusVote) {
            .last_index = newest->index,
            .last_term = newest->term,
            .role = newest->role,
        };
        return TRUE;
    }
    *log = peer ? peer->vote : (ApusVote) { .verdict = 0 };
    return peer && in_reach(core, id) && peer->vote.verdict != 0;
}

static gboolean is_better(const ApusVote *a, const ApusVote *b)
{
    return a->last_term > b->last_term ||
           (a->last_term == b->last_term && a->last_index > b->last_index);
}

gboolean apus_core_hopeless(const ApusCore *core)
{
    const ApusMembers *members = &apus_log_newest(core->log)->members;
    ApusVote best = { .verdict = 0 };
    unsigned remember = 0;

    if (core->state != APUS_STATE_ASKING &&
        core->state != APUS_STATE_CANDIDATE &&
        (core->state != APUS_STATE_FOLLOWER || core->leader != APUS_NOBODY)) {
        return FALSE;
    }
    for (unsigned i = 0; i < members->count; i++) {
        ApusId id = members->member[i].id;
        ApusVote log;

        if (!look_at_log(core, id, &log)) {
            return FALSE;
        }
        if (remembers(core, id)) {
            remember++;
            best = is_better(&log, &best) ? log : best;
        }
    }
    if (remember < apus_members_majority(members)) {
        return TRUE;
    }
    for (unsigned i = 0; i < members->count; i++) {
        ApusId id = members->member[i].id;

        if (remembers(core, id) && could_lead(core, id, &best.role)) {
            return FALSE;
        }
    }
    return TRUE;
}

/* --- by force ------------------------------------------------------------- */

/* There has to be room for what says that this is so. */
static gboolean make_room(ApusCore *core, GError **errp)
{
    if (!apus_log_fits(core->log, ROOM)) {
        /* There is nobody else who could need it. */
        apus_core_trim(core, core->delivered);
    }
    if (!apus_log_fits(core->log, ROOM)) {
        return apus_refuse(errp, APUS_ERROR_FULL, "the log is full of what "
                           "was not delivered yet: try again");
    }
    return TRUE;
}

static void append_only_member(ApusCore *core)
{
    const ApusMembers *members = &apus_log_newest(core->log)->members;
    g_autoptr(GByteArray) payload = g_byte_array_new();
    ApusMembers only = { .count = 1 };
    gboolean appended;

    only.member[0] =
        members->member[apus_members_find(members, core->config.id)];
    apus_members_append(payload, &only);
    appended = apus_core_append(core, APUS_ENTRY_MEMBER, payload->data,
                                payload->len);
    g_assert(appended);
}

static uint64_t next_generation(ApusCore *core)
{
    uint64_t random = core->ops->random(core->opaque);

    return (((core->generation >> RANDOM_BITS) + 1) << RANDOM_BITS) |
           (random & ((1u << RANDOM_BITS) - 1));
}

gboolean apus_core_force(ApusCore *core, uint64_t now, GError **errp)
{
    core->now = MAX(core->now, now);
    if (!check_self(core, errp) || !check_others(core, errp) ||
        !make_room(core, errp)) {
        return FALSE;
    }
    apus_core_set_term(core, core->term + 1, core->config.id);
    core->ops->fence(core->opaque, core->term);
    core->granting = APUS_NOBODY;
    apus_core_step_down(core);
    core->generation = next_generation(core);
    /* The entry that follows is safe no earlier than this. */
    core->term_ticket = apus_core_save(core);
    append_only_member(core);
    apus_core_lead(core);
    return TRUE;
}

/*
 * Nothing of a newer generation is for us: we were left out of it. Who joins
 * is brought into it by an APPEND, see of_this_generation().
 */
void apus_core_superseded(ApusCore *core)
{
    core->superseded = TRUE;
    apus_core_failed(core, core->now);
    apus_core_tell(core);
}

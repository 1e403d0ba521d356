/*
 * The consensus core: the leader
 *
 * Replicates its log, each follower at its own pace: first a follower is
 * probed for where its log is the same, then entries are sent to it without
 * waiting for answers, up to a window. What a majority has, and safely, is
 * committed if it is of this term; everything before it is then, too.
 *
 * Where two members are a majority and the secondary is one who keeps up, the
 * third is not needed for a commit: it gets entries when a beat is due, so that
 * an entry costs one write and one read. As soon as the secondary lets wait,
 * both get them at once.
 *
 * What a follower answers also carries the lease: it echoes the time at which
 * the beat was sent, on the leader's clock, so that whatever delay there was
 * shortens the lease and never lengthens it (R9).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "core-internal.h"
#include "payload.h"

/* Entries are trimmed in lots of so many, but for when room gets short. */
#define LOT 256

/* Whoever is not needed for commits is sent no less at once, in bytes. */
#define MANY (64u << 10)

gboolean apus_core_leads(const ApusCore *core)
{
    return core->state == APUS_STATE_ELECTED ||
           core->state == APUS_STATE_LEADER;
}

gboolean apus_core_accepts(const ApusCore *core)
{
    return core->state == APUS_STATE_LEADER && !core->hold &&
           (!core->delivers || core->delivered >= core->elected_index);
}

void apus_core_reset_peer(ApusCore *core, Peer *peer)
{
    peer->amnesiac = FALSE;
    peer->probing = TRUE;
    peer->match = 0;
    peer->next = apus_log_last_index(core->log) + 1;
    peer->delivered = 0;
    peer->echo = 0;
    peer->beat_at = 0;
    peer->told_commit = 0;
}

/* --- becoming leader (R3) ------------------------------------------------ */

gboolean apus_core_append(ApusCore *core, ApusEntryKind kind,
                          const uint8_t *payload, uint32_t length)
{
    if (!apus_log_append(core->log, kind, core->term, payload, length)) {
        return FALSE;
    }
    apus_core_appended(core, kind);
    core->count.appends++;
    return TRUE;
}

static gboolean append_own_role(ApusCore *core)
{
    g_autoptr(GByteArray) payload = g_byte_array_new();
    ApusRole role = {
        .leader = core->config.id,
        .leader_incarnation = core->config.incarnation,
    };

    apus_role_append(payload, &role);
    if (!apus_log_fits(core->log, payload->len)) {
        /* Nobody but us needs what we have delivered. */
        apus_core_trim(core, core->delivered);
    }
    return apus_core_append(core, APUS_ENTRY_ROLE, payload->data,
                            payload->len);
}

void apus_core_lead(ApusCore *core)
{
    for (unsigned i = 0; i < core->peers; i++) {
        apus_core_reset_peer(core, &core->peer[i]);
        core->peer[i].suspected = core->peer[i].dead;
        core->peer[i].heard = core->now; /* followers do not talk */
        core->peer[i].answered_at = core->now;
    }
    core->state = APUS_STATE_ELECTED;
    core->leader = core->config.id;
    core->leader_life = core->config.life;
    core->fetching = APUS_NOBODY;
    core->hold = TRUE;
    core->tries = 0;
    core->campaign_at = NEVER;
    core->elected_index = apus_log_last_index(core->log) + 1;
    core->count.elected++;
    apus_core_tell(core);
    if (!append_own_role(core)) {
        apus_core_step_down(core);
    } else if (APUS_BROKEN(SPEAKS_EARLY)) {
        core->state = APUS_STATE_LEADER;
    }
}

/* --- what a majority has ------------------------------------------------- */

static int descending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x < y) - (x > y);
}

/* The largest number that a majority of the members has reached. */
static uint64_t reached(const ApusCore *core, uint64_t own,
                        uint64_t (*of)(const ApusCore *core, const Peer *peer))
{
    const ApusMembers *members = &apus_log_newest(core->log)->members;
    uint64_t value[APUS_MAX_MEMBERS];

    for (unsigned i = 0; i < members->count; i++) {
        ApusId id = members->member[i].id;
        Peer *peer = apus_core_peer((ApusCore *)core, id);

        value[i] = id == core->config.id ? own : peer ? of(core, peer) : 0;
    }
    qsort(value, members->count, sizeof(value[0]), descending);
    return value[apus_members_majority(members) - 1];
}

/* What OFFSET_COMPARED compares: the place in the ring behind an entry. */
static uint64_t offset_of(const ApusCore *core, uint64_t index)
{
    ApusSnapshot at;

    if (index < apus_log_base(core->log)->index) {
        return 0;
    }
    apus_log_snapshot(core->log, index, &at);
    return at.position & (core->config.log_size - 1);
}

static uint64_t match_of(const ApusCore *core, const Peer *peer)
{
    if (peer->amnesiac && !APUS_BROKEN(AMNESIAC_ACKS)) {
        return 0;
    }
    return APUS_BROKEN(OFFSET_COMPARED) ? offset_of(core, peer->match)
                                        : peer->match;
}

static uint64_t echo_of(const ApusCore *core, const Peer *peer)
{
    (void)core;
    return peer->amnesiac && !APUS_BROKEN(AMNESIAC_ECHOES) ? 0 : peer->echo;
}

static uint64_t answered_at(const ApusCore *core, const Peer *peer)
{
    (void)core;
    return peer->answered_at;
}

uint64_t apus_core_backed(const ApusCore *core)
{
    return reached(core, core->now, echo_of);
}

uint64_t apus_core_lease(const ApusCore *core, uint64_t now)
{
    uint64_t backed;

    if (core->state != APUS_STATE_LEADER) {
        return 0;
    }
    backed = reached(core, MAX(now, core->now), echo_of);
    return backed ? backed + core->config.lease : 0;
}

/* The newest entry that a majority has. */
static uint64_t majority_has(const ApusCore *core)
{
    uint64_t safe = apus_core_safe(core);
    uint64_t offset;

    if (!APUS_BROKEN(OFFSET_COMPARED)) {
        return reached(core, safe, match_of);
    }
    offset = reached(core, offset_of(core, safe), match_of);
    while (safe > core->commit && offset_of(core, safe) > offset) {
        safe--;
    }
    return safe;
}

static void complete(ApusCore *core)
{
    Pending *pending;

    while ((pending = g_queue_peek_head(&core->pending)) &&
           (pending->index <= core->commit || APUS_BROKEN(FATE_EARLY))) {
        Pending done = *pending;

        g_free(g_queue_pop_head(&core->pending));
        core->ops->completed(core->opaque, done.token, APUS_FATE_COMMITTED,
                             done.index);
    }
}

void apus_core_leader_commit(ApusCore *core)
{
    uint64_t index, term;

    if (!apus_core_leads(core)) {
        return;
    }
    index = majority_has(core);
    if (index <= core->commit || !apus_log_term(core->log, index, &term)) {
        return;
    }
    /*
     * An entry of an older term that a majority has may still be replaced by
     * a log that is better; one of ours, and all before it, may not.
     */
    if (term != core->term && !APUS_BROKEN(OLD_TERM_COMMIT)) {
        return;
    }
    core->count.committed += index - core->commit;
    apus_core_commit_to(core, index);
    if (core->state == APUS_STATE_ELECTED && index >= core->elected_index) {
        core->state = APUS_STATE_LEADER;
        apus_core_tell(core);
    }
    complete(core);
}

void apus_core_fail_pending(ApusCore *core)
{
    Pending *pending;

    while ((pending = g_queue_pop_head(&core->pending))) {
        Pending lost = *pending;

        g_free(pending);
        core->ops->completed(core->opaque, lost.token, APUS_FATE_UNKNOWN, 0);
    }
}

/* --- replication --------------------------------------------------------- */

static ApusBeat beat(ApusCore *core, Peer *peer)
{
    peer->beat_at = core->now;
    peer->told_commit = core->commit;
    return (ApusBeat) {
        .sent = core->now,
        .last = apus_log_last_index(core->log),
        .commit = core->commit,
        .safe = apus_core_safe(core),
        .trim = apus_log_base(core->log)->index,
        /* So long after it that no candidate counts what it has forgotten. */
        .confirmed = apus_core_backed(core) >
                     peer->connected_at + (LONGEST + 1) * core->config.timeout,
        .alone = reached(core, core->now, answered_at) +
                     core->config.timeout < core->now,
    };
}

static void send_snapshot(ApusCore *core, Peer *peer)
{
    ApusMessage message = {
        .type = APUS_MESSAGE_SNAPSHOT,
        .install = {
            .beat = beat(core, peer),
            .snapshot = *apus_log_base(core->log),
        },
    };

    peer->probing = TRUE;
    peer->next = message.install.snapshot.index + 1;
    core->count.snapshots++;
    apus_core_send(core, peer, &message);
}

/* Send entries from peer->next on, up to @last. */
static void send_append(ApusCore *core, Peer *peer, uint64_t last)
{
    ApusMessage message = {
        .type = APUS_MESSAGE_APPEND,
        .append = {
            .beat = beat(core, peer),
            .prev_index = peer->next - 1,
        },
    };
    uint64_t sent = peer->next - 1;

    apus_log_term(core->log, peer->next - 1, &message.append.prev_term);
    if (peer->next <= last) {
        sent = apus_log_records(core->log, peer->next, last, CHUNK,
                                &message.append.records);
    }
    if (!peer->probing) {
        peer->next = sent + 1;
    }
    if (apus_core_two_suffice(core) && !peer->amnesiac) {
        /* See apus_core_follower_commit(). */
        peer->told_commit = MAX(peer->told_commit,
                                MIN(sent, message.append.beat.safe));
    }
    apus_core_send(core, peer, &message);
}

void apus_core_resign(ApusCore *core, uint64_t now)
{
    ApusMessage message = { .type = APUS_MESSAGE_RESIGN };

    core->now = MAX(core->now, now);
    if (!apus_core_leads(core)) {
        return;
    }
    for (unsigned i = 0; i < core->peers; i++) {
        Peer *peer = &core->peer[i];

        /* Nobody else may ever be able to tell it, if that was the end. */
        if (peer->connected && !peer->probing &&
            peer->told_commit < core->commit) {
            send_append(core, peer, peer->next - 1);
        }
    }
    apus_core_step_down(core);
    core->campaign_at = core->now + 2 * core->config.timeout;
    for (unsigned i = 0; i < core->peers; i++) {
        apus_core_send(core, &core->peer[i], &message);
    }
}

static gboolean window_open(const ApusCore *core, const Peer *peer)
{
    uint64_t first = MAX(peer->match, apus_log_base(core->log)->index) + 1;

    return apus_log_bytes(core->log, first, peer->next - 1) <
               core->config.window &&
           core->ops->ready(core->opaque, peer->id);
}

/* Who waits for what is committed: the secondary runs on it. */
static gboolean wants_commit(const ApusCore *core, const Peer *peer)
{
    return peer->told_commit < core->commit &&
           apus_log_newest(core->log)->role.secondary == peer->id;
}

/* How long the secondary may let an entry wait. */
static uint64_t promptness(const ApusCore *core)
{
    return core->config.heartbeat / 8;
}

static const Pending *oldest_pending(const ApusCore *core)
{
    return core->pending.head ? core->pending.head->data : NULL;
}

/* Is whoever the newest ROLE names there, and has all that is committed? */
static gboolean secondary_keeps_up(ApusCore *core)
{
    const ApusRole *role = &apus_log_newest(core->log)->role;
    const Peer *peer = apus_core_peer(core, role->secondary);

    return peer && peer->connected && !peer->suspected && !peer->amnesiac &&
           !peer->probing && peer->match >= core->commit &&
           peer->incarnation == role->secondary_incarnation &&
           apus_log_newest_of(core->log, APUS_ENTRY_ROLE) <= core->commit &&
           apus_log_newest_of(core->log, APUS_ENTRY_MEMBER) <= core->commit;
}

/* Does it make a majority with us, and at once? */
static gboolean secondary_suffices(ApusCore *core)
{
    const Pending *oldest = oldest_pending(core);

    return core->state == APUS_STATE_LEADER && secondary_keeps_up(core) &&
           apus_core_two_suffice(core) &&
           !(oldest && core->now >= oldest->when + promptness(core));
}

/* May what @peer lacks wait until its next beat? */
static gboolean may_wait(const ApusCore *core, const Peer *peer)
{
    return core->relaxed &&
           peer->id != apus_log_newest(core->log)->role.secondary &&
           apus_log_bytes(core->log, peer->next,
                          apus_log_last_index(core->log)) < MANY;
}

/* Returns TRUE when there is more to send now. */
static gboolean send_some(ApusCore *core, Peer *peer)
{
    uint64_t last = apus_log_last_index(core->log);
    gboolean due = peer->beat_at == 0 ||
                   core->now >= peer->beat_at + core->config.heartbeat;

    if (peer->next <= apus_log_base(core->log)->index) {
        if (due) {
            send_snapshot(core, peer);
        }
        return FALSE;
    }
    if (peer->probing) {
        if (due) {
            send_append(core, peer, last);
        }
        return FALSE;
    }
    if (!due && may_wait(core, peer)) {
        return FALSE;
    }
    if (peer->next <= last && window_open(core, peer)) {
        send_append(core, peer, last);
        return peer->next <= last;
    }
    if (due || wants_commit(core, peer)) {
        send_append(core, peer, 0);
    }
    return FALSE;
}

void apus_core_leader_send(ApusCore *core)
{
    gboolean more = TRUE;

    /* A leader that is not fit stays silent, so that it is suspected (R8). */
    if (!apus_core_leads(core) || !apus_core_fit(core)) {
        return;
    }
    core->relaxed = secondary_suffices(core);
    /* In turns, so that the followers receive at the same time. */
    while (more) {
        more = FALSE;
        for (unsigned i = 0; i < core->peers; i++) {
            if (core->peer[i].connected && !core->peer[i].guest &&
                send_some(core, &core->peer[i])) {
                more = TRUE;
            }
        }
    }
}

void apus_core_on_ack(ApusCore *core, Peer *peer, const ApusMessage *m)
{
    const ApusAck *ack = &m->ack;
    uint64_t last = apus_log_last_index(core->log);

    if (m->term > core->term) {
        apus_core_see_term(core, m->term);
        return;
    }
    if (m->term < core->term || !apus_core_leads(core)) {
        core->count.stale_messages++;
        return;
    }
    core->count.acks++;
    peer->answered_at = core->now;
    if (peer->amnesiac != ack->amnesiac) {
        peer->amnesiac = ack->amnesiac;
        apus_core_tell(core);
    }
    peer->delivered = MAX(peer->delivered, ack->delivered);
    if (ack->echo > peer->echo && ack->echo <= core->now) {
        peer->echo = APUS_BROKEN(LEASE_FROM_ANSWER) ? core->now : ack->echo;
    }
    if (ack->kind == APUS_ACK_SAME && ack->match <= last) {
        peer->match = MAX(peer->match, ack->match);
        peer->next = MAX(peer->next, peer->match + 1);
        if (peer->probing) {
            peer->probing = FALSE;
            peer->next = peer->match + 1;
        }
    } else if (ack->kind == APUS_ACK_DIFFERS) {
        peer->probing = TRUE;
        peer->next = MIN(MAX(ack->match, peer->match), last) + 1;
        peer->beat_at = 0;
    }
}

gboolean apus_core_hand_over(ApusCore *core, uint64_t now, GError **errp)
{
    core->now = MAX(core->now, now);
    if (core->state != APUS_STATE_LEADER) {
        return apus_refuse(errp, APUS_ERROR_NOT_LEADER,
                           "this member does not lead");
    }
    if (apus_core_changing(core)) {
        return apus_refuse(errp, APUS_ERROR_BUSY, "a change of members is "
                           "under way");
    }
    if (!secondary_keeps_up(core)) {
        return apus_refuse(errp, APUS_ERROR_ROLE, "there is no secondary that "
                           "is connected and up to date");
    }
    apus_core_resign(core, now);
    return TRUE;
}

/* --- trimming (R7) ------------------------------------------------------- */

/* What a secondary that @role names has delivered limits @floor. */
static uint64_t not_beyond(ApusCore *core, uint64_t floor,
                           const ApusRole *role)
{
    Peer *peer = apus_core_peer(core, role->secondary);

    if (peer && peer->incarnation == role->secondary_incarnation &&
        !APUS_BROKEN(TRIM_EARLY)) {
        floor = MIN(floor, peer->delivered);
    }
    return floor;
}

static uint64_t needed_by_nobody(ApusCore *core)
{
    uint64_t floor = core->delivered;
    ApusSnapshot committed;

    apus_log_snapshot(core->log, core->commit, &committed);
    floor = not_beyond(core, floor, &committed.role);
    floor = not_beyond(core, floor, &apus_log_newest(core->log)->role);
    if (core->pin) {
        floor = MIN(floor, core->pin);
    }
    /* With room to spare nobody who is only slow needs a snapshot. */
    for (unsigned i = 0; i < core->peers; i++) {
        Peer *peer = &core->peer[i];

        if (peer->connected && !peer->guest && !peer->suspected &&
            peer->match < floor && !core->tight &&
            apus_log_room(core->log) > core->config.log_size / 2) {
            floor = peer->match;
        }
    }
    return floor;
}

void apus_core_leader_trim(ApusCore *core)
{
    uint64_t base = apus_log_base(core->log)->index;
    /* Only a few entries: not worth the while. */
    if (!apus_core_leads(core) ||
        (core->delivered < base + LOT &&
         apus_log_room(core->log) > core->config.log_size / 4 * 3)) {
        return;
    }
    apus_core_trim(core, needed_by_nobody(core));
    core->tight = FALSE;
}

void apus_core_pin(ApusCore *core, uint64_t index)
{
    core->pin = index;
}

/* --- submissions (R10) --------------------------------------------------- */

static gboolean check_role(ApusCore *core, const uint8_t *payload,
                           uint32_t length, GError **errp)
{
    const ApusSnapshot *newest = apus_log_newest(core->log);
    ApusRole role;
    Peer *peer;

    if (!apus_role_decode(&role, payload, length, errp) ||
        !apus_role_check(&role, &newest->members, errp)) {
        return FALSE;
    }
    if (role.leader != core->config.id ||
        role.leader_incarnation != core->config.incarnation) {
        return apus_refuse(errp, APUS_ERROR_ROLE, "a leader can only name "
                           "itself as leader");
    }
    if (apus_log_newest_of(core->log, APUS_ENTRY_ROLE) > core->commit) {
        return apus_refuse(errp, APUS_ERROR_BUSY, "the last change of roles is "
                           "not committed yet");
    }
    if (role.secondary == APUS_NOBODY) {
        return TRUE;
    }
    if (role.secondary == newest->members.leaving ||
        (core->changing && role.secondary == core->change_old)) {
        return apus_refuse(errp, APUS_ERROR_ROLE, "the secondary is about to "
                           "leave the group");
    }
    peer = apus_core_peer(core, role.secondary);
    if (!peer || !peer->connected || peer->amnesiac ||
        peer->incarnation != role.secondary_incarnation) {
        return apus_refuse(errp, APUS_ERROR_ROLE, "the secondary has to be "
                           "connected and up to date");
    }
    return TRUE;
}

/*
 * SYNC leaves room for a ROLE: without it nothing could be trimmed when the
 * secondary is dead. INPUT leaves room for a SYNC, too: the VM may stand until
 * there is one, and deliver nothing.
 */
static gboolean has_room(const ApusCore *core, ApusEntryKind kind,
                         uint32_t length)
{
    uint32_t reserve = MIN(4096, core->config.log_size / 8);

    if (kind == APUS_ENTRY_SYNC) {
        length += reserve;
    } else if (kind == APUS_ENTRY_INPUT) {
        length += 2 * reserve;
    }
    return apus_log_fits(core->log, length);
}

static gboolean check_submission(ApusCore *core, ApusEntryKind kind,
                                 const uint8_t *payload, uint32_t length,
                                 GError **errp)
{
    ApusEntry entry = { .kind = kind, .payload = payload, .length = length };

    if (!apus_core_accepts(core)) {
        return apus_refuse(errp, APUS_ERROR_NOT_LEADER, "this member does not "
                           "lead, or not yet");
    }
    if (length > APUS_RECORD_MAX_PAYLOAD) {
        return apus_refuse(errp, APUS_ERROR_TOO_LONG, "the entry is too long");
    }
    if (kind == APUS_ENTRY_MEMBER || !apus_log_valid(&entry)) {
        return apus_refuse(errp, APUS_ERROR_CORRUPT, "this is no entry that "
                           "can be submitted");
    }
    if (kind == APUS_ENTRY_ROLE && !check_role(core, payload, length, errp)) {
        return FALSE;
    }
    if (!has_room(core, kind, length)) {
        core->tight = TRUE;
        return apus_refuse(errp, APUS_ERROR_FULL, "the log is full");
    }
    return TRUE;
}

/*
 * While it delivered nothing, a member said that it had delivered all; since
 * then it may have begun further back (apus_core_deliver_from()).
 */
static void expect_less(ApusCore *core, const uint8_t *payload,
                        uint32_t length)
{
    const ApusRole *newest = &apus_log_newest(core->log)->role;
    Peer *peer = NULL;
    ApusRole role;

    if (apus_role_decode(&role, payload, length, NULL) &&
        role.secondary != newest->secondary) {
        peer = apus_core_peer(core, role.secondary);
    }
    if (peer) {
        peer->delivered = 0;
    }
}

gboolean apus_core_submit(ApusCore *core, ApusEntryKind kind,
                          const uint8_t *payload, uint32_t length,
                          void *token, uint64_t now, GError **errp)
{
    Pending *pending;
    gboolean appended;

    core->now = MAX(core->now, now);
    if (!check_submission(core, kind, payload, length, errp)) {
        return FALSE;
    }
    if (kind == APUS_ENTRY_ROLE) {
        expect_less(core, payload, length);
    }
    appended = apus_core_append(core, kind, payload, length);
    g_assert(appended);
    pending = g_new(Pending, 1);
    *pending = (Pending) {
        .index = apus_log_last_index(core->log),
        .token = token,
        .when = core->now,
    };
    g_queue_push_tail(&core->pending, pending);
    return TRUE;
}

/* --- time ---------------------------------------------------------------- */

void apus_core_leader_tick(ApusCore *core)
{
    Pending *oldest;

    if (!apus_core_leads(core)) {
        return;
    }
    while ((oldest = g_queue_peek_head(&core->pending)) &&
           core->now >= oldest->when + core->config.submit_timeout) {
        void *token = oldest->token;

        g_free(g_queue_pop_head(&core->pending));
        core->ops->completed(core->opaque, token, APUS_FATE_UNKNOWN, 0);
    }
    for (unsigned i = 0; i < core->peers; i++) {
        Peer *peer = &core->peer[i];

        if (!peer->guest && !peer->suspected &&
            core->now > peer->heard + apus_core_patience(core, peer)) {
            peer->suspected = TRUE;
            apus_core_tell(core);
        }
    }
}

uint64_t apus_core_leader_deadline(const ApusCore *core)
{
    uint64_t when = NEVER;
    const Pending *oldest = oldest_pending(core);

    if (!apus_core_leads(core)) {
        return NEVER;
    }
    if (oldest) {
        when = oldest->when + (core->relaxed ? promptness(core)
                                             : core->config.submit_timeout);
    }
    for (unsigned i = 0; i < core->peers; i++) {
        const Peer *peer = &core->peer[i];

        if (peer->guest) {
            continue;
        }
        if (peer->connected) {
            when = MIN(when, peer->beat_at + core->config.heartbeat);
        }
        if (!peer->suspected) {
            when = MIN(when,
                       peer->heard + apus_core_patience(core, peer) + 1);
        }
    }
    /* A lease goes on without anybody's answer, but not by itself. */
    if (apus_log_newest(core->log)->members.count == 1) {
        when = MIN(when, core->now + core->config.heartbeat);
    }
    /* One that is not fit sends nothing, and looks now and then. */
    return apus_core_fit(core) ? when
                               : core->now + core->config.heartbeat;
}

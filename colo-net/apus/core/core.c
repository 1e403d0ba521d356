/*
 * The consensus core: life cycle, messages, time, and what there is to see
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "core-internal.h"

#define MILLISECOND (1000 * 1000ull)

/* A suspicion that was too early makes the next ones later for this long. */
#define PATIENCE_TIME (10000 * MILLISECOND)
#define MAX_PATIENCE 2

#ifdef APUS_MUTATIONS
ApusMutation apus_mutation;
#endif

void apus_core_defaults(ApusCoreConfig *config)
{
    config->heartbeat = 10 * MILLISECOND;
    config->timeout = 100 * MILLISECOND;
    config->lease = 80 * MILLISECOND;
    config->submit_timeout = 10000 * MILLISECOND;
    config->log_size = 64u << 20;
    config->window = 8u << 20;
}

void apus_core_found(ApusHardState *state, const ApusMembers *members,
                     ApusId leader, gboolean joins)
{
    *state = (ApusHardState) { .generation = 1 };
    state->amnesiac = joins;
    state->blank = joins;
    state->base.members = *members;
    state->base.role.leader = leader;
    state->newest = state->base;
}

ApusCore *apus_core_new(const ApusCoreConfig *config, const ApusCoreOps *ops,
                        void *opaque, const ApusHardState *state)
{
    ApusCore *core = g_new0(ApusCore, 1);
    ApusSnapshot base = state->base;

    g_assert(config->id != APUS_NOBODY && config->life && config->incarnation);
    g_assert(config->lease < config->timeout);
    if (state->amnesiac && config->durability == APUS_DURABILITY_MEMORY) {
        base.index = base.term = base.position = 0; /* the log is gone */
    }
    core->remembered = state->newest;
    core->config = *config;
    core->ops = ops;
    core->opaque = opaque;
    core->log = apus_log_new(config->log_size, NULL, &base);
    core->generation = state->generation;
    core->term = state->term;
    core->vote = state->vote;
    core->amnesiac = state->amnesiac;
    core->blank = state->blank;
    core->commit = core->delivered = core->ordered = base.index;
    core->saved_position = base.position;
    core->saved_index = base.index;
    core->delivers = config->delivers;
    core->unsafe = g_array_new(FALSE, FALSE, sizeof(Unsafe));
    core->campaign_at = NEVER;
    g_queue_init(&core->pending);
    return core;
}

void apus_core_free(ApusCore *core)
{
    if (!core) {
        return;
    }
    g_queue_clear_full(&core->pending, g_free);
    g_array_unref(core->unsafe);
    apus_log_free(core->log);
    g_free(core);
}

/*
 * What was trimmed after the base was saved last is on disk still, in the way
 * of what was written then: see apus_core_trim(), which saves it before there
 * is more. With that bound nothing is taken for committed that is not.
 */
static void make_room(ApusCore *core, uint32_t length)
{
    while (!apus_log_fits(core->log, length) &&
           apus_log_base(core->log)->index < apus_log_last_index(core->log)) {
        ApusSnapshot next;

        apus_log_snapshot(core->log, apus_log_base(core->log)->index + 1,
                          &next);
        if (next.position - core->saved_position >=
            apus_core_unsaved(core)) {
            return;
        }
        apus_log_trim(core->log, next.index);
        core->commit = core->delivered = next.index;
    }
}

gboolean apus_core_replay(ApusCore *core, const ApusEntry *entry,
                          GError **errp)
{
    g_assert(!core->started);
    if (entry->index != apus_log_last_index(core->log) + 1 ||
        entry->term < apus_log_last_term(core->log) ||
        !apus_log_valid(entry)) {
        g_set_error(errp, APUS_ERROR, APUS_ERROR_CORRUPT,
                    "the entry at index %" G_GUINT64_FORMAT
                    " cannot follow the one before it", entry->index);
        return FALSE;
    }
    make_room(core, entry->length);
    if (!apus_log_append(core->log, entry->kind, entry->term, entry->payload,
                         entry->length)) {
        g_set_error(errp, APUS_ERROR, APUS_ERROR_FULL,
                    "the log on disk does not fit into %zu bytes of memory: "
                    "it was written with a larger log-size, which has to be "
                    "set again", core->config.log_size);
        return FALSE;
    }
    core->ordered = entry->index;
    return TRUE;
}

/*
 * Time goes on. After a time in which this process did not run, what others
 * sent may still be on its way: their silence begins anew (R8).
 */
static void advance(ApusCore *core, uint64_t now)
{
    gboolean stalled = core->deadline != NEVER && core->deadline != 0 &&
                       now > core->deadline + core->config.timeout / 2;

    core->now = MAX(core->now, now);
    if (!stalled) {
        return;
    }
    core->deadline = NEVER;
    for (unsigned i = 0; i < core->peers; i++) {
        core->peer[i].heard = core->now;
    }
    if (core->campaign_at != NEVER) {
        core->campaign_at = MAX(core->campaign_at,
                                core->now + core->config.timeout);
    }
}

void apus_core_start(ApusCore *core, uint64_t now)
{
    core->now = now;
    core->alive = now;
    core->started = TRUE;
    /* A promise may have been forgotten with the last life (R9). */
    core->quarantine = now + core->config.timeout;
    core->campaign_at = core->quarantine;
    apus_core_sync_peers(core);
    apus_core_tell(core);
    apus_core_flush(core, now);
}

/* --- peers --------------------------------------------------------------- */

Peer *apus_core_peer(const ApusCore *core, ApusId id)
{
    for (unsigned i = 0; i < core->peers; i++) {
        if (core->peer[i].id == id) {
            return (Peer *)&core->peer[i];
        }
    }
    return NULL;
}

gboolean apus_core_member(const ApusCore *core, ApusId id)
{
    return apus_members_find(&apus_log_newest(core->log)->members, id) >= 0;
}

gboolean apus_core_two_suffice(const ApusCore *core)
{
    return apus_members_majority(&apus_log_newest(core->log)->members) == 2;
}

static void want(const ApusCore *core, ApusMembers *wanted,
                 const ApusMember *member)
{
    if (member->id != core->config.id && wanted->count < APUS_MAX_MEMBERS &&
        apus_members_find(wanted, member->id) < 0) {
        wanted->member[wanted->count++] = *member;
    }
}

/*
 * Those to be connected with: members, who is to become one, and those whom
 * an amnesiac remembers.
 */
static void wanted_peers(const ApusCore *core, ApusMembers *wanted)
{
    const ApusMembers *members = &apus_log_newest(core->log)->members;

    *wanted = (ApusMembers) { .count = 0 };
    for (unsigned i = 0; i < members->count; i++) {
        want(core, wanted, &members->member[i]);
    }
    if (core->changing && core->change_new.id != APUS_NOBODY) {
        want(core, wanted, &core->change_new);
    }
    if (core->amnesiac) {
        members = &core->remembered.members;
        for (unsigned i = 0; i < members->count; i++) {
            want(core, wanted, &members->member[i]);
        }
    }
}

/* Who is connected and not wanted is a guest, as far as there is room. */
static unsigned keep_guests(const ApusCore *core, const ApusMembers *wanted,
                            Peer *peers)
{
    unsigned count = wanted->count;

    for (unsigned i = 0; i < core->peers && count < MAX_PEERS; i++) {
        const Peer *peer = &core->peer[i];

        if (peer->connected && apus_members_find(wanted, peer->id) < 0) {
            peers[count] = *peer;
            peers[count++].guest = TRUE;
        }
    }
    return count;
}

void apus_core_sync_peers(ApusCore *core)
{
    ApusMembers wanted;
    Peer peers[MAX_PEERS];
    unsigned count;

    wanted_peers(core, &wanted);
    for (unsigned i = 0; i < wanted.count; i++) {
        Peer *known = apus_core_peer(core, wanted.member[i].id);

        peers[i] = known ? *known : (Peer) {
            .id = wanted.member[i].id,
            .heard = core->now,
        };
        if (!known) {
            apus_core_reset_peer(core, &peers[i]);
        }
        peers[i].guest = FALSE;
    }
    count = keep_guests(core, &wanted, peers);
    memcpy(core->peer, peers, count * sizeof(peers[0]));
    core->peers = count;
    core->ops->peers(core->opaque, &wanted);
    apus_core_tell(core);
}

/*
 * Who has the group's key, but is not in our list: it may be a member by a
 * newer one, even the leader, and the only one who can tell us.
 */
static Peer *new_guest(ApusCore *core, ApusId id)
{
    Peer *peer = &core->peer[core->peers];

    if (core->peers == MAX_PEERS || id == core->config.id) {
        return NULL;
    }
    core->peers++;
    *peer = (Peer) { .id = id, .guest = TRUE, .heard = core->now };
    apus_core_reset_peer(core, peer);
    return peer;
}

uint64_t apus_core_patience(const ApusCore *core, const Peer *peer)
{
    return core->config.timeout << peer->patience;
}

void apus_core_heard(ApusCore *core, Peer *peer)
{
    if (peer->suspected) {
        peer->suspected = FALSE;
        /* A slow link, not an outage: be more patient for a while. */
        if (core->now - peer->heard <
            apus_core_patience(core, peer) + core->config.timeout) {
            peer->patience = MIN(peer->patience + 1, MAX_PATIENCE);
            peer->impatient_at = core->now;
        }
        apus_core_tell(core);
    }
    if (peer->patience && core->now - peer->impatient_at > PATIENCE_TIME) {
        peer->patience = 0;
    }
    peer->heard = core->now;
}

void apus_core_connected(ApusCore *core, ApusId id, uint64_t life,
                         uint64_t incarnation, uint64_t now)
{
    Peer *peer = apus_core_peer(core, id);

    advance(core, now);
    peer = peer ? peer : new_guest(core, id);
    if (!peer) {
        return;
    }
    peer->connected = TRUE;
    peer->connected_at = core->now;
    peer->incarnation = incarnation;
    peer->dead = FALSE;
    apus_core_heard(core, peer);
    if (peer->life != life) {
        peer->life = life;
        peer->patience = 0;
        peer->answered = FALSE; /* that was another life's vote */
        peer->vote = (ApusVote) { .verdict = 0 };
        apus_core_reset_peer(core, peer);
        /* The process that led is no more. */
        if (core->leader == id && core->leader_life != life) {
            apus_core_suspect_leader(core);
        }
    }
    /* What was under way on the old connection is lost. */
    peer->next = MIN(peer->next, peer->match + 1);
    peer->probing = TRUE;
    peer->beat_at = 0;
    if (core->state == APUS_STATE_ASKING ||
        core->state == APUS_STATE_CANDIDATE) {
        core->ask_at = core->now;
    }
    apus_core_tell(core);
}

void apus_core_disconnected(ApusCore *core, ApusId id, uint64_t now)
{
    Peer *peer = apus_core_peer(core, id);

    advance(core, now);
    if (peer && peer->connected) {
        peer->connected = FALSE;
        apus_core_tell(core);
    }
    if (peer && peer->guest) {
        core->peers--;
        memmove(peer, peer + 1,
                (core->peer + core->peers - peer) * sizeof(*peer));
    }
}

void apus_core_refused(ApusCore *core, ApusId id, uint64_t life, uint64_t now)
{
    Peer *peer = apus_core_peer(core, id);

    advance(core, now);
    if (!core->config.lease_strict) {
        apus_core_release_promise(core, id, life, NEVER);
    }
    if (!peer || peer->guest || peer->life != life) {
        return;
    }
    peer->connected = FALSE;
    peer->dead = TRUE;
    peer->suspected = TRUE;
    if (core->leader == id && core->leader_life == life) {
        apus_core_suspect_leader(core);
    }
    apus_core_tell(core);
}

/* --- messages ------------------------------------------------------------ */

void apus_core_send(ApusCore *core, Peer *peer, ApusMessage *message)
{
    if (!peer->connected) {
        return;
    }
    message->from = core->config.id;
    message->to = peer->id;
    message->from_life = core->config.life;
    message->to_life = peer->life;
    message->generation = core->generation;
    if (message->type != APUS_MESSAGE_ASK_VOTE) {
        message->term = core->term;
    }
    core->ops->send(core->opaque, message);
}

static gboolean of_this_life(const ApusCore *core, const Peer *peer,
                             const ApusMessage *m)
{
    return APUS_BROKEN(LIFE_IGNORED) ||
           (m->to_life == core->config.life && m->from_life == peer->life);
}

/* Whom a leader brings up to date belongs to its generation from then on. */
static gboolean of_this_generation(ApusCore *core, Peer *peer,
                                   const ApusMessage *m)
{
    ApusMessage answer = {
        .type = APUS_MESSAGE_ACK,
        .ack = { .kind = APUS_ACK_DIFFERS, .amnesiac = TRUE },
    };

    if (m->generation > core->generation && core->amnesiac) {
        if (m->type == APUS_MESSAGE_APPEND ||
            m->type == APUS_MESSAGE_SNAPSHOT) {
            core->generation = m->generation;
            apus_core_save(core);
        }
    } else if (m->generation > core->generation) {
        apus_core_superseded(core);
    } else if (m->generation < core->generation && !core->amnesiac) {
        apus_core_send(core, peer, &answer); /* says the newer generation */
    }
    return m->generation == core->generation;
}

void apus_core_note(ApusCore *core, ApusId to, const uint8_t *data,
                    size_t size, uint64_t now)
{
    Peer *peer = apus_core_peer(core, to);
    ApusMessage message = {
        .type = APUS_MESSAGE_NOTE,
        .note = { .data = data, .size = size },
    };

    g_assert(size <= APUS_NOTE_MAX);
    advance(core, now);
    if (core->state != APUS_STATE_FAILED && peer && peer->connected) {
        core->count.sent_notes++;
        apus_core_send(core, peer, &message);
    }
}

/* A newer term than ours is for what changes terms to tell us. */
static void on_note(ApusCore *core, const Peer *peer, const ApusMessage *m)
{
    if (m->term != core->term || peer->guest) {
        core->count.refused_notes++;
        return;
    }
    core->count.received_notes++;
    if (core->ops->told) {
        core->ops->told(core->opaque, m->from, m->term, m->note.data,
                        m->note.size);
    }
}

void apus_core_receive(ApusCore *core, const ApusMessage *m, uint64_t now)
{
    Peer *peer = apus_core_peer(core, m->from);

    advance(core, now);
    if (core->state == APUS_STATE_FAILED) {
        return;
    }
    if (!peer || m->to != core->config.id) {
        core->count.refused_messages++;
        return;
    }
    if (!of_this_life(core, peer, m) || !of_this_generation(core, peer, m)) {
        core->count.stale_messages++;
        return;
    }
    apus_core_heard(core, peer);
    switch (m->type) {
    case APUS_MESSAGE_APPEND:
        apus_core_on_append(core, peer, m);
        break;
    case APUS_MESSAGE_ACK:
        apus_core_on_ack(core, peer, m);
        break;
    case APUS_MESSAGE_SNAPSHOT:
        apus_core_on_install(core, peer, m);
        break;
    case APUS_MESSAGE_ASK_VOTE:
        apus_core_on_ask_vote(core, peer, m);
        break;
    case APUS_MESSAGE_VOTE:
        apus_core_on_vote(core, peer, m);
        break;
    case APUS_MESSAGE_FETCH:
        apus_core_on_fetch(core, peer, m);
        break;
    case APUS_MESSAGE_ENTRIES:
        apus_core_on_entries(core, peer, m);
        break;
    case APUS_MESSAGE_NOTE:
        on_note(core, peer, m);
        break;
    case APUS_MESSAGE_RESIGN:
        apus_core_release_promise(core, peer->id, peer->life, m->term);
        if (core->leader == peer->id && m->term == core->term) {
            apus_core_suspect_leader(core);
        }
        break;
    default:
        core->count.refused_messages++;
    }
}

/* --- states -------------------------------------------------------------- */

void apus_core_tell(ApusCore *core)
{
    core->changed = TRUE;
}

gboolean apus_core_fit(const ApusCore *core)
{
    return core->state != APUS_STATE_FAILED &&
           (core->config.alive_timeout == 0 || APUS_BROKEN(STUCK_LEADS) ||
            core->now <= core->alive + core->config.alive_timeout);
}

void apus_core_step_down(ApusCore *core)
{
    gboolean led = apus_core_leads(core);

    core->state = APUS_STATE_FOLLOWER;
    core->leader = APUS_NOBODY;
    core->fetching = APUS_NOBODY;
    core->match = core->commit;
    core->leader_safe = 0;
    core->echo = core->acked_echo = core->acked_match = 0;
    core->differs = core->ack_due = FALSE;
    core->campaign_at = core->now + core->config.timeout;
    if (led) {
        core->hold = FALSE;
        core->pin = 0;
        core->elected_index = 0;
        if (core->changing) {
            core->changing = FALSE;
            apus_core_sync_peers(core);
        }
        apus_core_fail_pending(core);
    }
    apus_core_tell(core);
}

void apus_core_set_term(ApusCore *core, uint64_t term, ApusId vote)
{
    g_assert(term > core->term);
    if (core->ops->term_rises) {
        core->ops->term_rises(core->opaque, term);
    }
    core->term = term;
    core->vote = vote;
}

void apus_core_see_term(ApusCore *core, uint64_t term)
{
    apus_core_set_term(core, term, APUS_NOBODY);
    core->granting = APUS_NOBODY;
    apus_core_step_down(core);
    core->term_ticket = apus_core_save(core);
}

void apus_core_follow(ApusCore *core, Peer *leader, gboolean alive)
{
    if (core->state != APUS_STATE_FOLLOWER) {
        apus_core_step_down(core);
    }
    core->granting = APUS_NOBODY; /* the vote was decided without us */
    if (core->leader != leader->id || core->leader_life != leader->life) {
        core->leader = leader->id;
        core->leader_life = leader->life;
        core->match = core->commit;
        core->leader_safe = 0;
        core->echo = core->acked_echo = core->acked_match = 0;
        core->tries = 0;
        alive = TRUE;
        apus_core_tell(core);
    }
    if (alive) {
        core->campaign_at = core->now + apus_core_patience(core, leader);
    }
}

void apus_core_failed(ApusCore *core, uint64_t now)
{
    advance(core, now);
    if (core->state == APUS_STATE_FAILED) {
        return;
    }
    apus_core_resign(core, now);
    apus_core_step_down(core);
    core->state = APUS_STATE_FAILED;
    core->campaign_at = NEVER;
}

void apus_core_alive(ApusCore *core, uint64_t when)
{
    core->alive = MAX(core->alive, when);
}

/* --- time ---------------------------------------------------------------- */

void apus_core_stored(ApusCore *core, uint64_t ticket, uint64_t now)
{
    guint safe = 0;

    advance(core, now);
    g_assert(ticket <= core->ticket);
    core->stored = MAX(core->stored, ticket);
    while (safe < core->unsafe->len &&
           g_array_index(core->unsafe, Unsafe, safe).ticket <= core->stored) {
        safe++;
    }
    if (safe > 0) {
        g_array_remove_range(core->unsafe, 0, safe);
    }
}

void apus_core_tick(ApusCore *core, uint64_t now)
{
    advance(core, now);
    if (core->state == APUS_STATE_FAILED) {
        return;
    }
    apus_core_leader_tick(core);
    apus_core_election_tick(core);
}

uint64_t apus_core_deadline(const ApusCore *core)
{
    return core->deadline;
}

static uint64_t next_deadline(const ApusCore *core)
{
    uint64_t when = apus_core_election_deadline(core);

    if (core->state == APUS_STATE_FAILED) {
        return NEVER;
    }
    when = MIN(when, apus_core_leader_deadline(core));
    return MIN(when, apus_core_change_deadline(core));
}

void apus_core_flush(ApusCore *core, uint64_t now)
{
    advance(core, now);
    if (core->state != APUS_STATE_FAILED) {
        apus_core_election_tick(core);
        apus_core_election_flush(core);
        apus_core_leader_commit(core);
        apus_core_change_flush(core);
        apus_core_leader_send(core);
        apus_core_order(core);
        apus_core_cure(core);
        apus_core_follower_commit(core);
        apus_core_send_ack(core);
        apus_core_deliver(core);
        apus_core_leader_trim(core);
    }
    core->deadline = next_deadline(core);
    if (core->changed) {
        core->changed = FALSE;
        core->ops->changed(core->opaque);
    }
}

/* --- what there is to see ------------------------------------------------ */

const ApusPeerStatus *apus_status_peer(const ApusStatus *status, ApusId id)
{
    for (unsigned i = 0; i < status->peers; i++) {
        if (status->peer[i].id == id) {
            return &status->peer[i];
        }
    }
    return NULL;
}

const char *apus_state_name(ApusState state)
{
    static const char *const names[] = {
        [APUS_STATE_FOLLOWER] = "follower",
        [APUS_STATE_ASKING] = "asking",
        [APUS_STATE_CANDIDATE] = "candidate",
        [APUS_STATE_ELECTED] = "elected",
        [APUS_STATE_LEADER] = "leader",
        [APUS_STATE_FAILED] = "failed",
    };

    return (unsigned)state < G_N_ELEMENTS(names) ? names[state] : "unknown";
}

static void peer_status(const ApusCore *core, const Peer *peer,
                        ApusPeerStatus *status, uint64_t now)
{
    gboolean leads = apus_core_leads(core);

    *status = (ApusPeerStatus) {
        .id = peer->id,
        .connected = peer->connected,
        .suspected = peer->suspected,
        .dead = peer->dead,
        .amnesiac = leads && peer->amnesiac,
        .incarnation = peer->incarnation,
        .match = leads ? peer->match : 0,
        .delivered = leads ? peer->delivered : 0,
        .silence = now > peer->heard ? now - peer->heard : 0,
    };
}

void apus_core_status(const ApusCore *core, ApusStatus *status, uint64_t now)
{
    ApusSnapshot committed;
    const ApusSnapshot *newest = apus_log_newest(core->log);

    *status = core->count;
    apus_log_snapshot(core->log, core->commit, &committed);
    status->state = core->state;
    status->accepts = apus_core_accepts(core);
    status->generation = core->generation;
    status->term = core->term;
    status->leader = core->leader;
    status->amnesiac = core->amnesiac;
    status->changing = apus_core_changing(core);
    status->role = committed.role;
    status->role_index = apus_log_newest_of(core->log, APUS_ENTRY_ROLE);
    status->members = newest->members;
    status->base = apus_log_base(core->log)->index;
    status->last = newest->index;
    status->commit = core->commit;
    status->delivered = core->delivered;
    status->delivers = core->delivers;
    status->superseded = core->superseded;
    status->hopeless = apus_core_hopeless(core);
    status->stored = apus_core_safe(core);
    status->room = apus_log_room(core->log);
    status->pending = core->pending.length;
    for (unsigned i = 0; i < core->peers; i++) {
        if (!core->peer[i].guest) {
            peer_status(core, &core->peer[i], &status->peer[status->peers++],
                        now);
        }
    }
}

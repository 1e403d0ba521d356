/*
 * The consensus core: elections
 *
 * When all goes well
 *
 *   - The secondary suspects the leader: it was silent for too long, or it is
 *     dead for certain, or it resigned.
 *   - It asks all members whether they would vote for it (the pre-vote). They
 *     say how good their logs are and whom the newest ROLE in them names.
 *   - If a majority would, and it may lead by the best of those logs, it takes
 *     a new term, votes for itself and asks for votes.
 *   - A majority gives them, each saved first. The best log among the voters
 *     is fetched and adopted if it is better than its own (R2).
 *   - By the log that it has now, the voters are a majority of the members and
 *     it may lead (R1). It leads.
 *
 * What can come in between
 *
 *   - A voter is bound to a living leader: ask again soon, for the leader is
 *     dead or silent to us, and will be to the voter.
 *   - A term that is newer than ours: go on from there.
 *   - Nobody answers, or too few: ask again, less and less often.
 *   - By the best log somebody else may lead, or nobody: go on asking, for
 *     that is the only way to hear of a log by which we may.
 *   - The voter with the best log has trimmed what we lack, or falls silent:
 *     give up this term.
 *   - A leader shows up: follow it.
 *
 * Why it is safe to lead with an adopted log: a committed entry is in the logs
 * of a majority, so in that of one of our voters. Logs are compared by the
 * term of their last entry and then by length. The log of a voter that has the
 * entry is better than any that lacks it, since a leader that did not have it
 * could not have been elected since. So the best log has it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "core-internal.h"

#define PATIENT_TRIES 4

/* --- promises (R9) ------------------------------------------------------- */

void apus_core_promise(ApusCore *core, Peer *leader)
{
    core->promised = leader->id;
    core->promised_life = leader->life;
    core->promised_term = core->term;
    core->promise = core->now + core->config.timeout;
}

void apus_core_release_promise(ApusCore *core, ApusId to, uint64_t life,
                               uint64_t term)
{
    if (core->promised == to && core->promised_life == life &&
        core->promised_term <= term) {
        core->promise = 0;
    }
}

/* Bound not to vote for @candidate, whose life is @life? Nor for oneself. */
static gboolean bound(const ApusCore *core, ApusId candidate, uint64_t life)
{
    if (core->now < core->quarantine && !APUS_BROKEN(NO_QUARANTINE)) {
        return TRUE;
    }
    if (APUS_BROKEN(LEASE_UNPROMISED)) {
        return FALSE;
    }
    if (core->state == APUS_STATE_LEADER &&
        apus_core_lease(core, core->now) > core->now) {
        return TRUE;
    }
    return core->now < core->promise &&
           !(core->promised == candidate && core->promised_life == life);
}

/* --- who may lead (R1) --------------------------------------------------- */

static gboolean names(const ApusCore *core, ApusId id, uint64_t incarnation)
{
    return id == core->config.id &&
           (incarnation == 0 || incarnation == core->config.incarnation ||
            APUS_BROKEN(INCARNATION_IGNORED));
}

gboolean apus_core_eligible(const ApusCore *core, const ApusRole *role)
{
    if (APUS_BROKEN(WITNESS_LEADS)) {
        return TRUE;
    }
    return core->config.can_run && !role->stopped &&
           (names(core, role->leader, role->leader_incarnation) ||
            names(core, role->secondary, role->secondary_incarnation));
}

/* May it ask at all? Whether it may lead depends on the logs of others. */
static gboolean may_ask(const ApusCore *core)
{
    return (core->config.can_run || APUS_BROKEN(WITNESS_LEADS)) &&
           (!core->amnesiac || APUS_BROKEN(AMNESIAC_VOTES)) &&
           core->stored >= core->cure_ticket && apus_core_fit(core) &&
           apus_core_member(core, core->config.id);
}

/* --- logs ---------------------------------------------------------------- */

/* Is the log that ends with (@term_a, @index_a) better than the other? */
static gboolean better(uint64_t term_a, uint64_t index_a, uint64_t term_b,
                       uint64_t index_b)
{
    return term_a > term_b || (term_a == term_b && index_a > index_b);
}

static gboolean better_than_ours(const ApusCore *core, const ApusVote *vote)
{
    return better(vote->last_term, vote->last_index,
                  apus_log_last_term(core->log),
                  apus_log_last_index(core->log));
}

static gboolean granted(const ApusCore *core, const Peer *peer)
{
    return peer->answered && peer->vote.verdict == APUS_VOTE_GRANTED &&
           !(APUS_BROKEN(EACH_VOTER) && better_than_ours(core, &peer->vote));
}

/* The voter with the best log, if that is better than ours. */
static Peer *best_voter(ApusCore *core)
{
    Peer *best = NULL;

    for (unsigned i = 0; i < core->peers; i++) {
        Peer *peer = &core->peer[i];

        if (granted(core, peer) && better_than_ours(core, &peer->vote) &&
            (!best || better(peer->vote.last_term, peer->vote.last_index,
                             best->vote.last_term, best->vote.last_index))) {
            best = peer;
        }
    }
    return best;
}

/* Are the voters, and we, a majority of the members by our newest list? */
static gboolean has_majority(ApusCore *core)
{
    const ApusMembers *members = &apus_log_newest(core->log)->members;
    unsigned votes = 0;

    for (unsigned i = 0; i < members->count; i++) {
        ApusId id = members->member[i].id;
        Peer *peer = apus_core_peer(core, id);

        votes += id == core->config.id || (peer && granted(core, peer));
    }
    return votes >= apus_members_majority(members);
}

/* --- asking and being a candidate ---------------------------------------- */

static void ask(ApusCore *core, gboolean again)
{
    const ApusSnapshot *newest = apus_log_newest(core->log);

    for (unsigned i = 0; i < core->peers; i++) {
        Peer *peer = &core->peer[i];
        ApusMessage message = {
            .type = APUS_MESSAGE_ASK_VOTE,
            .term = core->term + (core->state == APUS_STATE_ASKING),
            .ask_vote = {
                .pre = core->state == APUS_STATE_ASKING,
                .last_index = newest->index,
                .last_term = newest->term,
            },
        };

        if (apus_core_member(core, peer->id) &&
            !(again && peer->answered &&
              peer->vote.verdict == APUS_VOTE_GRANTED)) {
            apus_core_send(core, peer, &message);
        }
    }
}

static void forget_answers(ApusCore *core)
{
    for (unsigned i = 0; i < core->peers; i++) {
        core->peer[i].answered = FALSE;
    }
    core->fetching = APUS_NOBODY;
}

/* From a few milliseconds on to about a timeout, and never all at once. */
static uint64_t backoff(ApusCore *core)
{
    uint64_t most = (core->config.heartbeat / 8) << MIN(core->tries, 6);

    most = MIN(most, core->config.timeout / 2);
    return most / 2 + core->ops->random(core->opaque) % (most + 1);
}

static void start_asking(ApusCore *core)
{
    core->state = APUS_STATE_ASKING;
    core->leader = APUS_NOBODY;
    forget_answers(core);
    core->ask_at = core->now + core->config.heartbeat;
    core->give_up_at = core->now + core->config.timeout;
    core->campaign_at = NEVER;
    core->count.elections++;
    apus_core_tell(core);
    ask(core, FALSE);
}

static void ask_later(ApusCore *core)
{
    core->state = APUS_STATE_FOLLOWER;
    core->campaign_at = core->now + backoff(core);
    core->tries++;
    forget_answers(core);
    apus_core_tell(core);
}

static void become_candidate(ApusCore *core)
{
    apus_core_set_term(core, core->term + 1, core->config.id);
    core->state = APUS_STATE_CANDIDATE;
    core->granting = APUS_NOBODY;
    core->ops->fence(core->opaque, core->term);
    core->term_ticket = apus_core_save(core);
    forget_answers(core);
    core->ask_at = core->now + core->config.heartbeat;
    core->candidate_at = core->now;
    core->give_up_at = core->now + core->config.timeout;
    apus_core_tell(core);
    ask(core, FALSE);
}

void apus_core_suspect_leader(ApusCore *core)
{
    Peer *leader = apus_core_peer(core, core->leader);

    if (leader) {
        leader->suspected = TRUE;
    }
    core->leader = APUS_NOBODY;
    core->tries = 0;
    if (core->state == APUS_STATE_FOLLOWER) {
        core->campaign_at = core->now;
    }
    apus_core_tell(core);
}

/* May we lead by the best log that we have heard of? */
static gboolean may_lead_by_best(ApusCore *core)
{
    Peer *best = best_voter(core);

    if (!best || APUS_BROKEN(ELIGIBLE_FIRST)) {
        return apus_core_eligible(core, &apus_log_newest(core->log)->role);
    }
    return apus_core_eligible(core, &best->vote.role);
}

/*
 * Is there a majority that would vote? Members who are gone for good may keep
 * it from us, by a list that is not the newest any more: after some tries one
 * voter with a better log is worth the term that it costs.
 */
static gboolean may_stand(ApusCore *core)
{
    return (has_majority(core) ||
            (best_voter(core) && core->tries >= PATIENT_TRIES)) &&
           may_lead_by_best(core);
}

/* Ask for what follows our entry at core->match, until that is the last. */
static void fetch(ApusCore *core)
{
    Peer *from = apus_core_peer(core, core->fetching);
    ApusMessage message = {
        .type = APUS_MESSAGE_FETCH,
        .fetch.prev_index = core->match,
    };

    core->ask_at = core->now + core->config.heartbeat;
    if (from && apus_log_term(core->log, core->match,
                              &message.fetch.prev_term)) {
        apus_core_send(core, from, &message);
    }
}

static void count_votes(ApusCore *core)
{
    Peer *best = best_voter(core);

    if (core->stored < core->term_ticket && !APUS_BROKEN(VOTE_UNSAVED)) {
        return;
    }
    if (APUS_BROKEN(OLD_MEMBERS_ELECT) && core->fetching == APUS_NOBODY &&
        !has_majority(core)) {
        return;
    }
    /*
     * By a better log others may be the members: whose votes are enough is
     * asked last. What is cut off by a better log was never committed.
     */
    if (best && !APUS_BROKEN(NO_ADOPTION)) {
        if (core->fetching != best->id) {
            core->fetching = best->id;
            core->match = MIN(apus_log_last_index(core->log),
                              best->vote.last_index);
            fetch(core);
        }
        return;
    }
    if (!has_majority(core) && !APUS_BROKEN(OLD_MEMBERS_ELECT)) {
        return;
    }
    if (!apus_core_member(core, core->config.id) ||
        (!apus_core_eligible(core, &apus_log_newest(core->log)->role) &&
         !APUS_BROKEN(ELIGIBLE_FIRST))) {
        ask_later(core);
        return;
    }
    apus_core_lead(core);
}

static void answer(ApusCore *core, Peer *peer, gboolean pre, uint64_t asked,
                   ApusVerdict verdict)
{
    const ApusSnapshot *newest = apus_log_newest(core->log);
    ApusMessage message = {
        .type = APUS_MESSAGE_VOTE,
        .vote = {
            .pre = pre,
            .verdict = verdict,
            .asked = asked,
            .last_index = newest->index,
            .last_term = newest->term,
            .role = newest->role,
        },
    };

    apus_core_send(core, peer, &message);
}

void apus_core_election_flush(ApusCore *core)
{
    Peer *peer;

    if (core->granting != APUS_NOBODY &&
        (core->stored >= core->term_ticket || APUS_BROKEN(VOTE_UNSAVED))) {
        peer = apus_core_peer(core, core->granting);
        core->granting = APUS_NOBODY;
        if (peer) {
            answer(core, peer, FALSE, core->term, APUS_VOTE_GRANTED);
        }
    }
    if (core->state == APUS_STATE_ASKING && may_stand(core)) {
        become_candidate(core);
    }
    if (core->state == APUS_STATE_CANDIDATE) {
        count_votes(core);
    }
}

/* --- time ---------------------------------------------------------------- */

static void campaign(ApusCore *core)
{
    Peer *leader = apus_core_peer(core, core->leader);

    if (leader) {
        leader->suspected = TRUE;
        core->leader = APUS_NOBODY;
        apus_core_tell(core);
    }
    if (!may_ask(core)) {
        core->campaign_at = core->now + core->config.timeout;
    } else if (core->now < core->quarantine) {
        core->campaign_at = core->quarantine;
    } else if (bound(core, core->config.id, core->config.life)) {
        core->campaign_at = MAX(core->promise, core->now + 1);
    } else {
        start_asking(core);
    }
}

void apus_core_election_tick(ApusCore *core)
{
    switch (core->state) {
    case APUS_STATE_FOLLOWER:
        if (core->now >= core->campaign_at) {
            campaign(core);
        }
        break;
    case APUS_STATE_ASKING:
    case APUS_STATE_CANDIDATE:
        if (core->now >= core->give_up_at || !may_ask(core)) {
            ask_later(core);
        } else if (core->now >= core->ask_at) {
            ask(core, TRUE);
            fetch(core);
        }
        break;
    default:
        break;
    }
}

uint64_t apus_core_election_deadline(const ApusCore *core)
{
    switch (core->state) {
    case APUS_STATE_FOLLOWER:
        return core->campaign_at;
    case APUS_STATE_ASKING:
    case APUS_STATE_CANDIDATE:
        return MIN(core->ask_at, core->give_up_at);
    default:
        return NEVER;
    }
}

/* --- voting -------------------------------------------------------------- */

/*
 * Does the log have entries of @term? Then somebody was elected in it, and what
 * is behind may be a change of members by which a candidate of the same term
 * would count its votes: two leaders in one term.
 */
static gboolean has_leader_in(const ApusCore *core, uint64_t term)
{
    return apus_log_last_term(core->log) >= term &&
           !APUS_BROKEN(OWN_TERM_ADOPTED);
}

static ApusVerdict verdict(const ApusCore *core, const Peer *candidate,
                           const ApusMessage *m)
{
    if ((core->amnesiac || core->stored < core->cure_ticket) &&
        !APUS_BROKEN(AMNESIAC_VOTES)) {
        return APUS_VOTE_AMNESIAC;
    }
    if (m->term < core->term) {
        return APUS_VOTE_TERM;
    }
    if (m->term == core->term) {
        return !m->ask_vote.pre && core->vote == candidate->id &&
                       !has_leader_in(core, core->term)
                   ? APUS_VOTE_GRANTED : APUS_VOTE_GIVEN;
    }
    return bound(core, candidate->id, candidate->life) ? APUS_VOTE_LEASE
                                                       : APUS_VOTE_GRANTED;
}

static void grant(ApusCore *core, ApusId candidate, uint64_t term)
{
    core->granting = candidate;
    core->ops->fence(core->opaque, term);
    if (core->term == term) {
        return; /* it has asked before, perhaps an earlier life */
    }
    apus_core_step_down(core);
    apus_core_set_term(core, term, candidate);
    core->term_ticket = apus_core_save(core);
}

void apus_core_on_ask_vote(ApusCore *core, Peer *peer, const ApusMessage *m)
{
    ApusVerdict given = verdict(core, peer, m);

    if (given == APUS_VOTE_GRANTED && !m->ask_vote.pre) {
        /* The answer follows when it is safe: apus_core_election_flush(). */
        grant(core, peer->id, m->term);
        return;
    }
    answer(core, peer, m->ask_vote.pre, m->term, given);
}

void apus_core_on_vote(ApusCore *core, Peer *peer, const ApusMessage *m)
{
    gboolean asking = core->state == APUS_STATE_ASKING;

    if (m->term > core->term) {
        apus_core_see_term(core, m->term);
        core->campaign_at = core->now + backoff(core);
        return;
    }
    if ((!asking && core->state != APUS_STATE_CANDIDATE) ||
        m->vote.pre != asking || m->vote.asked != core->term + asking) {
        core->count.stale_messages++;
        return;
    }
    peer->answered = TRUE;
    peer->vote = m->vote;
    if (m->vote.last_term >= m->vote.asked &&
        !APUS_BROKEN(OWN_TERM_ADOPTED)) {
        ask_later(core); /* somebody else was elected in that term */
        return;
    }
    /* It is bound to a leader that we know is gone: it will know soon. */
    if (m->vote.verdict == APUS_VOTE_LEASE) {
        core->ask_at = MIN(core->ask_at,
                           core->now + core->config.heartbeat / 8);
    }
}

/* --- adopting the best log (R2) ------------------------------------------ */

void apus_core_on_fetch(ApusCore *core, Peer *peer, const ApusMessage *m)
{
    ApusMessage answer = {
        .type = APUS_MESSAGE_ENTRIES,
        .entries = {
            .prev_index = m->fetch.prev_index,
            .prev_term = m->fetch.prev_term,
            .last_index = apus_log_last_index(core->log),
        },
    };

    /* Only to the one who has our vote, and as long as nobody leads. */
    if (m->term != core->term || core->vote != peer->id ||
        has_leader_in(core, core->term)) {
        core->count.stale_messages++;
        return;
    }
    answer.entries.gone = !apus_core_has(core, m->fetch.prev_index,
                                         m->fetch.prev_term);
    if (!answer.entries.gone) {
        apus_log_records(core->log, m->fetch.prev_index + 1,
                         answer.entries.last_index, CHUNK,
                         &answer.entries.records);
    }
    apus_core_send(core, peer, &answer);
}

/* Have what came. FALSE: nothing did, or there is no room for it. */
static gboolean adopt(ApusCore *core, const ApusEntries *entries)
{
    uint64_t newest = core->term - !APUS_BROKEN(OWN_TERM_ADOPTED);

    core->match = apus_core_take(core, entries->prev_index, newest,
                                 &entries->records);
    if (core->match == entries->prev_index) {
        /* Nobody but us needs what we have delivered, if we are to lead. */
        apus_core_trim(core, core->delivered);
        core->match = apus_core_take(core, entries->prev_index, newest,
                                     &entries->records);
    }
    return core->match > entries->prev_index;
}

void apus_core_on_entries(ApusCore *core, Peer *peer, const ApusMessage *m)
{
    const ApusEntries *entries = &m->entries;
    uint64_t longest = core->candidate_at + LONGEST * core->config.timeout;

    if (core->state != APUS_STATE_CANDIDATE || m->term != core->term ||
        core->fetching != peer->id || entries->prev_index != core->match) {
        core->count.stale_messages++;
        return;
    }
    if (entries->gone && core->match > core->commit) {
        core->match = core->commit; /* up to here it is the same for sure */
        fetch(core);
    } else if (entries->gone) {
        ask_later(core);
    } else if (entries->last_index > core->match && !adopt(core, entries)) {
        ask_later(core);
    } else if (core->match < entries->last_index) {
        core->give_up_at = MIN(core->now + core->config.timeout, longest);
        fetch(core);
    } else {
        core->fetching = APUS_NOBODY; /* counted again in the flush */
    }
}

/*
 * The consensus core: the follower
 *
 * Takes what the leader sends, keeps what it has already, says how far its log
 * is the leader's and safe. One answer for all that came before a flush.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "core-internal.h"

gboolean apus_core_has(const ApusCore *core, uint64_t index, uint64_t term)
{
    uint64_t own;

    return apus_log_term(core->log, index, &own) && own == term;
}

/* Have the log hold @entry. FALSE: it cannot be, or there is no room. */
static gboolean take_one(ApusCore *core, const ApusEntry *entry,
                         const uint8_t *record, size_t size, gboolean *cut)
{
    uint64_t term;

    if (entry->index <= apus_log_base(core->log)->index) {
        return TRUE; /* it is committed, so it is the same */
    }
    if (apus_log_term(core->log, entry->index, &term)) {
        if (term == entry->term && !(APUS_BROKEN(CUT_MATCHING) && !*cut &&
                                     entry->index > core->commit)) {
            return TRUE;
        }
        if (entry->index <= core->commit) {
            core->count.refused_messages++;
            return FALSE;
        }
        apus_core_cut(core, entry->index);
        *cut = TRUE;
    }
    if (!apus_log_append_record(core->log, entry, record, size)) {
        return FALSE;
    }
    apus_core_appended(core, entry->kind);
    return TRUE;
}

uint64_t apus_core_take(ApusCore *core, uint64_t prev, uint64_t max_term,
                        const ApusRecords *records)
{
    gboolean cut = FALSE;

    for (int piece = 0; piece < 2; piece++) {
        const uint8_t *data = records->data[piece];
        size_t left = records->size[piece];

        while (left > 0) {
            ApusEntry entry;
            gssize size = apus_record_decode(&entry, data, left, NULL);

            if (size <= 0 || entry.index != prev + 1 ||
                entry.term > max_term || !apus_log_valid(&entry)) {
                core->count.corrupt_records++;
                return prev;
            }
            if (!take_one(core, &entry, data, size, &cut)) {
                return prev;
            }
            prev = entry.index;
            data += size;
            left -= size;
        }
    }
    return prev;
}

/* --- what comes from a leader -------------------------------------------- */

/* Is this from the leader of our term, or a newer one? Then follow it. */
static gboolean from_leader(ApusCore *core, Peer *peer, const ApusMessage *m,
                            const ApusBeat *beat)
{
    ApusMessage answer = {
        .type = APUS_MESSAGE_ACK,
        .ack = { .kind = APUS_ACK_DIFFERS, .amnesiac = core->amnesiac },
    };

    if (m->term < core->term) {
        core->count.stale_messages++;
        apus_core_send(core, peer, &answer); /* says the newer term */
        return FALSE;
    }
    if (m->term > core->term) {
        apus_core_see_term(core, m->term);
        peer = apus_core_peer(core, m->from);
        if (!peer) {
            return FALSE; /* was to become a member, and now is not */
        }
    } else if (apus_core_leads(core)) {
        core->count.refused_messages++; /* two leaders: cannot be */
        return FALSE;
    } else if (beat->alone && core->state != APUS_STATE_FOLLOWER) {
        return FALSE; /* perhaps we can be elected in its place */
    }
    apus_core_follow(core, peer, !beat->alone);
    if (!beat->alone) {
        core->echo = MAX(core->echo, beat->sent);
        apus_core_promise(core, peer);
    }
    return TRUE;
}

/*
 * What cures an amnesiac (R6): to have the log of a leader as it was after
 * this life began, for that has all that an earlier life acknowledged. Who has
 * forgotten its votes, too, needs to know that the leader is none of the past.
 */
static void find_cure(ApusCore *core, const ApusBeat *beat)
{
    if (!core->amnesiac || core->cure_term == core->term ||
        (core->blank && !beat->confirmed && !APUS_BROKEN(BLANK_UNCONFIRMED))) {
        return;
    }
    core->cure_term = core->term;
    core->cure_index = beat->last;
}

void apus_core_cure(ApusCore *core)
{
    if (!core->amnesiac || core->cure_term != core->term ||
        core->leader == APUS_NOBODY ||
        MIN(core->match, apus_core_safe(core)) < core->cure_index) {
        return;
    }
    core->amnesiac = FALSE;
    core->blank = FALSE;
    core->cure_ticket = apus_core_save(core);
    apus_core_sync_peers(core);
    core->ack_due = TRUE;
    apus_core_tell(core);
}

static void trim(ApusCore *core, uint64_t index)
{
    apus_core_trim(core, MIN(index, core->delivered));
}

void apus_core_on_append(ApusCore *core, Peer *peer, const ApusMessage *m)
{
    const ApusAppend *append = &m->append;
    uint64_t base = apus_log_base(core->log)->index;
    uint64_t prev = append->prev_index;

    if (!from_leader(core, peer, m, &append->beat)) {
        return;
    }
    find_cure(core, &append->beat);
    core->leader_safe = MAX(core->leader_safe, append->beat.safe);
    /* A beat alone is answered now and then, for the lease. */
    if (append->beat.alone ||
        core->echo >= core->acked_echo + core->config.heartbeat / 2) {
        core->ack_due = TRUE;
    }
    if (prev < base || apus_core_has(core, prev, append->prev_term) ||
        (APUS_BROKEN(NO_PREV_CHECK) &&
         prev <= apus_log_last_index(core->log))) {
        /* First what makes room: then the ring is as full as the leader's. */
        core->match = MAX(core->match, prev);
        apus_core_commit_to(core, MIN(append->beat.commit, core->match));
        trim(core, append->beat.trim);
        core->match = MAX(core->match,
                          apus_core_take(core, prev, m->term,
                                         &append->records));
        core->match = MIN(core->match, apus_log_last_index(core->log));
        /* What is new is answered when it is safe: one answer is enough. */
        if (append->records.size[0] > 0 &&
            core->match <= apus_core_safe(core)) {
            core->ack_due = TRUE;
        }
    } else {
        core->differs = TRUE;
        core->ack_due = TRUE;
        core->hint = MIN(apus_log_last_index(core->log), prev - 1);
        if (prev <= apus_log_last_index(core->log)) {
            core->hint = core->commit;
        }
    }
    apus_core_commit_to(core, MIN(append->beat.commit, core->match));
    trim(core, append->beat.trim);
}

static void install(ApusCore *core, const ApusSnapshot *snapshot)
{
    if (apus_core_has(core, snapshot->index, snapshot->term)) {
        apus_core_commit_to(core, snapshot->index); /* it is all there */
        return;
    }
    apus_core_rebase(core, snapshot);
    apus_core_skip(core, snapshot);
}

void apus_core_on_install(ApusCore *core, Peer *peer, const ApusMessage *m)
{
    const ApusInstall *message = &m->install;

    if (!from_leader(core, peer, m, &message->beat)) {
        return;
    }
    find_cure(core, &message->beat);
    core->ack_due = TRUE;
    if (message->snapshot.index > core->commit) {
        install(core, &message->snapshot);
    }
    core->match = MAX(core->match, core->commit);
}

/*
 * Where two members are a majority, the leader and a follower are one: what is
 * safe with both is committed, as it is for the leader when it has our answer.
 * That saves a message, and its way. The list of members is the one that the
 * leader has up to that entry, so nothing behind it may be in our log.
 */
void apus_core_follower_commit(ApusCore *core)
{
    uint64_t safe = MIN(core->leader_safe, apus_core_safe(core));
    uint64_t index = APUS_BROKEN(COMMIT_UNSAFE) ? core->match
                                                : MIN(core->match, safe);
    uint64_t term;

    if (index <= core->commit || core->state != APUS_STATE_FOLLOWER ||
        core->leader == APUS_NOBODY ||
        core->match != apus_log_last_index(core->log) ||
        core->amnesiac || core->stored < core->cure_ticket ||
        (core->stored < core->term_ticket && !APUS_BROKEN(TERM_UNSAVED)) ||
        !(apus_core_two_suffice(core) || APUS_BROKEN(COMMIT_BY_TWO)) ||
        !apus_core_member(core, core->config.id) ||
        !apus_core_member(core, core->leader)) {
        return;
    }
    /* See apus_core_leader_commit(). */
    if (apus_log_term(core->log, index, &term) && term == core->term) {
        apus_core_commit_to(core, index);
    }
}

/* --- answers ------------------------------------------------------------- */

static void send_ack(ApusCore *core, Peer *leader, uint64_t match)
{
    gboolean amnesiac = core->amnesiac || core->stored < core->cure_ticket;
    ApusMessage message = {
        .type = APUS_MESSAGE_ACK,
        .ack = {
            .kind = core->differs ? APUS_ACK_DIFFERS : APUS_ACK_SAME,
            .amnesiac = amnesiac,
            .echo = amnesiac && !APUS_BROKEN(AMNESIAC_ECHOES) ? 0
                                                              : core->echo,
            .match = core->differs ? core->hint : match,
            .delivered = core->delivered,
            .base = apus_log_base(core->log)->index,
        },
    };

    core->ack_due = FALSE;
    core->differs = FALSE;
    core->acked_echo = core->echo;
    core->acked_match = match;
    apus_core_send(core, leader, &message);
}

void apus_core_send_ack(ApusCore *core)
{
    Peer *leader = apus_core_peer(core, core->leader);
    uint64_t match = MIN(core->match, apus_core_safe(core));

    if (!leader || core->state != APUS_STATE_FOLLOWER ||
        (!core->ack_due && match <= core->acked_match)) {
        return;
    }
    /* The promise not to follow an older leader has to be safe, too. */
    if (core->stored < core->term_ticket && !APUS_BROKEN(TERM_UNSAVED)) {
        return;
    }
    send_ack(core, leader, match);
}

/*
 * What members promise each other
 *
 * A vote or an acknowledgement that says what is not so leads to a wrong
 * consequence only when more goes wrong, so they are looked at as they are
 * given. What is safe is read from the simulated disk.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <inttypes.h>

#include "sim.h"

static void check_vote(SimHost *host, const ApusMessage *m)
{
    const ApusHardState *safe = &host->disk.state;

    if (safe->term != m->vote.asked || safe->vote != m->to) {
        sim_fail(host->sim, "vote", "%u votes for %u in term %" PRIu64
                 "; on its disk it is for %u in term %" PRIu64, host->id,
                 m->to, m->vote.asked, safe->vote, safe->term);
    }
    if (host->fenced < m->vote.asked) {
        sim_fail(host->sim, "fence", "%u votes in term %" PRIu64
                 " and has not fenced older ones", host->id, m->vote.asked);
    }
    if (host->core->amnesiac) {
        sim_fail(host->sim, "amnesia", "%u votes and is amnesiac", host->id);
    }
}

/* Is the newest ROLE or MEMBER up to @index part of the safe state? */
static gboolean roles_are_safe(const SimHost *host, uint64_t index)
{
    const ApusSnapshot *safe = &host->disk.state.newest;
    ApusSnapshot said;

    if (index <= apus_log_base(host->core->log)->index) {
        return TRUE;
    }
    apus_log_snapshot(host->core->log, index, &said);
    /* Something newer that is safe is as good. */
    return safe->index >= index ||
           (said.role.leader == safe->role.leader &&
            said.role.leader_incarnation == safe->role.leader_incarnation &&
            said.role.secondary == safe->role.secondary &&
            said.role.secondary_incarnation ==
            safe->role.secondary_incarnation &&
            said.members.count == safe->members.count &&
            said.members.leaving == safe->members.leaving &&
            said.members.member[said.members.count - 1].id ==
            safe->members.member[safe->members.count - 1].id);
}

gboolean sim_log_is_safe(const SimHost *host, uint64_t index)
{
    uint64_t term;

    if (host->sim->plan.durability == APUS_DURABILITY_MEMORY) {
        return roles_are_safe(host, index);
    }
    return !apus_log_term(host->core->log, index, &term) ||
           sim_disk_has(host, index, term);
}

/* What an amnesiac has acknowledged counts once it says that it is none. */
static void note_ack(SimHost *host, const ApusMessage *m)
{
    if (host->held_term != m->term) {
        host->held_term = m->term;
        host->held = 0;
    }
    if (m->ack.kind == APUS_ACK_SAME) {
        host->held = MAX(host->held, m->ack.match);
    }
    if (!m->ack.amnesiac) {
        SimAcked *acked = &host->acked[m->term % G_N_ELEMENTS(host->acked)];

        if (acked->term != m->term) {
            *acked = (SimAcked) { .term = m->term };
        }
        acked->index = MAX(acked->index, host->held);
    }
}

gboolean sim_has_acked(const SimHost *host, uint64_t term, uint64_t index)
{
    const SimAcked *acked = &host->acked[term % G_N_ELEMENTS(host->acked)];

    return acked->term == term && acked->index >= index;
}

static void check_ack(SimHost *host, const ApusMessage *m)
{
    Sim *sim = host->sim;

    note_ack(host, m);
    if (m->ack.kind != APUS_ACK_SAME || m->ack.amnesiac || sim->consequences) {
        return;
    }
    if (host->core->amnesiac) {
        sim_fail(sim, "amnesia", "%u counts and is amnesiac", host->id);
    }
    if (host->disk.state.term < m->term) {
        sim_fail(sim, "safe-term", "%u acknowledges in term %" PRIu64
                 ", on its disk is %" PRIu64, host->id, m->term,
                 host->disk.state.term);
    }
    if (m->ack.match > apus_log_last_index(host->core->log) ||
        !sim_log_is_safe(host, m->ack.match)) {
        sim_fail(sim, "safe-log", "%u acknowledges up to %" PRIu64
                 ", which is not safe there", host->id, m->ack.match);
    }
}

void sim_check_message(SimHost *host, const ApusMessage *m)
{
    if (m->type == APUS_MESSAGE_ACK) {
        check_ack(host, m);
    } else if (m->type == APUS_MESSAGE_VOTE && !m->vote.pre &&
               m->vote.verdict == APUS_VOTE_GRANTED &&
               !host->sim->consequences) {
        check_vote(host, m);
    }
}

/* The newest order to save is not older than the one before it. */
void sim_check_save(SimHost *host, const ApusHardState *state)
{
    const SimDisk *disk = &host->disk;
    const ApusHardState *old = &disk->state;

    for (unsigned i = 0; i < disk->orders; i++) {
        const SimOrder *order =
            &disk->order[(disk->head + i) % disk->room];

        if (order->kind == SIM_ORDER_SAVE) {
            old = &order->state;
        }
    }
    if (state->generation < old->generation || state->term < old->term ||
        (state->term == old->term && old->vote != APUS_NOBODY &&
         state->vote != old->vote) ||
        (!state->amnesiac && !old->amnesiac &&
         state->base.index < old->base.index)) {
        sim_fail(host->sim, "hard-state", "%u saves term %" PRIu64
                 ", vote %u, base %" PRIu64 " after term %" PRIu64
                 ", vote %u, base %" PRIu64, host->id, state->term,
                 state->vote, state->base.index, old->term, old->vote,
                 old->base.index);
    }
    if (old->amnesiac && !state->amnesiac) {
        host->sim->count.cured++;
        sim_trigger(host->sim, SIM_TRIGGER_CURE, host->id,
                    host->core ? host->core->leader : APUS_NOBODY);
    }
}

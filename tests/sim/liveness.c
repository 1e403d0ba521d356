/*
 * What must come true when nothing goes wrong any more
 *
 * Some groups cannot go on by themselves, whatever the protocol: too many have
 * forgotten what they acknowledged, or the VM that may lead is no more. Which
 * ones is computed from what all members have: if the best of all logs names a
 * member that a majority can elect, or if one leads whom nobody has outvoted,
 * the group has to come back to work. If only a majority that leaves out the
 * best log could elect somebody, that depends on who is heard first.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <inttypes.h>

#include "sim.h"

#define GRACE (20 * SIM_MS) /* all processes have started */
#define DEADLINE (4 * SIM_S)
#define LOOK_EVERY (10 * SIM_MS)

/* --- can it? ------------------------------------------------------------ */

static gboolean knows(const SimHost *host, const SimHost *other)
{
    return host == other ||
           apus_members_find(&apus_log_newest(host->core->log)->members,
                             other->id) >= 0;
}

/*
 * May @host have no room for @other? A transport takes no more than two whom
 * its member does not know.
 */
static gboolean may_shut_out(Sim *sim, const SimHost *host,
                             const SimHost *other)
{
    unsigned guests = 0;

    for (ApusId id = 1; id <= sim->hosts; id++) {
        const SimHost *guest = &sim->host[id];

        guests += guest->core && guest != host && !knows(host, guest) &&
                  knows(guest, host);
    }
    return !knows(host, other) && guests > 2;
}

static const SimHost *best_of(Sim *sim, unsigned set)
{
    const SimHost *best = NULL;

    for (ApusId id = 1; id <= sim->hosts; id++) {
        const SimHost *host = &sim->host[id];

        if (!(set >> id & 1)) {
            continue;
        }
        if (!best ||
            apus_log_last_term(host->core->log) >
            apus_log_last_term(best->core->log) ||
            (apus_log_last_term(host->core->log) ==
             apus_log_last_term(best->core->log) &&
             apus_log_last_index(host->core->log) >
             apus_log_last_index(best->core->log))) {
            best = host;
        }
    }
    return best;
}

/* Could @candidate be elected by the members in @set, itself among them? */
static gboolean can_be_elected(Sim *sim, const SimHost *candidate,
                               unsigned set)
{
    const SimHost *best = best_of(sim, set);
    const ApusSnapshot *newest = apus_log_newest(best->core->log);
    const ApusMembers *own = &apus_log_newest(candidate->core->log)->members;
    unsigned votes = 0, first = 0;

    /* It begins with those it knows. */
    for (unsigned i = 0; i < own->count; i++) {
        first += set >> own->member[i].id & 1;
    }
    /* Of a log that none of them has it does not hear. */
    if (first < apus_members_majority(own) || !knows(candidate, best)) {
        return FALSE;
    }
    for (unsigned i = 0; i < newest->members.count; i++) {
        ApusId id = newest->members.member[i].id;

        if (set >> id & 1) {
            if ((!knows(candidate, &sim->host[id]) &&
                 !knows(&sim->host[id], candidate)) ||
                may_shut_out(sim, &sim->host[id], candidate)) {
                return FALSE;
            }
            votes++;
        }
    }
    return votes >= apus_members_majority(&newest->members) &&
           apus_members_find(&newest->members, candidate->id) >= 0 &&
           sim_names(&newest->role, candidate) &&
           candidate->core->commit >= apus_log_base(best->core->log)->index;
}

/* Those who may vote, without @but. */
static unsigned sane(Sim *sim, ApusId but)
{
    unsigned set = 0;

    for (ApusId id = 1; id <= sim->hosts; id++) {
        const SimHost *host = &sim->host[id];

        if (host->core && !host->core->amnesiac && id != but) {
            set |= 1u << id;
        }
    }
    return set;
}

static gboolean unchallenged(Sim *sim, const SimHost *leader, ApusId but)
{
    const ApusMembers *members = &apus_log_newest(leader->core->log)->members;
    unsigned with = 0;

    for (unsigned i = 0; i < members->count; i++) {
        const SimHost *host = &sim->host[members->member[i].id];

        with += host->core && host->id != but &&
                host->core->term <= leader->core->term && !host->core->amnesiac;
    }
    return with >= apus_members_majority(members);
}

gboolean sim_hopeful(Sim *sim, ApusId but)
{
    const SimHost *leader = sim_leader(sim);
    unsigned all = sane(sim, but);

    if (leader && leader->id != but && unchallenged(sim, leader, but)) {
        return TRUE;
    }
    for (ApusId id = 1; id <= sim->hosts; id++) {
        if ((all >> id & 1) && sim->host[id].can_run &&
            can_be_elected(sim, &sim->host[id], all)) {
            return TRUE;
        }
    }
    return FALSE;
}

/* --- does it? ----------------------------------------------------------- */

/* All members have what is committed, and what they forgot. */
static gboolean all_caught_up(Sim *sim, const SimHost *leader, uint64_t index)
{
    const ApusSnapshot *newest = apus_log_newest(leader->core->log);

    for (unsigned i = 0; i < newest->members.count; i++) {
        const SimHost *host = &sim->host[newest->members.member[i].id];

        if (host->core && (host->core->commit < index ||
                           host->core->amnesiac)) {
            return FALSE;
        }
        if (host->core && host->id == newest->role.secondary &&
            host->incarnation == newest->role.secondary_incarnation &&
            host->vm.delivered < index) {
            return FALSE;
        }
    }
    return newest->members.leaving == APUS_NOBODY;
}

static gboolean comes_true(Sim *sim)
{
    SimHost *leader = sim_leader(sim);
    const SimSubmission *submission;

    if (!leader || !leader->accepts) {
        return FALSE;
    }
    if (sim->judged_number) {
        submission = &g_array_index(sim->submissions, SimSubmission,
                                    sim->judged_number);
        if (submission->index) {
            return all_caught_up(sim, leader, submission->index);
        }
        if (submission->host == leader->id &&
            submission->life == leader->lives &&
            submission->state == SIM_SUBMISSION_OPEN) {
            return FALSE;
        }
    }
    sim->judged_number = sim_user_submit_input(leader);
    sim_host_done(leader);
    return FALSE;
}

void sim_liveness_start(Sim *sim)
{
    sim->judge_by = 0;
    sim->judged_number = 0;
    sim_push(sim, sim->now + GRACE, SIM_EVENT_JUDGE, 0, 0, 0, 0);
}

void sim_liveness_judge(Sim *sim)
{
    if (!sim->judge_by) {
        sim->judge_by = sim->now + DEADLINE;
        if (!sim_hopeful(sim, APUS_NOBODY) ||
            sim_role_at(sim, sim_last_committed(sim))->stopped) {
            sim_trace(sim, "the group cannot go on by itself");
            sim->count.hopeless++;
            sim->ended = TRUE;
            return;
        }
    }
    if (comes_true(sim)) {
        sim->count.judged++;
        sim->ended = TRUE;
    } else if (sim->now >= sim->judge_by) {
        SimHost *leader = sim_leader(sim);

        sim_fail(sim, "liveness", "%.1f s after the last fault %s",
                 (sim->now - sim->plan.quiet_at) / 1e9,
                 !leader ? "nobody leads"
                 : !leader->accepts ? "the leader does not accept anything"
                 : !sim->judged_number ? "the log of the leader is full"
                 : "not all have what is committed");
    } else {
        sim_push(sim, sim->now + LOOK_EVERY, SIM_EVENT_JUDGE, 0, 0, 0, 0);
    }
}

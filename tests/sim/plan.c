/*
 * A schedule: what a seed stands for
 *
 * Faults that come at any time find little: the moments that matter are short.
 * So most of them wait for a moment that matters, and some come in groups that
 * a textbook would draw: an entry that reached only one member when its leader
 * froze; a granter that restarts while another campaigns; a change of members
 * of which only the new one hears.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <inttypes.h>

#include "plan.h"

#define FIRST_FAULT (150 * SIM_MS)

const char *sim_fault_name(SimFaultKind kind)
{
    static const char *const name[SIM_FAULTS] = {
        [SIM_FAULT_KILL] = "kill",
        [SIM_FAULT_POWER] = "power cut",
        [SIM_FAULT_DAMAGE] = "kill, damaged log",
        [SIM_FAULT_LOSE_DISK] = "kill, lost disk",
        [SIM_FAULT_FREEZE] = "freeze",
        [SIM_FAULT_SLOW_NODE] = "slow node",
        [SIM_FAULT_SLOW_DISK] = "slow disk",
        [SIM_FAULT_DISK_FAILS] = "failing disk",
        [SIM_FAULT_CUT_ONE_WAY] = "one-way cut",
        [SIM_FAULT_CUT] = "cut",
        [SIM_FAULT_ISOLATE] = "isolate",
        [SIM_FAULT_LEAVE_ONE] = "leave one link",
        [SIM_FAULT_MUTE] = "mute",
        [SIM_FAULT_DEAF] = "deaf",
        [SIM_FAULT_BREAK] = "break a connection",
        [SIM_FAULT_LAG] = "lag",
        [SIM_FAULT_NOISE] = "noise",
        [SIM_FAULT_CLOG] = "clog",
        [SIM_FAULT_RESIGN] = "resign",
        [SIM_FAULT_EXIT] = "resign and exit",
        [SIM_FAULT_STUCK] = "stuck main loop",
        [SIM_FAULT_REPLACE] = "replace a member",
        [SIM_FAULT_UNPROTECT] = "let the secondary go",
    };

    return name[kind];
}

const char *sim_trigger_name(SimTrigger trigger)
{
    static const char *const name[SIM_TRIGGERS] = {
        [SIM_TRIGGER_NONE] = "at once",
        [SIM_TRIGGER_SUBMIT] = "an INPUT is submitted",
        [SIM_TRIGGER_SYNC] = "a SYNC is submitted",
        [SIM_TRIGGER_PROTECT] = "a ROLE with a secondary is submitted",
        [SIM_TRIGGER_UNPROTECT] = "a ROLE without a secondary is submitted",
        [SIM_TRIGGER_CHANGE] = "a MEMBER with a new member is appended",
        [SIM_TRIGGER_DISMISS] = "a MEMBER without an old one is appended",
        [SIM_TRIGGER_CURE] = "an amnesiac is cured",
        [SIM_TRIGGER_ASK] = "a vote is asked for",
        [SIM_TRIGGER_GRANT] = "a vote is given",
        [SIM_TRIGGER_FETCH] = "a better log is fetched",
        [SIM_TRIGGER_ELECTED] = "one is elected",
        [SIM_TRIGGER_LEADER] = "a leader has settled",
        [SIM_TRIGGER_SNAPSHOT] = "a snapshot is sent",
        [SIM_TRIGGER_START] = "a process starts",
        [SIM_TRIGGER_COPY] = "a secondary has a copy",
        [SIM_TRIGGER_STOP] = "a leader stops for a sync",
        [SIM_TRIGGER_DECIDE] = "a secondary decides",
        [SIM_TRIGGER_STAGED] = "STAGED arrives",
        [SIM_TRIGGER_APPLY] = "a sync is applied",
    };

    return name[trigger];
}

static SimFault *add(SimPlan *plan, SimRandom *random, SimFaultKind kind,
                     SimWho who)
{
    SimFault *fault;

    /* One too many overwrites the last. */
    if (plan->faults < SIM_MAX_FAULTS) {
        plan->faults++;
    }
    fault = &plan->fault[plan->faults - 1];
    *fault = (SimFault) {
        .kind = kind,
        .who = who,
        .whom = SIM_WHO_ANY,
        .at = sim_between(random, FIRST_FAULT, plan->quiet_at - 100 * SIM_MS),
        .lasting = sim_magnitude(random, 2 * SIM_MS, 800 * SIM_MS),
        .amount = sim_magnitude(random, SIM_MS, 95 * SIM_MS),
        .dice = sim_random(random),
    };
    return fault;
}

/* Another one that begins @after the moment of @first. */
static SimFault *add_with(SimPlan *plan, SimRandom *random,
                          const SimFault *first, SimFaultKind kind, SimWho who,
                          uint64_t after)
{
    const SimFault moment = *first;
    SimFault *fault = add(plan, random, kind, who);

    fault->at = moment.at;
    fault->trigger = moment.trigger;
    fault->after = moment.after + after;
    return fault;
}

static SimFaultKind any_kind(SimRandom *random)
{
    /* Those that change the group for good are rarer. */
    static const uint8_t weight[SIM_FAULTS] = {
        [SIM_FAULT_KILL] = 12,
        [SIM_FAULT_POWER] = 5,
        [SIM_FAULT_DAMAGE] = 2,
        [SIM_FAULT_LOSE_DISK] = 2,
        [SIM_FAULT_FREEZE] = 8,
        [SIM_FAULT_SLOW_NODE] = 4,
        [SIM_FAULT_SLOW_DISK] = 4,
        [SIM_FAULT_DISK_FAILS] = 1,
        [SIM_FAULT_CUT_ONE_WAY] = 8,
        [SIM_FAULT_CUT] = 6,
        [SIM_FAULT_ISOLATE] = 6,
        [SIM_FAULT_LEAVE_ONE] = 6,
        [SIM_FAULT_MUTE] = 4,
        [SIM_FAULT_DEAF] = 4,
        [SIM_FAULT_BREAK] = 5,
        [SIM_FAULT_LAG] = 5,
        [SIM_FAULT_NOISE] = 4,
        [SIM_FAULT_CLOG] = 2,
        [SIM_FAULT_RESIGN] = 3,
        [SIM_FAULT_EXIT] = 3,
        [SIM_FAULT_STUCK] = 2,
        [SIM_FAULT_REPLACE] = 4,
        [SIM_FAULT_UNPROTECT] = 3,
    };
    unsigned sum = 0, pick;

    for (unsigned i = 0; i < SIM_FAULTS; i++) {
        sum += weight[i];
    }
    pick = sim_below(random, sum);
    for (unsigned i = 0; ; i++) {
        if (pick < weight[i]) {
            return i;
        }
        pick -= weight[i];
    }
}

static SimWho any_who(SimRandom *random, gboolean triggered)
{
    static const SimWho plain[] = {
        SIM_WHO_ANY, SIM_WHO_LEADER, SIM_WHO_LEADER, SIM_WHO_SECONDARY,
        SIM_WHO_WITNESS,
    };

    if (triggered && sim_chance(random, 6000)) {
        return sim_chance(random, 7000) ? SIM_WHO_SUBJECT : SIM_WHO_OBJECT;
    }
    return plain[sim_below(random, G_N_ELEMENTS(plain))];
}

static void add_any(SimPlan *plan, SimRandom *random)
{
    gboolean triggered = sim_chance(random, 6000);
    SimFault *fault = add(plan, random, any_kind(random),
                          any_who(random, triggered));

    fault->whom = any_who(random, triggered);
    if (triggered) {
        fault->trigger = sim_between(random, 1, SIM_TRIGGERS - 1);
        fault->after = sim_magnitude(random, 10 * SIM_US, 20 * SIM_MS);
    }
}

/* An entry reaches few, and then its leader is gone for a while. */
static void add_lonely_entry(SimPlan *plan, SimRandom *random)
{
    static const SimTrigger moments[] = {
        SIM_TRIGGER_SUBMIT, SIM_TRIGGER_SYNC, SIM_TRIGGER_PROTECT,
        SIM_TRIGGER_UNPROTECT, SIM_TRIGGER_ELECTED, SIM_TRIGGER_CHANGE,
    };
    static const SimFaultKind ends[] = {
        SIM_FAULT_KILL, SIM_FAULT_FREEZE, SIM_FAULT_ISOLATE, SIM_FAULT_POWER,
        SIM_FAULT_RESIGN,
    };
    SimFault *fault = add(plan, random, SIM_FAULT_LEAVE_ONE, SIM_WHO_SUBJECT);
    SimFault first;

    fault->trigger = moments[sim_below(random, G_N_ELEMENTS(moments))];
    fault->whom = sim_chance(random, 5000) ? SIM_WHO_WITNESS
                                           : SIM_WHO_SECONDARY;
    fault->lasting = sim_between(random, 20 * SIM_MS, 600 * SIM_MS);
    first = *fault;
    fault = add_with(plan, random, &first,
                     ends[sim_below(random, G_N_ELEMENTS(ends))],
                     SIM_WHO_SUBJECT, sim_magnitude(random, 100 * SIM_US,
                                                    50 * SIM_MS));
    fault->lasting = sim_magnitude(random, 50 * SIM_MS, 800 * SIM_MS);
}

/* Who is elected is cut off at once, several times. */
static void add_duel(SimPlan *plan, SimRandom *random)
{
    SimFault *fault = add(plan, random, SIM_FAULT_ISOLATE, SIM_WHO_SUBJECT);
    SimFault first;

    fault->trigger = SIM_TRIGGER_ELECTED;
    fault->after = sim_magnitude(random, 10 * SIM_US, 4 * SIM_MS);
    fault->lasting = sim_between(random, 100 * SIM_MS, 500 * SIM_MS);
    first = *fault;
    for (unsigned i = 0; i < 2; i++) {
        first.at += sim_between(random, SIM_MS, 150 * SIM_MS);
        fault = add_with(plan, random, &first, SIM_FAULT_ISOLATE,
                         SIM_WHO_SUBJECT, 0);
        fault->lasting = sim_between(random, 100 * SIM_MS, 500 * SIM_MS);
    }
}

/*
 * Who granted a lease restarts at once and hears no more of its leader, while
 * another asks for votes.
 */
static void add_short_memory(SimPlan *plan, SimRandom *random)
{
    SimFault *fault = add(plan, random, SIM_FAULT_CUT_ONE_WAY,
                          SIM_WHO_LEADER);
    uint64_t after = 0;
    SimFault first;

    fault->whom = SIM_WHO_SECONDARY;
    fault->lasting = sim_between(random, 300 * SIM_MS, 700 * SIM_MS);
    first = *fault;
    for (unsigned i = 0; i < 2; i++) {
        after += sim_between(random, 110 * SIM_MS, 250 * SIM_MS);
        fault = add_with(plan, random, &first, SIM_FAULT_KILL,
                         SIM_WHO_WITNESS, after);
        fault->lasting = sim_magnitude(random, 200 * SIM_US, 5 * SIM_MS);
        fault = add_with(plan, random, &first, SIM_FAULT_MUTE,
                         SIM_WHO_LEADER, after);
        fault->lasting = sim_between(random, 20 * SIM_MS, 150 * SIM_MS);
    }
}

/* Answers come late, and then the leader is cut off. */
static void add_old_answers(SimPlan *plan, SimRandom *random)
{
    SimFault *fault = add(plan, random, SIM_FAULT_LAG, SIM_WHO_WITNESS);
    SimFault first;

    fault->whom = SIM_WHO_LEADER;
    fault->lasting = sim_between(random, 200 * SIM_MS, 600 * SIM_MS);
    fault->amount = sim_between(random, 30 * SIM_MS, 95 * SIM_MS);
    first = *fault;
    fault = add_with(plan, random, &first, SIM_FAULT_LAG, SIM_WHO_SECONDARY,
                     0);
    fault->whom = SIM_WHO_LEADER;
    fault->amount = first.amount;
    add_with(plan, random, &first, SIM_FAULT_MUTE, SIM_WHO_LEADER,
             sim_between(random, 100 * SIM_MS, 200 * SIM_MS));
}

/* A member restarts while messages to its last life are under way. */
static void add_ghosts(SimPlan *plan, SimRandom *random)
{
    SimFault *fault = add(plan, random, SIM_FAULT_NOISE, SIM_WHO_ANY);
    SimFault first = *fault;

    for (unsigned i = 0; i < 3; i++) {
        fault = add_with(plan, random, &first, SIM_FAULT_KILL,
                         i == 2 ? SIM_WHO_LEADER : SIM_WHO_WITNESS,
                         sim_between(random, SIM_MS, 300 * SIM_MS));
        fault->lasting = sim_magnitude(random, 500 * SIM_US, 60 * SIM_MS);
    }
}

/* A change of members that those who stay behind do not hear of. */
static void add_split_change(SimPlan *plan, SimRandom *random)
{
    SimFault *fault = add(plan, random, SIM_FAULT_REPLACE, SIM_WHO_LEADER);
    uint64_t at = fault->at;

    for (unsigned i = 0; i < 2; i++) {
        fault = add(plan, random, SIM_FAULT_LEAVE_ONE, SIM_WHO_SUBJECT);
        fault->trigger = SIM_TRIGGER_CHANGE;
        fault->at = at;
        fault->after = sim_magnitude(random, 10 * SIM_US, 3 * SIM_MS);
        fault->whom = sim_chance(random, 7000) ? SIM_WHO_NEWEST
                                               : SIM_WHO_WITNESS;
        fault->lasting = sim_between(random, 100 * SIM_MS, 700 * SIM_MS);
    }
}

/*
 * Who has voted loses its disk, and is brought up to date by a leader that
 * has not heard of that vote.
 */
static void add_forgotten_vote(SimPlan *plan, SimRandom *random)
{
    SimFault *fault = add(plan, random, SIM_FAULT_ISOLATE, SIM_WHO_LEADER);
    SimFault first;

    fault->lasting = sim_between(random, 110 * SIM_MS, 250 * SIM_MS);
    first = *fault;
    fault = add_with(plan, random, &first, SIM_FAULT_CUT, SIM_WHO_LEADER, 0);
    fault->whom = SIM_WHO_SECONDARY;
    fault->lasting = sim_between(random, 400 * SIM_MS, 1200 * SIM_MS);
    first.trigger = SIM_TRIGGER_GRANT;
    fault = add_with(plan, random, &first, SIM_FAULT_LOSE_DISK,
                     SIM_WHO_SUBJECT, sim_magnitude(random, 10 * SIM_US,
                                                    2 * SIM_MS));
    fault->lasting = sim_magnitude(random, SIM_MS, 20 * SIM_MS);
    fault->dice |= 1; /* it comes back under its old id */
    fault = add_with(plan, random, &first, SIM_FAULT_ISOLATE, SIM_WHO_OBJECT,
                     sim_magnitude(random, 10 * SIM_US, 4 * SIM_MS));
    fault->lasting = sim_between(random, 50 * SIM_MS, 900 * SIM_MS);
}

/* An amnesiac is cured, and hears no more of its leader. */
static void add_weak_promise(SimPlan *plan, SimRandom *random)
{
    SimFault *fault = add(plan, random, SIM_FAULT_LOSE_DISK,
                          SIM_WHO_WITNESS);
    SimFault first;

    fault->lasting = sim_magnitude(random, SIM_MS, 20 * SIM_MS);
    fault->dice |= 1;
    first = *fault;
    fault = add_with(plan, random, &first, SIM_FAULT_CUT_ONE_WAY,
                     SIM_WHO_LEADER, sim_between(random, 0, 400 * SIM_MS));
    fault->whom = SIM_WHO_SECONDARY;
    fault->lasting = sim_between(random, 200 * SIM_MS, 900 * SIM_MS);
    first.trigger = SIM_TRIGGER_CURE;
    fault = add_with(plan, random, &first, SIM_FAULT_MUTE, SIM_WHO_LEADER,
                     sim_magnitude(random, 10 * SIM_US, 5 * SIM_MS));
    fault->lasting = sim_between(random, 50 * SIM_MS, 400 * SIM_MS);
}

/* Two changes of members, of which some know the first and some none. */
static void add_lost_change(SimPlan *plan, SimRandom *random)
{
    SimFault *fault = add(plan, random, SIM_FAULT_REPLACE, SIM_WHO_LEADER);
    SimFault first;

    /* It takes a while until the new member is up to date. */
    fault->at = sim_between(random, FIRST_FAULT,
                            MAX(plan->quiet_at - SIM_S, 2 * FIRST_FAULT));
    first = *fault;
    first.trigger = SIM_TRIGGER_CURE;
    fault = add_with(plan, random, &first, sim_chance(random, 5000)
                     ? SIM_FAULT_CUT_ONE_WAY : SIM_FAULT_LEAVE_ONE,
                     SIM_WHO_LEADER, 10 * SIM_US);
    fault->whom = fault->kind == SIM_FAULT_LEAVE_ONE ? SIM_WHO_NEWEST
                                                     : SIM_WHO_SECONDARY;
    fault->lasting = sim_between(random, 250 * SIM_MS, 900 * SIM_MS);
    first.trigger = SIM_TRIGGER_DISMISS;
    fault = add_with(plan, random, &first, SIM_FAULT_LEAVE_ONE,
                     SIM_WHO_SUBJECT, sim_magnitude(random, 10 * SIM_US,
                                                    SIM_MS));
    fault->whom = SIM_WHO_NEWEST;
    fault->lasting = sim_between(random, 250 * SIM_MS, 900 * SIM_MS);
}

/*
 * A leader that resigned and its secondary ask for votes in the same term, and
 * the one that is not elected still hears one of its voters.
 */
static void add_split_vote(SimPlan *plan, SimRandom *random)
{
    SimFault *fault = add(plan, random, SIM_FAULT_RESIGN, SIM_WHO_LEADER);
    SimFault first;

    first = *fault;
    first.trigger = SIM_TRIGGER_ASK;
    fault = add_with(plan, random, &first, SIM_FAULT_LEAVE_ONE,
                     SIM_WHO_SUBJECT, 10 * SIM_US);
    fault->whom = SIM_WHO_WITNESS;
    fault->lasting = sim_between(random, 100 * SIM_MS, 500 * SIM_MS);
    fault = add_with(plan, random, &first, SIM_FAULT_LAG, SIM_WHO_WITNESS,
                     0);
    fault->whom = SIM_WHO_LEADER;
    fault->dice = (fault - 1)->dice;
    fault->amount = sim_magnitude(random, SIM_MS, 20 * SIM_MS);
    fault->lasting = sim_between(random, 50 * SIM_MS, 200 * SIM_MS);
}

/* In the middle of a sync, or right behind it, one side is gone. */
static void add_torn_sync(SimPlan *plan, SimRandom *random)
{
    static const SimTrigger moments[] = {
        SIM_TRIGGER_STOP, SIM_TRIGGER_DECIDE, SIM_TRIGGER_STAGED,
        SIM_TRIGGER_APPLY, SIM_TRIGGER_SYNC,
    };
    static const SimFaultKind ends[] = {
        SIM_FAULT_KILL, SIM_FAULT_FREEZE, SIM_FAULT_ISOLATE, SIM_FAULT_POWER,
        SIM_FAULT_CUT_ONE_WAY, SIM_FAULT_LAG, SIM_FAULT_BREAK,
    };
    unsigned times = sim_between(random, 1, 3);
    SimFault *fault;

    for (unsigned i = 0; i < times; i++) {
        fault = add(plan, random,
                    ends[sim_below(random, G_N_ELEMENTS(ends))],
                    sim_chance(random, 6000) ? SIM_WHO_LEADER
                                             : SIM_WHO_SECONDARY);
        fault->whom = fault->who == SIM_WHO_LEADER ? SIM_WHO_SECONDARY
                                                   : SIM_WHO_LEADER;
        fault->trigger = moments[sim_below(random, G_N_ELEMENTS(moments))];
        fault->after = sim_magnitude(random, 10 * SIM_US, 10 * SIM_MS);
        fault->lasting = sim_magnitude(random, 10 * SIM_MS, 600 * SIM_MS);
    }
}

/*
 * In the middle of a sync nobody hears the leader any more, until somebody
 * else stands for election: then what it has sent arrives.
 */
static void add_old_leader(SimPlan *plan, SimRandom *random)
{
    SimFault *fault = add(plan, random, SIM_FAULT_MUTE, SIM_WHO_LEADER);
    SimFault first;

    fault->trigger = sim_chance(random, 5000) ? SIM_TRIGGER_STOP
                                              : SIM_TRIGGER_SYNC;
    fault->after = sim_magnitude(random, 10 * SIM_US, 2 * SIM_MS);
    fault->lasting = 98 * SIM_MS + sim_magnitude(random, SIM_MS, 60 * SIM_MS);
    first = *fault;
    if (sim_chance(random, 5000)) {
        fault = add_with(plan, random, &first, SIM_FAULT_LAG, SIM_WHO_LEADER,
                         0);
        fault->whom = SIM_WHO_SECONDARY;
        fault->amount = sim_magnitude(random, SIM_MS, 60 * SIM_MS);
        fault->lasting = 2 * first.lasting;
    }
}

/* What the secondary says comes late, or not before it is of no use. */
static void add_late_staged(SimPlan *plan, SimRandom *random)
{
    SimFault *fault = add(plan, random, sim_chance(random, 3000)
                          ? SIM_FAULT_CUT_ONE_WAY : SIM_FAULT_LAG,
                          SIM_WHO_SECONDARY);

    fault->whom = SIM_WHO_LEADER;
    fault->trigger = sim_chance(random, 5000) ? SIM_TRIGGER_STOP
                                              : SIM_TRIGGER_SYNC;
    fault->after = sim_magnitude(random, 10 * SIM_US, 5 * SIM_MS);
    fault->amount = sim_between(random, 30 * SIM_MS, 95 * SIM_MS);
    fault->lasting = sim_between(random, 10 * SIM_MS, 90 * SIM_MS);
    plan->sync_timeout = plan->sync_max +
                         sim_between(random, 8 * SIM_MS, 40 * SIM_MS);
}

/* The leader dies right after an output commit, before it is applied. */
static void add_last_word(SimPlan *plan, SimRandom *random)
{
    unsigned times = sim_between(random, 1, 3);

    for (unsigned i = 0; i < times; i++) {
        SimFault *fault = add(plan, random, sim_chance(random, 7000)
                              ? SIM_FAULT_KILL : SIM_FAULT_ISOLATE,
                              SIM_WHO_LEADER);

        fault->trigger = SIM_TRIGGER_STAGED;
        fault->after = sim_magnitude(random, 10 * SIM_US, SIM_MS);
        fault->lasting = sim_between(random, 100 * SIM_MS, 500 * SIM_MS);
    }
    plan->slow_apply = 5000;
}

static void make_faults(SimPlan *plan, SimRandom *random)
{
    static void (*const group[])(SimPlan *plan, SimRandom *random) = {
        add_lonely_entry, add_lonely_entry, add_duel, add_short_memory,
        add_old_answers, add_ghosts, add_split_change, add_forgotten_vote,
        add_weak_promise, add_lost_change, add_split_vote, add_torn_sync,
        add_torn_sync, add_old_leader, add_old_leader, add_late_staged,
        add_last_word,
    };
    unsigned single = sim_magnitude(random, 2, 24);
    unsigned groups = sim_below(random, 6);

    for (unsigned i = 0; i < single; i++) {
        add_any(plan, random);
    }
    for (unsigned i = 0; i < groups; i++) {
        group[sim_below(random, G_N_ELEMENTS(group))](plan, random);
    }
}

static void make_group(SimPlan *plan, SimRandom *random)
{
    static const uint64_t beats[] = { 10, 20, 25 };

    plan->capable = plan->members == 5 ? sim_between(random, 2, 3) : 2;
    plan->durability = sim_below(random, 2) ? APUS_DURABILITY_DISK
                                            : APUS_DURABILITY_MEMORY;
    plan->ring = 4096u << sim_below(random, 3);
    plan->window = sim_magnitude(random, 64, 4096);
    plan->heartbeat = beats[sim_below(random, 3)] * SIM_MS;
    plan->timeout = 100 * SIM_MS;
    plan->lease = 80 * SIM_MS;
    plan->submit_timeout = sim_magnitude(random, 100 * SIM_MS, 2 * SIM_S);
    plan->alive_timeout = sim_chance(random, 5000) ? 200 * SIM_MS : 0;
    plan->lease_strict = sim_chance(random, 3000);
    plan->quiet_at = sim_between(random, 1 * SIM_S, 3 * SIM_S);
}

static void make_users(SimPlan *plan, SimRandom *random)
{
    plan->submit_every = sim_magnitude(random, 2 * SIM_MS, 24 * SIM_MS);
    plan->payload_max = sim_between(random, 8, 160);
    plan->sync_chance = sim_chance(random, 7000)
                        ? sim_between(random, 100, 2000) : 0;
    plan->pause_chance = sim_chance(random, 5000)
                         ? sim_between(random, 50, 500) : 0;
    plan->protect_chance = sim_magnitude(random, 200, 10000);
    plan->restart_deposed = sim_chance(random, 7000) ? 8000 : 0;
    plan->sync_max = sim_magnitude(random, SIM_MS, 40 * SIM_MS);
    plan->copy_max = sim_magnitude(random, 2 * SIM_MS, 80 * SIM_MS);
    plan->sync_timeout = plan->sync_max +
                         (sim_chance(random, 5000)
                          ? sim_magnitude(random, 10 * SIM_MS, 200 * SIM_MS)
                          : sim_between(random, 110 * SIM_MS, 300 * SIM_MS));
    plan->slow_apply = sim_chance(random, 3000) ? 1000 : 0;
    plan->step_max = sim_magnitude(random, 50 * SIM_US, 12 * SIM_MS);
    plan->chaos = sim_magnitude(random, 20, 5000);
    plan->refuse = sim_chance(random, 4000) ? sim_between(random, 100, 2000)
                                            : 0;
    plan->compare = sim_chance(random, 6000);
    plan->hold_alone = sim_chance(random, 1500);
    plan->leaseless = sim_chance(random, 2500);
}

static void make_network(SimPlan *plan, SimRandom *random)
{
    plan->delay_min = sim_magnitude(random, 20 * SIM_US, 500 * SIM_US);
    plan->delay_max = plan->delay_min *
                      sim_magnitude(random, 2, 16);
    if (sim_chance(random, 5000)) {
        plan->lost = sim_magnitude(random, 4, 600);
        plan->twice = sim_magnitude(random, 4, 600);
        plan->late = sim_magnitude(random, 4, 600);
    }
    plan->late_max = sim_magnitude(random, 5 * SIM_MS, 600 * SIM_MS);
    plan->overtaking = sim_chance(random, 5000);
    plan->sharp_cuts = sim_chance(random, 5000);
    plan->refuses_later = sim_chance(random, 5000);
    plan->late_flush = sim_chance(random, 5000)
                       ? sim_between(random, 100, 8000) : 0;
    plan->disk_min = sim_magnitude(random, 20 * SIM_US, 500 * SIM_US);
    plan->disk_max = plan->disk_min * sim_magnitude(random, 2, 16);
    plan->drift_max = sim_chance(random, 5000) ? 50000 : 100;
}

void sim_plan_make(SimPlan *plan, uint64_t seed, unsigned members,
                   uint64_t dropped, unsigned plain)
{
    SimRandom random = { seed * 2 + members };
    unsigned kept = 0;

    *plan = (SimPlan) { .seed = seed, .members = members };
    make_group(plan, &random);
    make_users(plan, &random);
    make_network(plan, &random);
    make_faults(plan, &random);
    for (unsigned i = 0; i < plan->faults; i++) {
        if (!(dropped >> i & 1)) {
            plan->fault[kept++] = plan->fault[i];
        }
    }
    plan->faults = kept;

    if (plain & SIM_PLAIN_NETWORK) {
        plan->lost = plan->twice = plan->late = 0;
        plan->overtaking = FALSE;
    }
    if (plain & SIM_PLAIN_CLOCKS) {
        plan->drift_max = 0;
    }
    if (plain & SIM_PLAIN_SYNCS) {
        plan->sync_chance = plan->pause_chance = 0;
    }
    if (plain & SIM_PLAIN_FLUSH) {
        plan->late_flush = 0;
    }
    if (plain & SIM_PLAIN_PROTECTION) {
        plan->restart_deposed = 0;
    }
}

static const char *who_name(SimWho who)
{
    static const char *const name[] = {
        [SIM_WHO_ANY] = "anyone",
        [SIM_WHO_LEADER] = "the leader",
        [SIM_WHO_SECONDARY] = "the secondary",
        [SIM_WHO_WITNESS] = "a witness",
        [SIM_WHO_SUBJECT] = "who did it",
        [SIM_WHO_OBJECT] = "to whom it was done",
        [SIM_WHO_NEWEST] = "the newest member",
    };

    return name[who];
}

void sim_plan_print(const SimPlan *plan, FILE *out)
{
    fprintf(out, "seed %" PRIu64 ": %u members, %u of them can run the VM, "
            "durability %s, ring %zu, window %zu\n", plan->seed, plan->members,
            plan->capable, plan->durability == APUS_DURABILITY_DISK
            ? "disk" : "memory", plan->ring, plan->window);
    fprintf(out, "heartbeat %" PRIu64 " ms, a submission every %" PRIu64
            " us of up to %u bytes%s%s\n", plan->heartbeat / SIM_MS,
            plan->submit_every / SIM_US, plan->payload_max,
            plan->lease_strict ? ", strict lease" : "",
            plan->alive_timeout ? ", main loop watched" : "");
    fprintf(out, "release %s, %s alone%s, syncs end after %" PRIu64 " ms\n",
            plan->compare ? "compare" : "sync",
            plan->hold_alone ? "silent" : "serves",
            plan->leaseless ? ", nobody asks for the lease" : "",
            plan->sync_timeout / SIM_MS);
    fprintf(out, "network: %" PRIu64 " to %" PRIu64 " us, lost %u, twice %u, "
            "late %u in 10,000 (up to %" PRIu64
            " ms)%s; clocks within %d ppm\n",
            plan->delay_min / SIM_US, plan->delay_max / SIM_US, plan->lost,
            plan->twice, plan->late, plan->late_max / SIM_MS,
            plan->overtaking ? ", overtaking" : "", plan->drift_max);
    fprintf(out, "a cut %s what is under way\n",
            plan->sharp_cuts ? "takes" : "spares");
    for (unsigned i = 0; i < plan->faults; i++) {
        const SimFault *fault = &plan->fault[i];

        fprintf(out, "  from %.1f ms, when %s, %.2f ms later: %s, %s -> %s, "
                "for %.1f ms, by %.1f ms\n", fault->at / 1e6,
                sim_trigger_name(fault->trigger), fault->after / 1e6,
                sim_fault_name(fault->kind), who_name(fault->who),
                who_name(fault->whom), fault->lasting / 1e6,
                fault->amount / 1e6);
    }
    fprintf(out, "  at %.1f ms everything is healed\n", plan->quiet_at / 1e6);
}

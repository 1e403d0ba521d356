/*
 * A schedule: what a seed stands for
 *
 * Everything that is decided before the start: the group, its settings, what
 * the network is like, what the users do, and a list of faults. The list can be
 * shortened without anything else in the plan changing, which is how a schedule
 * that fails is made small. What is decided while it runs (the delay of a
 * message, say) comes from random numbers that begin with the seed, too.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SIM_PLAN_H
#define SIM_PLAN_H

#include <stdio.h>

#include "colo-net/apus/core/types.h"
#include "random.h"

#define SIM_US UINT64_C(1000)
#define SIM_MS (1000 * SIM_US)
#define SIM_S (1000 * SIM_MS)

#define SIM_MAX_FAULTS 64
#define SIM_FOREVER UINT64_MAX

/* name, what it is; who and whom: see SimWho */
#define SIM_FAULT_LIST(X) \
    X(KILL, "kill") /* and started again after @lasting */ \
    X(POWER, "power cut") /* likewise; nobody is told */ \
    X(DAMAGE, "kill, damaged log") \
    X(LOSE_DISK, "kill, lost disk") /* replaced by a new member */ \
    X(FREEZE, "freeze") \
    X(SLOW_NODE, "slow node") /* everything is done @amount later */ \
    X(SLOW_DISK, "slow disk") \
    X(DISK_FAILS, "failing disk") \
    X(CUT_ONE_WAY, "one-way cut") /* from who to whom */ \
    X(CUT, "cut") \
    X(ISOLATE, "isolate") \
    X(LEAVE_ONE, "leave one link") /* who is cut off from all but whom */ \
    X(MUTE, "mute") /* nobody hears who */ \
    X(DEAF, "deaf") /* who hears nobody */ \
    X(BREAK, "break a connection") \
    X(LAG, "lag") /* from who to whom it takes @amount longer */ \
    X(NOISE, "noise") /* loss, repetition and delay everywhere */ \
    X(CLOG, "clog") /* the transport has no room for entries */ \
    X(RESIGN, "resign") \
    X(EXIT, "resign and exit") \
    X(STUCK, "stuck main loop") \
    X(REPLACE, "replace a member") \
    X(UNPROTECT, "let the secondary go")

typedef enum {
#define SIM_FAULT_ENUM(name, text) SIM_FAULT_##name,
    SIM_FAULT_LIST(SIM_FAULT_ENUM)
#undef SIM_FAULT_ENUM
    SIM_FAULTS,
} SimFaultKind;

/* What a fault may wait for once its time has come. */
#define SIM_TRIGGER_LIST(X) \
    X(NONE, "at once") \
    X(SUBMIT, "an INPUT is submitted") \
    X(SYNC, "a SYNC is submitted") \
    X(PROTECT, "a ROLE with a secondary is submitted") \
    X(UNPROTECT, "a ROLE without a secondary is submitted") \
    X(CHANGE, "a MEMBER with a new member is appended") \
    X(DISMISS, "a MEMBER without an old one is appended") \
    X(CURE, "an amnesiac is cured") \
    X(ASK, "a vote is asked for") \
    X(GRANT, "a vote is given") \
    X(FETCH, "a better log is fetched") \
    X(ELECTED, "one is elected") \
    X(LEADER, "a leader has settled") \
    X(SNAPSHOT, "a snapshot is sent") \
    X(START, "a process starts") \
    X(COPY, "a secondary has a copy")

typedef enum {
#define SIM_TRIGGER_ENUM(name, text) SIM_TRIGGER_##name,
    SIM_TRIGGER_LIST(SIM_TRIGGER_ENUM)
#undef SIM_TRIGGER_ENUM
    SIM_TRIGGERS,
} SimTrigger;

typedef enum {
    SIM_WHO_ANY,
    SIM_WHO_LEADER,
    SIM_WHO_SECONDARY,
    SIM_WHO_WITNESS, /* who is neither of the two */
    SIM_WHO_SUBJECT, /* by whom the trigger was pulled */
    SIM_WHO_OBJECT, /* with whom that had to do */
    SIM_WHO_NEWEST, /* the member with the highest id */
} SimWho;

typedef struct {
    SimFaultKind kind;
    SimTrigger trigger;
    SimWho who, whom;
    uint64_t at; /* from then on it waits for its trigger, */
    uint64_t after; /* and this much later it begins */
    uint64_t lasting;
    uint64_t amount;
    uint32_t dice; /* decides what is left open */
} SimFault;

/* What can be left out of a schedule while it is made small. */
typedef enum {
    SIM_PLAIN_NETWORK = 1 << 0, /* nothing lost, repeated, overtaken */
    SIM_PLAIN_CLOCKS = 1 << 1, /* all go right */
    SIM_PLAIN_SYNCS = 1 << 2, /* no SYNC, no pause */
    SIM_PLAIN_FLUSH = 1 << 3, /* a flush after each event */
    SIM_PLAIN_PROTECTION = 1 << 4, /* no secondary after the first */
    SIM_PLAIN_ALL = (1 << 5) - 1,
} SimPlain;

typedef struct {
    uint64_t seed;
    unsigned members; /* 3 or 5 */
    unsigned capable; /* the first of them can run the VM */
    ApusDurability durability;

    size_t ring, window;
    uint64_t heartbeat, timeout, lease, submit_timeout;
    uint64_t alive_timeout;
    gboolean lease_strict;

    uint64_t submit_every;
    unsigned payload_max;
    unsigned sync_chance; /* of a submission, in 10,000, like the others */
    unsigned pause_chance;
    unsigned protect_chance; /* at each turn of an unprotected leader */
    unsigned restart_deposed;
    uint64_t sync_max, copy_max;

    uint64_t delay_min, delay_max;
    unsigned lost, twice, late;
    uint64_t late_max;
    gboolean overtaking;
    gboolean refuses_later; /* not only the first reconnect */
    unsigned late_flush;
    uint64_t disk_min, disk_max;
    int drift_max; /* of a clock, parts per million */

    uint64_t quiet_at; /* then all is healed */
    unsigned faults;
    SimFault fault[SIM_MAX_FAULTS];
} SimPlan;

/* The plan of @seed, without the faults in the set @dropped. */
void sim_plan_make(SimPlan *plan, uint64_t seed, unsigned members,
                   uint64_t dropped, unsigned plain);

void sim_plan_print(const SimPlan *plan, FILE *out);

const char *sim_fault_name(SimFaultKind kind);
const char *sim_trigger_name(SimTrigger trigger);

#endif

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

/* Who and whom: see SimWho. */
typedef enum {
    SIM_FAULT_KILL, /* and started again after @lasting */
    SIM_FAULT_POWER, /* likewise; nobody is told */
    SIM_FAULT_DAMAGE,
    SIM_FAULT_LOSE_DISK, /* replaced by a new member */
    SIM_FAULT_FREEZE,
    SIM_FAULT_SLOW_NODE, /* everything is done @amount later */
    SIM_FAULT_SLOW_DISK,
    SIM_FAULT_DISK_FAILS,
    SIM_FAULT_CUT_ONE_WAY, /* from who to whom */
    SIM_FAULT_CUT,
    SIM_FAULT_ISOLATE,
    SIM_FAULT_LEAVE_ONE, /* who is cut off from all but whom */
    SIM_FAULT_MUTE, /* nobody hears who */
    SIM_FAULT_DEAF, /* who hears nobody */
    SIM_FAULT_BREAK,
    SIM_FAULT_LAG, /* from who to whom it takes @amount longer */
    SIM_FAULT_NOISE, /* loss, repetition and delay everywhere */
    SIM_FAULT_CLOG, /* the transport has no room for entries */
    SIM_FAULT_RESIGN,
    SIM_FAULT_EXIT,
    SIM_FAULT_STUCK,
    SIM_FAULT_REPLACE,
    SIM_FAULT_UNPROTECT,
    SIM_FAULTS,
} SimFaultKind;

/* What a fault may wait for once its time has come. */
typedef enum {
    SIM_TRIGGER_NONE, /* at once */
    SIM_TRIGGER_SUBMIT, /* an INPUT is submitted */
    SIM_TRIGGER_SYNC, /* a SYNC is submitted */
    SIM_TRIGGER_PROTECT, /* a ROLE with a secondary is submitted */
    SIM_TRIGGER_UNPROTECT, /* a ROLE without a secondary is submitted */
    SIM_TRIGGER_CHANGE, /* a MEMBER with a new member is appended */
    SIM_TRIGGER_DISMISS, /* a MEMBER without an old one is appended */
    SIM_TRIGGER_CURE, /* an amnesiac is cured */
    SIM_TRIGGER_ASK, /* a vote is asked for */
    SIM_TRIGGER_GRANT, /* a vote is given */
    SIM_TRIGGER_FETCH, /* a better log is fetched */
    SIM_TRIGGER_ELECTED, /* one is elected */
    SIM_TRIGGER_LEADER, /* a leader has settled */
    SIM_TRIGGER_SNAPSHOT, /* a snapshot is sent */
    SIM_TRIGGER_START, /* a process starts */
    SIM_TRIGGER_COPY, /* a secondary has a copy */
    SIM_TRIGGER_STOP, /* a leader's VM stops for a sync */
    SIM_TRIGGER_DECIDE, /* a secondary has all of a sync: STAGED */
    SIM_TRIGGER_STAGED, /* its leader hears of that */
    SIM_TRIGGER_APPLY, /* a sync is applied */
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
    uint64_t sync_max, copy_max, sync_timeout;
    uint64_t step_max; /* until a guest reads what it was given */
    unsigned chaos; /* of doing what the other guest does not */
    unsigned slow_apply; /* of a sync that takes long to apply */
    unsigned refuse; /* of a sync that the secondary cannot apply */
    gboolean compare; /* outputs leave when both guests have said the same */
    gboolean hold_alone; /* no output leaves without a secondary */
    /* Nobody asks for the lease: only single voice may depend on it. */
    gboolean leaseless;

    uint64_t delay_min, delay_max;
    unsigned lost, twice, late;
    uint64_t late_max;
    gboolean overtaking;
    gboolean sharp_cuts; /* what is under way is lost, too */
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

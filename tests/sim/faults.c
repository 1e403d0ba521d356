/*
 * What goes wrong
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <inttypes.h>

#include "sim.h"

/* --- who ---------------------------------------------------------------- */

static ApusId secondary_of(Sim *sim)
{
    return sim_role_at(sim, sim_last_committed(sim))->secondary;
}

static gboolean fits(Sim *sim, SimWho who, ApusId id)
{
    SimHost *leader = sim_leader(sim);

    if (!sim->host[id].exists || sim->host[id].gone) {
        return FALSE;
    }
    switch (who) {
    case SIM_WHO_LEADER:
        return leader && leader->id == id;
    case SIM_WHO_SECONDARY:
        return secondary_of(sim) ? secondary_of(sim) == id
               : sim->host[id].can_run && !(leader && leader->id == id);
    case SIM_WHO_WITNESS:
        return secondary_of(sim) != id && !(leader && leader->id == id);
    default:
        return TRUE;
    }
}

static ApusId choose(Sim *sim, SimWho who, const SimFaultState *state,
                     uint32_t dice, ApusId but)
{
    if (who == SIM_WHO_SUBJECT && state->subject && state->subject != but) {
        return state->subject;
    }
    if (who == SIM_WHO_OBJECT && state->object && state->object != but) {
        return state->object;
    }
    if (who == SIM_WHO_NEWEST && sim->hosts != but) {
        return sim->hosts;
    }
    for (unsigned i = 0; i < sim->hosts; i++) {
        ApusId id = (dice + i) % sim->hosts + 1;

        if (id != but && fits(sim, who, id)) {
            return id;
        }
    }
    return dice % sim->hosts + 1 != but ? dice % sim->hosts + 1
                                        : (dice + 1) % sim->hosts + 1;
}

/* --- when --------------------------------------------------------------- */

void sim_faults_start(Sim *sim)
{
    for (unsigned i = 0; i < sim->plan.faults; i++) {
        sim_push(sim, sim->plan.fault[i].at, SIM_EVENT_ARM, 0, 0, i, 0);
    }
}

void sim_trigger(Sim *sim, SimTrigger trigger, ApusId subject, ApusId object)
{
    uint64_t armed = sim->armed[trigger];

    if (!armed || sim->quiet) {
        return;
    }
    sim->armed[trigger] = 0;
    for (unsigned i = 0; i < sim->plan.faults; i++) {
        if (armed >> i & 1) {
            sim->fault[i].subject = subject;
            sim->fault[i].object = object;
            sim_push(sim, sim->now + sim->plan.fault[i].after,
                     SIM_EVENT_FAULT, 0, 0, i, 0);
        }
    }
}

/* --- links -------------------------------------------------------------- */

static void set_cut(Sim *sim, ApusId from, ApusId to, int change)
{
    if (from != to) {
        sim->link[from][to].cut += change;
    }
}

/* The links that @fault cuts, or gives back. */
static void cut_links(Sim *sim, const SimFault *fault,
                      const SimFaultState *state, int change)
{
    ApusId who = state->who, whom = state->whom;

    switch (fault->kind) {
    case SIM_FAULT_CUT:
        set_cut(sim, whom, who, change);
        set_cut(sim, who, whom, change);
        return;
    case SIM_FAULT_CUT_ONE_WAY:
        set_cut(sim, who, whom, change);
        return;
    default:
        break;
    }
    for (ApusId id = 1; id < SIM_HOSTS; id++) {
        if (fault->kind == SIM_FAULT_LEAVE_ONE && id == whom) {
            continue;
        }
        if (fault->kind != SIM_FAULT_DEAF) {
            set_cut(sim, who, id, change);
        }
        if (fault->kind != SIM_FAULT_MUTE) {
            set_cut(sim, id, who, change);
        }
    }
}

/* After a while the systems of both sides notice. */
static void break_cut(Sim *sim, ApusId who)
{
    for (ApusId id = 1; id <= sim->hosts; id++) {
        if (id != who && (sim->link[who][id].cut || sim->link[id][who].cut)) {
            sim_net_break(sim, who, id);
        }
    }
}

/* --- processes ---------------------------------------------------------- */

static void kill_it(const SimFault *fault, SimHost *host)
{
    if (fault->kind == SIM_FAULT_POWER) {
        host->powered = FALSE;
    }
    sim_host_kill(host);
    if (fault->kind == SIM_FAULT_DAMAGE) {
        sim_disk_damage(host);
    }
    sim_host_restart(host, fault->lasting);
}

/* The members, as an operator sees them. */
static const ApusMembers *known_members(Sim *sim)
{
    const SimHost *best = NULL;

    for (ApusId id = 1; id <= sim->hosts; id++) {
        const SimHost *host = &sim->host[id];

        if (host->core && (!best || host->core->commit >
                                    best->core->commit)) {
            best = host;
        }
    }
    return best ? &apus_log_newest(best->core->log)->members : NULL;
}

static void lose_disk(Sim *sim, const SimFault *fault, SimHost *host)
{
    const ApusMembers *members;

    sim_host_kill(host);
    members = known_members(sim);
    if (fault->dice % 2 && members &&
        apus_members_find(members, host->id) >= 0) {
        sim_host_found(host, members, TRUE);
        sim_host_restart(host, fault->lasting);
    } else if (!sim->replace_old) {
        host->gone = TRUE;
        sim->replace_old = host->id;
    } else {
        sim_host_restart(host, fault->lasting);
    }
}

static void replace(Sim *sim, const SimFault *fault)
{
    SimHost *leader = sim_leader(sim);
    const ApusMembers *members;

    if (!leader || leader->frozen) {
        return;
    }
    members = &apus_log_newest(leader->core->log)->members;
    for (unsigned i = 0; i < members->count; i++) {
        const ApusMember *old =
            &members->member[(fault->dice + i) % members->count];
        const ApusRole *role = &apus_log_newest(leader->core->log)->role;

        if (old->id == role->leader || old->id == role->secondary) {
            continue;
        }
        if (fault->dice % 11 == 0 && members->count > 3) {
            sim_user_remove(leader, old->id);
        } else if (fault->dice % 11 == 1 &&
                   members->count < APUS_MAX_MEMBERS - 1) {
            sim_user_replace(leader, APUS_NOBODY, fault->dice % 3 == 0);
        } else {
            sim_user_replace(leader, old->id,
                             old->can_run || fault->dice % 3 == 0);
        }
        return;
    }
}

static void resign(const SimFault *fault, SimHost *host)
{
    if (!host->core || host->frozen) {
        return;
    }
    apus_core_resign(host->core, sim_clock(host));
    apus_core_flush(host->core, sim_clock(host));
    sim_check_step(host);
    if (fault->kind == SIM_FAULT_EXIT) {
        sim_host_kill(host);
        sim_host_restart(host, fault->lasting);
    } else {
        sim_host_done(host);
    }
}

static gboolean deadly(const SimFault *fault)
{
    switch (fault->kind) {
    case SIM_FAULT_KILL:
    case SIM_FAULT_POWER:
    case SIM_FAULT_EXIT:
    case SIM_FAULT_DISK_FAILS:
    case SIM_FAULT_DAMAGE:
    case SIM_FAULT_LOSE_DISK:
        return TRUE;
    default:
        return FALSE;
    }
}

/*
 * What a group can never recover from ends the schedule early: it happens, but
 * not often. Who must not die is frozen instead.
 */
static SimFaultKind spare(Sim *sim, const SimFault *fault, const SimHost *host)
{
    if (deadly(fault) && fault->dice % 8 != 0 &&
        !sim_hopeful(sim, host->id)) {
        return SIM_FAULT_FREEZE;
    }
    return fault->kind;
}

/* --- begin and end ------------------------------------------------------ */

static void begin(Sim *sim, unsigned number)
{
    const SimFault *fault = &sim->plan.fault[number];
    SimFaultState *state = &sim->fault[number];
    SimHost *host;

    state->who = choose(sim, fault->who, state, fault->dice, APUS_NOBODY);
    state->whom = choose(sim, fault->whom, state, fault->dice / 16,
                         state->who);
    host = &sim->host[state->who];
    state->kind = spare(sim, fault, host);
    sim_trace(sim, "FAULT %u: %s, %u -> %u, for %.1f ms", number,
              sim_fault_name(state->kind), state->who, state->whom,
              fault->lasting / 1e6);
    switch (state->kind) {
    case SIM_FAULT_KILL:
    case SIM_FAULT_POWER:
    case SIM_FAULT_DAMAGE:
        kill_it(fault, host);
        return;
    case SIM_FAULT_LOSE_DISK:
        lose_disk(sim, fault, host);
        return;
    case SIM_FAULT_DISK_FAILS:
        if (host->core) {
            sim_push_for(host, sim->now, SIM_EVENT_FAILED, 0, 0, 0);
        }
        break;
    case SIM_FAULT_FREEZE:
        host->frozen++;
        break;
    case SIM_FAULT_SLOW_NODE:
        host->slow = fault->amount / 2;
        break;
    case SIM_FAULT_SLOW_DISK:
        host->disk.slow = fault->amount;
        break;
    case SIM_FAULT_STUCK:
        host->stuck++;
        break;
    case SIM_FAULT_LAG:
        sim->link[state->who][state->whom].lag += fault->amount;
        break;
    case SIM_FAULT_CLOG:
        sim->link[state->who][state->whom].clogged++;
        break;
    case SIM_FAULT_NOISE:
        sim->noise++;
        break;
    case SIM_FAULT_BREAK:
        sim_net_break(sim, state->who, state->whom);
        return;
    case SIM_FAULT_RESIGN:
    case SIM_FAULT_EXIT:
        resign(fault, host);
        return;
    case SIM_FAULT_REPLACE:
        replace(sim, fault);
        return;
    case SIM_FAULT_UNPROTECT:
        if (sim_leader(sim)) {
            sim_leader(sim)->user.let_go = TRUE;
            sim_leader(sim)->user.stop = fault->dice % 16 == 0;
        }
        return;
    default:
        cut_links(sim, fault, state, 1);
        if (fault->dice % 3 == 0) {
            break_cut(sim, state->who);
        }
        break;
    }
    sim_push(sim, sim->now + fault->lasting, SIM_EVENT_FAULT_END, 0, 0,
             number, 0);
}

static void end(Sim *sim, unsigned number)
{
    const SimFault *fault = &sim->plan.fault[number];
    SimFaultState *state = &sim->fault[number];
    SimHost *host = &sim->host[state->who];

    sim_trace(sim, "FAULT %u ends: %s, %u", number,
              sim_fault_name(state->kind), state->who);
    switch (state->kind) {
    case SIM_FAULT_DISK_FAILS:
        sim_host_kill(host);
        sim_host_restart(host, SIM_MS);
        break;
    case SIM_FAULT_FREEZE:
        if (--host->frozen == 0) {
            sim_host_thaw(host);
        }
        break;
    case SIM_FAULT_SLOW_NODE:
        host->slow = 0;
        break;
    case SIM_FAULT_SLOW_DISK:
        host->disk.slow = 0;
        break;
    case SIM_FAULT_STUCK:
        host->stuck--;
        break;
    case SIM_FAULT_LAG:
        sim->link[state->who][state->whom].lag -= fault->amount;
        break;
    case SIM_FAULT_CLOG:
        if (--sim->link[state->who][state->whom].clogged == 0) {
            sim_net_unclog(host, state->whom);
        }
        break;
    case SIM_FAULT_NOISE:
        sim->noise--;
        break;
    default:
        cut_links(sim, fault, state, -1);
        break;
    }
}

void sim_faults_event(Sim *sim, const SimEvent *event)
{
    const SimFault *fault = &sim->plan.fault[event->arg];

    if (sim->quiet) {
        return; /* sim_heal() has ended them all */
    }
    switch (event->type) {
    case SIM_EVENT_ARM:
        if (fault->trigger == SIM_TRIGGER_NONE) {
            sim_push(sim, sim->now + fault->after, SIM_EVENT_FAULT, 0, 0,
                     event->arg, 0);
        } else {
            sim->armed[fault->trigger] |= UINT64_C(1) << event->arg;
        }
        break;
    case SIM_EVENT_FAULT:
        begin(sim, event->arg);
        break;
    default:
        end(sim, event->arg);
        break;
    }
}

/* --- the end of all faults ---------------------------------------------- */

static void heal_host(SimHost *host)
{
    host->stuck = 0;
    host->slow = host->disk.slow = 0;
    if (host->frozen) {
        host->frozen = 0;
        sim_host_thaw(host);
    }
    if (host->core && host->core->state == APUS_STATE_FAILED) {
        sim_host_kill(host);
    }
    if (!host->core) {
        /* One that would start much later starts now. */
        host->restarting = FALSE;
        sim_host_restart(host, sim_below(&host->sim->random, 5 * SIM_MS));
    }
}

void sim_heal(Sim *sim)
{
    SimPlan *plan = &sim->plan;

    sim_trace(sim, "everything is healed");
    sim->quiet = TRUE;
    sim->noise = 0;
    plan->lost = plan->twice = plan->late = plan->late_flush = 0;
    plan->overtaking = FALSE;
    for (ApusId a = 1; a < SIM_HOSTS; a++) {
        for (ApusId b = 1; b < SIM_HOSTS; b++) {
            sim->link[a][b] = (SimLink) { .last = sim->link[a][b].last };
        }
    }
    for (ApusId id = 1; id <= sim->hosts; id++) {
        heal_host(&sim->host[id]);
        for (ApusId peer = 1; peer <= sim->hosts; peer++) {
            sim_net_unclog(&sim->host[id], peer);
        }
    }
}

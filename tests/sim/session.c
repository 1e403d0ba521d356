/*
 * The connections between a leader and its secondary
 *
 * A session has one connection for syncs and one for each disk. Each keeps its
 * own order; between them there is none. Nothing is lost while both processes
 * live and the session is not given up. A cut makes it wait. (Reports are NOTEs
 * of the core, and have no order with any of this.)
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <inttypes.h>

#include "sim.h"

#define WAIT_CUT (3 * SIM_MS)

SimSession *sim_session(Sim *sim, unsigned number)
{
    return &g_array_index(sim->replicas.session, SimSession, number);
}

unsigned sim_session_open(SimHost *leader, SimHost *peer)
{
    Sim *sim = leader->sim;
    SimSession session = {
        .leader = leader->id,
        .peer = peer->id,
        .leader_lives = leader->lives,
        .peer_lives = peer->lives,
        .term = leader->core->term,
    };

    g_array_append_val(sim->replicas.session, session);
    return sim->replicas.session->len - 1;
}

static gboolean cut(const Sim *sim, ApusId from, ApusId to)
{
    return sim->link[from][to].cut;
}

/* Tell the other side, if it can be told. */
static void tell_closed(Sim *sim, unsigned number, SimHost *other,
                        ApusId from)
{
    const SimSession *session = sim_session(sim, number);
    uint32_t lives = other->id == session->leader ? session->leader_lives
                                                  : session->peer_lives;

    if (other->core && other->lives == lives &&
        !cut(sim, from, other->id)) {
        sim_push_for(other, sim->now + sim_magnitude(&sim->random, 50 * SIM_US,
                                                     20 * SIM_MS),
                     SIM_EVENT_CLOSED, 0, number, 0);
    }
}

void sim_session_close(SimHost *host, unsigned number)
{
    Sim *sim = host->sim;
    SimSession *session = sim_session(sim, number);

    if (!session->dead) {
        session->dead = TRUE;
        tell_closed(sim, number,
                    &sim->host[session->leader == host->id ? session->peer
                                                           : session->leader],
                    host->id);
    }
}

/* Both sides hear of the end. */
static void lose(Sim *sim, unsigned number, gboolean told)
{
    SimSession *session = sim_session(sim, number);
    ApusId leader = session->leader, peer = session->peer;

    session->dead = TRUE;
    if (told) {
        tell_closed(sim, number, &sim->host[leader], peer);
        tell_closed(sim, number, &sim->host[peer], leader);
    }
}

void sim_session_break(Sim *sim, ApusId a, ApusId b)
{
    for (unsigned i = 1; i < sim->replicas.session->len; i++) {
        const SimSession *session = sim_session(sim, i);

        if (!session->dead &&
            ((session->leader == a && session->peer == b) ||
             (session->leader == b && session->peer == a)) &&
            sim_chance(&sim->random, 5000)) {
            lose(sim, i, TRUE);
        }
    }
}

void sim_session_died(SimHost *host, gboolean told)
{
    Sim *sim = host->sim;

    for (unsigned i = 1; i < sim->replicas.session->len; i++) {
        const SimSession *session = sim_session(sim, i);

        if (!session->dead &&
            (session->leader == host->id || session->peer == host->id)) {
            lose(sim, i, told);
        }
    }
}

/* --- messages ------------------------------------------------------------ */

static uint32_t new_wire(Sim *sim, const SimWire *wire)
{
    SimReplicas *all = &sim->replicas;
    uint32_t number;

    if (all->free_wire->len == 0) {
        g_array_append_val(all->wire, *wire);
        return all->wire->len - 1;
    }
    number = g_array_index(all->free_wire, uint32_t, all->free_wire->len - 1);
    g_array_set_size(all->free_wire, all->free_wire->len - 1);
    g_array_index(all->wire, SimWire, number) = *wire;
    return number;
}

void sim_wire_forget(Sim *sim, uint64_t number)
{
    uint32_t free_number = number;

    g_array_append_val(sim->replicas.free_wire, free_number);
}

void sim_wire_send(SimHost *host, unsigned number, SimWire *wire)
{
    Sim *sim = host->sim;
    SimSession *session = sim_session(sim, number);
    unsigned side = session->peer == host->id;
    ApusId to = side ? session->leader : session->peer;
    SimLink *link = &sim->link[host->id][to];
    uint64_t at = sim->now + link->lag +
                  sim_between(&sim->random, sim->plan.delay_min,
                              sim->plan.delay_max);

    if (session->dead) {
        return;
    }
    wire->session = number;
    wire->term = session->term;
    wire->sequence = ++session->sent[side][wire->channel];
    at = MAX(at, session->last[side][wire->channel] + 1);
    session->last[side][wire->channel] = at;
    sim_push(sim, at, SIM_EVENT_WIRE, to, host->id, new_wire(sim, wire), 0);
}

/* Is it its turn on its connection? */
static gboolean in_turn(SimHost *host, const SimEvent *event,
                        const SimWire *wire)
{
    Sim *sim = host->sim;
    SimSession *session = sim_session(sim, wire->session);
    uint64_t *taken = &session->taken[session->leader == host->id]
                                     [wire->channel];

    if (cut(sim, event->peer, host->id) || *taken + 1 != wire->sequence) {
        if (session->dead) {
            sim_wire_forget(sim, event->arg);
            return FALSE;
        }
        sim_push_for(host, sim->now + WAIT_CUT, SIM_EVENT_WIRE, event->peer,
                     event->arg, 0);
        return FALSE;
    }
    ++*taken;
    return TRUE;
}

void sim_wire_arrive(SimHost *host, const SimEvent *event)
{
    Sim *sim = host->sim;
    SimWire wire = g_array_index(sim->replicas.wire, SimWire, event->arg);
    const SimSession *session = sim_session(sim, wire.session);

    /* What was sent before the end may still arrive, or not. */
    if (session->dead && sim_chance(&sim->random, 3000)) {
        sim_wire_forget(sim, event->arg);
        session = NULL;
    }
    if (!session || !in_turn(host, event, &wire)) {
        return;
    }
    sim_wire_forget(sim, event->arg);
    if (session->leader == host->id) {
        sim_lead_take(host, &wire);
    } else {
        sim_stage_take(host, &wire);
    }
}

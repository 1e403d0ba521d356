/*
 * What the world has heard, and what therefore must not be lost
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <inttypes.h>

#include "sim.h"

static gboolean has_said(const Sim *sim, const SimGuest *guest, unsigned flow,
                         uint64_t number, uint64_t content)
{
    const GArray *all = sim->replicas.said;
    const SimSaid *said = &g_array_index(all, SimSaid, guest->said[flow]);

    while (said->number > number) {
        said = &g_array_index(all, SimSaid, said->before);
    }
    return number == 0 || (said->number == number &&
                           said->content == content);
}

/* What the VM of @host is if it has to take over now. */
static const SimGuest *successor(const SimHost *host)
{
    const SimReplica *replica = &host->replica;

    return replica->stage.decided ? &replica->stage.guest : &replica->guest;
}

/*
 * Whoever may lead next by what is committed has said it, or will have.
 */
static void check_safe(SimHost *host, const SimHeld *held)
{
    Sim *sim = host->sim;
    const ApusRole *role = sim_role_at(sim, sim_last_committed(sim));

    for (ApusId id = 1; id <= sim->hosts; id++) {
        const SimHost *other = &sim->host[id];

        if (other == host || !other->core || !sim_names(role, other) ||
            (role->leader == id && role->leader_incarnation == 0)) {
            continue;
        }
        if (!has_said(sim, successor(other), held->flow, held->number,
                      held->content)) {
            sim_fail(sim, "safe-output", "%u releases output %" PRIu64
                     " of flow %u, and %u, which may take over, has not said "
                     "it", host->id, held->number, held->flow, id);
        }
    }
}

static void check_voice(SimHost *host)
{
    Sim *sim = host->sim;
    SimReplicas *all = &sim->replicas;

    if (host->core->term < all->term && !sim->plan.leaseless) {
        sim_fail(sim, "one-voice", "%u speaks in term %" PRIu64 ", and one of "
                 "term %" PRIu64 " has spoken", host->id, host->core->term,
                 all->term);
    }
    all->term = MAX(all->term, host->core->term);
    if (all->lineage && all->lineage != host->replica.lineage) {
        sim_fail(sim, "fresh", "%u speaks for a VM that was booted since",
                 host->id);
    }
    all->lineage = host->replica.lineage;
}

void sim_world_hear(SimHost *host, const SimHeld *held)
{
    Sim *sim = host->sim;
    GArray *heard = sim->replicas.heard[held->flow];
    uint64_t *content;

    sim_trace(sim, "%u releases output %" PRIu64 " of flow %u, said after "
              "%" PRIu64, host->id, held->number, held->flow, held->after);
    sim->count.released++;
    check_voice(host);
    if (heard->len <= held->number) {
        g_array_set_size(heard, held->number + 1);
    }
    content = &g_array_index(heard, uint64_t, held->number);
    if (*content && *content != held->content) {
        sim_fail(sim, "same-output", "%u releases output %" PRIu64
                 " of flow %u, and the world has heard another one",
                 host->id, held->number, held->flow);
    }
    *content = held->content;
    sim->replicas.newest[held->flow] = MAX(sim->replicas.newest[held->flow],
                                           held->number);
    if (!sim->consequences) {
        check_safe(host, held);
    }
}

void sim_world_check(SimHost *host, const char *when)
{
    Sim *sim = host->sim;

    for (unsigned i = 0; i < SIM_FLOWS; i++) {
        uint64_t newest = sim->replicas.newest[i];

        if (newest &&
            !has_said(sim, &host->replica.guest, i, newest,
                      g_array_index(sim->replicas.heard[i], uint64_t,
                                    newest))) {
            sim_fail(sim, "lost-output", "the world has heard output %" PRIu64
                     " of flow %u, and the VM of %u has not said it when it "
                     "%s", newest, i, host->id, when);
        }
    }
}

void sim_world_start(Sim *sim)
{
    SimReplicas *all = &sim->replicas;

    g_array_set_size(all->said, 0);
    g_array_set_size(all->said, 1);
    g_array_set_size(all->session, 0);
    g_array_set_size(all->session, 1);
    g_array_set_size(all->wire, 0);
    g_array_set_size(all->free_wire, 0);
    for (unsigned i = 0; i < SIM_FLOWS; i++) {
        g_array_set_size(all->heard[i], 0);
        all->newest[i] = 0;
    }
    all->term = all->lineage = 0;
}

void sim_world_new(Sim *sim)
{
    SimReplicas *all = &sim->replicas;

    all->said = g_array_new(FALSE, TRUE, sizeof(SimSaid));
    all->session = g_array_new(FALSE, TRUE, sizeof(SimSession));
    all->wire = g_array_new(FALSE, FALSE, sizeof(SimWire));
    all->free_wire = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    for (unsigned i = 0; i < SIM_FLOWS; i++) {
        all->heard[i] = g_array_new(FALSE, TRUE, sizeof(uint64_t));
    }
}

void sim_world_free(Sim *sim)
{
    SimReplicas *all = &sim->replicas;

    g_array_unref(all->said);
    g_array_unref(all->session);
    g_array_unref(all->wire);
    g_array_unref(all->free_wire);
    for (unsigned i = 0; i < SIM_FLOWS; i++) {
        g_array_unref(all->heard[i]);
    }
}

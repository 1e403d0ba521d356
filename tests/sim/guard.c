/*
 * Outputs: held, compared, released (R12)
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <inttypes.h>
#include <string.h>

#include "sim.h"

/* A secondary tells what its guest said, as of the epoch it applied last. */
static void report(SimHost *host, unsigned flow, const SimSaid *said)
{
    SimReplica *replica = &host->replica;
    SimTold told = {
        .flow = flow,
        .epoch = replica->applied,
        .number = said->number,
        .content = said->content,
    };

    if (replica->stage.session && replica->applied &&
        host->sim->plan.compare) {
        apus_core_note(host->core, replica->stage.leader, (uint8_t *)&told,
                       sizeof(told), sim_clock(host));
    }
}

void sim_guard_hold(SimHost *host, unsigned flow, const SimSaid *said)
{
    SimReplica *replica = &host->replica;

    g_assert(replica->holds < SIM_HELD);
    replica->held[replica->holds++] = (SimHeld) {
        .flow = flow,
        .number = said->number,
        .content = said->content,
        .after = replica->lead.sealed,
    };
    report(host, flow, said);
    if (replica->holds > SIM_HELD / 2) {
        replica->lead.wanted = TRUE;
    }
}

void sim_guard_discard(SimHost *host)
{
    if (!SIM_BROKEN(R16_OUTPUTS_KEPT)) {
        host->replica.holds = 0;
    } else if (host->replica.holds > SIM_HELD - 8) {
        host->replica.holds = SIM_HELD / 2;
    }
}

/* --- comparing ----------------------------------------------------------- */

static const SimSeal *find_seal(const SimLead *lead, uint64_t epoch)
{
    for (unsigned i = 0; i < lead->seals; i++) {
        if (lead->seal[i].epoch == epoch) {
            return &lead->seal[i];
        }
    }
    return NULL;
}

/*
 * From which sync point on what was said after @after counts: a sync that the
 * secondary has dropped, as it said itself, was none. One whose fate is open
 * may have been applied.
 */
static uint64_t generation(const SimLead *lead, uint64_t after)
{
    const SimSeal *seal;

    while ((seal = find_seal(lead, after)) &&
           (seal->fate == SIM_SEAL_REFUSED || SIM_BROKEN(R12_OLD_REPORT))) {
        after = seal->before;
    }
    return after;
}

/* Has the secondary said the same, in the same epoch? */
static gboolean said_by_both(const SimHost *host, const SimHeld *held)
{
    const SimLead *lead = &host->replica.lead;
    uint64_t epoch = generation(lead, held->after);

    for (unsigned i = 0; i < lead->tolds; i++) {
        const SimTold *told = &lead->told[i];

        if (told->flow == held->flow && told->number == held->number &&
            told->content == held->content &&
            (told->epoch == epoch || SIM_BROKEN(R12_EPOCH_UNTAGGED))) {
            return TRUE;
        }
    }
    return FALSE;
}

/* Called from within the core. */
void sim_guard_told(void *opaque, ApusId from, uint64_t term,
                    const uint8_t *data, size_t size)
{
    SimHost *host = opaque;
    SimLead *lead = &host->replica.lead;
    SimTold told;

    g_assert(size == sizeof(told));
    memcpy(&told, data, sizeof(told));
    if (!lead->session || lead->peer != from ||
        sim_session(host->sim, lead->session)->term != term) {
        return;
    }
    lead->told[lead->next_told] = told;
    lead->next_told = (lead->next_told + 1) % SIM_REPORTS;
    lead->tolds = MIN(lead->tolds + 1, SIM_REPORTS);
    for (unsigned i = 0; i < host->replica.holds; i++) {
        const SimHeld *held = &host->replica.held[i];

        if (held->flow == told.flow && held->number == told.number &&
            held->content != told.content &&
            generation(lead, held->after) == told.epoch) {
            host->sim->count.diverged++;
            lead->wanted = TRUE;
        }
    }
}

/* --- releasing ----------------------------------------------------------- */

static gboolean may_leave(const SimHost *host, const SimHeld *held)
{
    const SimLead *lead = &host->replica.lead;

    /* In the end an operator wants service, even alone. */
    if (host->sim->plan.hold_alone && host->sim->quiet && !lead->session &&
        !lead->bound) {
        return TRUE;
    }
    return !lead->holds || held->after < lead->staged ||
           (host->sim->plan.compare && lead->session &&
            said_by_both(host, held));
}

/* What is before it in its flow is the same, or it would not be. */
static void release_up_to(SimHost *host, SimHeld last)
{
    SimReplica *replica = &host->replica;
    unsigned kept = 0;

    for (unsigned i = 0; i < replica->holds; i++) {
        SimHeld *held = &replica->held[i];

        if (held->flow == last.flow && held->number <= last.number) {
            sim_world_hear(host, held);
        } else {
            replica->held[kept++] = *held;
        }
    }
    replica->holds = kept;
}

void sim_guard_run(SimHost *host)
{
    SimReplica *replica = &host->replica;

    if (!host->core || !replica->holds || host->stuck || host->vm.hold ||
        host->core->state != APUS_STATE_LEADER ||
        (!sim_may_speak(host) && !SIM_BROKEN(R9_LEASE_UNASKED) &&
         !host->sim->plan.leaseless)) {
        return;
    }
    for (unsigned i = replica->holds; i > 0; i--) {
        if (i <= replica->holds && may_leave(host, &replica->held[i - 1])) {
            release_up_to(host, replica->held[i - 1]);
        }
    }
    sim_guest_wake(host);
}

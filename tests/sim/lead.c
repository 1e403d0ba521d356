/*
 * The leader's side of a session: resync, syncs, who is named
 *
 * A session begins with a copy of the disks and a migration, then come syncs.
 * After the first one (R24) the secondary is named. When the session is lost
 * the leader goes on alone as soon as that is committed.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <inttypes.h>
#include <string.h>

#include "colo-net/apus/core/payload.h"
#include "sim.h"

#define MAX_FAILURES 3
#define MAX_REJECTED 20 /* submissions, for want of room or other reasons */

/* What an event for the leader's side is about. */
enum {
    COPY, /* a block of a disk, or the VM itself */
    STOP,
    SEND, /* R14_COPY_LATE */
    DEADLINE,
};

static void after(SimHost *host, uint64_t wait, unsigned what)
{
    SimLead *lead = &host->replica.lead;

    sim_push_for(host, host->sim->now + wait, SIM_EVENT_LEAD, what,
                 lead->session, lead->progress);
}

/* Something has to happen within the deadline. */
static void go_on(SimHost *host)
{
    host->replica.lead.progress++;
    after(host, host->sim->plan.sync_timeout, DEADLINE);
}

static void send(SimHost *host, SimWire *wire)
{
    sim_wire_send(host, host->replica.lead.session, wire);
}

/* --- a session ends, or begins ------------------------------------------- */

static void let_run(SimHost *host)
{
    SimReplica *replica = &host->replica;

    if (replica->stands) {
        replica->stands = FALSE;
        sim_guest_wake(host);
    }
    if (host->vm.barrier && replica->barrier == replica->lead.epoch) {
        sim_user_go_on(host);
    }
}

/* The secondary is lost. If nobody can have been told of it, nothing is. */
void sim_lead_fail(SimHost *host, const char *why)
{
    SimLead *lead = &host->replica.lead;

    if (!lead->session) {
        return;
    }
    sim_trace(host->sim, "%u gives up session %u with %u: %s", host->id,
              lead->session, lead->peer, why);
    sim_session_close(host, lead->session);
    lead->session = 0;
    lead->progress++;
    lead->copying = lead->ready = lead->synced = lead->named = FALSE;
    lead->replicates = FALSE;
    lead->seals = 0;
    lead->tolds = 0;
    let_run(host);
    lead->phase = SIM_SYNC_NONE;
    if (!lead->bound && !host->sim->plan.hold_alone) {
        lead->holds = FALSE;
    }
    if (host->core->state == APUS_STATE_LEADER) {
        apus_core_pin(host->core, 0);
    }
}

/* It leads no more, or again, in another term. */
void sim_lead_reset(SimHost *host, gboolean leads)
{
    SimLead *lead = &host->replica.lead;

    lead->bound = FALSE;
    sim_lead_fail(host, "another term");
    lead->wanted = FALSE;
    lead->failures = 0;
    lead->role = 0;
    lead->holds = !leads || host->sim->plan.hold_alone;
}

static gboolean can_be_named(const SimHost *leader,
                             const ApusPeerStatus *peer)
{
    const SimHost *host = &leader->sim->host[peer->id];

    return peer->connected && !peer->suspected && !peer->amnesiac &&
           peer->incarnation && host->can_run && host->core &&
           host->incarnation == peer->incarnation &&
           (!host->vm.runs || leader->sim->plan.seed % 2);
}

static void begin_session(SimHost *host, const ApusPeerStatus *status)
{
    SimLead *lead = &host->replica.lead;
    Sim *sim = host->sim;
    SimHost *peer = &sim->host[status->id];
    SimWire hello = { .kind = SIM_WIRE_HELLO };

    lead->session = sim_session_open(host, peer);
    lead->peer = peer->id;
    lead->incarnation = peer->incarnation;
    lead->copying = TRUE;
    lead->ready = lead->synced = lead->named = FALSE;
    lead->phase = SIM_SYNC_NONE;
    lead->failures = lead->seals = lead->rejected = 0;
    lead->peer_base = 0;
    lead->migrate_at = sim->now + sim_between(&sim->random, SIM_MS,
                                              sim->plan.copy_max);
    apus_core_pin(host->core, host->vm.delivered);
    sim_trace(sim, "%u begins session %u with %u", host->id, lead->session,
              peer->id);
    hello.value = host->image.id;
    hello.epoch = sim->epochs;
    send(host, &hello);
    go_on(host);
}

static void look_for_a_peer(SimHost *host, const ApusStatus *status)
{
    Sim *sim = host->sim;
    const SimLead *lead = &host->replica.lead;
    unsigned first = sim_below(&sim->random, APUS_MAX_MEMBERS);

    if (host->vm.delivered == 0 || status->role.secondary || lead->bound ||
        lead->role || host->user.stop || status->role.stopped ||
        !sim_chance(&sim->random, sim->plan.protect_chance)) {
        return;
    }
    for (unsigned i = 0; i < status->peers; i++) {
        const ApusPeerStatus *peer =
            &status->peer[(first + i) % status->peers];

        if (apus_members_find(&status->members, peer->id) >= 0 &&
            can_be_named(host, peer)) {
            begin_session(host, peer);
            return;
        }
    }
}

/* The disks first, then the VM, as it is between two inputs. */
static void copy(SimHost *host)
{
    SimReplica *replica = &host->replica;
    SimLead *lead = &replica->lead;
    Sim *sim = host->sim;
    SimWire wire = { .kind = SIM_WIRE_MIGRATED };

    if (sim_blocks_copy(host) || sim->now < lead->migrate_at ||
        (host->vm.barrier && !replica->full) || replica->stands) {
        after(host, sim_between(&sim->random, 10 * SIM_US, SIM_MS), COPY);
        return;
    }
    apus_core_pin(host->core, host->vm.delivered);
    wire.index = host->vm.delivered;
    wire.guest = replica->guest;
    wire.pending = replica->pending;
    wire.lineage = replica->lineage;
    send(host, &wire);
    for (unsigned i = 0; i < SIM_DISKS; i++) {
        SimWire start = { .kind = SIM_WIRE_START, .channel = 1 + i };

        send(host, &start);
    }
    lead->replicates = TRUE;
    lead->copying = FALSE;
    replica->dirty = 0;
    go_on(host);
}

/* --- a sync -------------------------------------------------------------- */

static void begin_sync(SimHost *host)
{
    SimLead *lead = &host->replica.lead;
    Sim *sim = host->sim;
    SimWire wire = { .kind = SIM_WIRE_SYNC };
    uint64_t epoch = ++sim->epochs;

    if (lead->seals == SIM_SEALS) {
        sim_lead_fail(host, "too many syncs of which nothing is known");
        return;
    }
    if (!sim_user_submit_sync(host, epoch, lead->peer_base)) {
        lead->rejected++;
        return;
    }
    if (!lead->synced || lead->named) {
        lead->rejected = 0; /* else it is the ROLE that is waited for */
    }
    lead->epoch = epoch;
    lead->phase = SIM_SYNC_ASKED;
    lead->wanted = lead->mapped = lead->cancelled = FALSE;
    wire.epoch = epoch;
    wire.base = lead->peer_base;
    send(host, &wire);
    sim_guest_hurry(host);
    go_on(host);
    if (SIM_BROKEN(R13_BARRIER_AHEAD)) {
        after(host, sim_below(&sim->random, sim->plan.sync_max), STOP);
    }
}

/* Called from within the core. FALSE: no sync waits for this one here. */
gboolean sim_lead_reached(SimHost *host, uint64_t epoch)
{
    SimLead *lead = &host->replica.lead;
    Sim *sim = host->sim;

    if (!lead->session || lead->phase != SIM_SYNC_ASKED ||
        lead->epoch != epoch || SIM_BROKEN(R13_BARRIER_AHEAD)) {
        return FALSE;
    }
    lead->phase = SIM_SYNC_REACHED;
    after(host, lead->mapped ? 1 : sim_below(&sim->random,
                                             sim->plan.sync_max), STOP);
    return TRUE;
}

static unsigned union_of(const SimLead *lead)
{
    unsigned map = SIM_BROKEN(R14_OWN_PAGES) ? 0 : lead->peer_map;

    for (unsigned i = 0; i < lead->seals; i++) {
        const SimSeal *seal = &lead->seal[i];

        if (seal->epoch > lead->peer_base &&
            (seal->epoch == lead->epoch || !SIM_BROKEN(R13_BASE_ASSUMED))) {
            map |= seal->map;
        }
    }
    return map;
}

static void send_copy(SimHost *host)
{
    const SimLead *lead = &host->replica.lead;
    unsigned map = union_of(lead);
    SimWire end = { .kind = SIM_WIRE_END, .epoch = lead->epoch };
    SimWire devices = {
        .kind = SIM_WIRE_DEVICES,
        .epoch = lead->epoch,
        .guest = lead->copy,
        .pending = lead->copy_pending,
    };

    for (unsigned i = 0; i < SIM_PAGES; i++) {
        SimWire page = {
            .kind = SIM_WIRE_PAGE,
            .epoch = lead->epoch,
            .place = i,
            .value = lead->copy.page[i],
        };

        if ((map >> i & 1) && page.value != lead->peer_page[i]) {
            end.map |= 1u << i;
            send(host, &page);
        }
    }
    send(host, &devices);
    send(host, &end);
}

/* The union is known, and copied: go on, and send it. */
static void resume_and_send(SimHost *host)
{
    SimLead *lead = &host->replica.lead;

    lead->phase = SIM_SYNC_SENT;
    let_run(host);
    go_on(host);
    if (SIM_BROKEN(R14_COPY_LATE)) {
        after(host, 2 * SIM_MS, SEND);
    } else {
        send_copy(host);
    }
}

static void stop(SimHost *host)
{
    SimReplica *replica = &host->replica;
    SimLead *lead = &replica->lead;

    if (lead->phase != SIM_SYNC_REACHED && !(SIM_BROKEN(R13_BARRIER_AHEAD) &&
                                             lead->phase == SIM_SYNC_ASKED)) {
        return;
    }
    sim_trace(host->sim, "%u stops for epoch %" PRIu64, host->id,
              lead->epoch);
    sim_trigger(host->sim, SIM_TRIGGER_STOP, host->id, lead->peer);
    replica->stands = TRUE;
    lead->seal[lead->seals++] = (SimSeal) {
        .epoch = lead->epoch,
        .before = lead->sealed,
        .map = replica->dirty,
    };
    replica->dirty = 0;
    lead->sealed = lead->epoch;
    lead->stopped = host->vm.delivered;
    lead->copy = replica->guest;
    lead->copy_pending = replica->pending;
    if (!SIM_BROKEN(R24_HELD_LATE)) {
        lead->holds = TRUE;
    }
    for (unsigned i = 0; i < SIM_DISKS; i++) {
        SimWire commit = {
            .kind = SIM_WIRE_COMMIT,
            .channel = 1 + i,
            .epoch = lead->epoch,
        };

        send(host, &commit);
    }
    lead->phase = SIM_SYNC_STOPPED;
    if (lead->mapped) {
        resume_and_send(host);
    }
}

static void sync_failed(SimHost *host)
{
    SimLead *lead = &host->replica.lead;

    let_run(host);
    lead->phase = SIM_SYNC_NONE;
    lead->wanted = TRUE;
    lead->progress++;
    host->sim->count.sync_failures++;
    if (++lead->failures >= MAX_FAILURES) {
        sim_lead_fail(host, "failed syncs");
    }
}

/* It takes too long: what has become of it is not known. */
static void deadline(SimHost *host)
{
    SimLead *lead = &host->replica.lead;
    SimWire cancel = { .kind = SIM_WIRE_CANCEL, .epoch = lead->epoch };

    if (lead->phase == SIM_SYNC_NONE) {
        if (!lead->ready) {
            sim_lead_fail(host, "no answer to the migration");
        }
    } else if (sim_chance(&host->sim->random, 3000)) {
        sim_lead_fail(host, "a sync takes too long");
    } else {
        sim_trace(host->sim, "%u cancels epoch %" PRIu64, host->id,
                  lead->epoch);
        send(host, &cancel);
        sync_failed(host);
    }
}

void sim_lead_event(SimHost *host, const SimEvent *event)
{
    SimLead *lead = &host->replica.lead;

    if (!lead->session || lead->session != event->arg ||
        lead->progress != event->arg2 ||
        host->core->state != APUS_STATE_LEADER) {
        return;
    }
    switch (event->peer) {
    case COPY:
        copy(host);
        break;
    case STOP:
        stop(host);
        break;
    case SEND:
        memcpy(lead->copy.page, host->replica.guest.page,
               sizeof(lead->copy.page));
        send_copy(host);
        break;
    default:
        deadline(host);
        break;
    }
}

/* --- what the secondary says --------------------------------------------- */

static void take_map(SimHost *host, const SimWire *wire)
{
    SimLead *lead = &host->replica.lead;

    if (lead->phase == SIM_SYNC_NONE || lead->phase == SIM_SYNC_SENT ||
        wire->epoch != lead->epoch || lead->mapped) {
        return;
    }
    lead->mapped = TRUE;
    lead->peer_map = wire->map;
    memcpy(lead->peer_page, wire->guest.page, sizeof(lead->peer_page));
    if (lead->phase == SIM_SYNC_STOPPED) {
        resume_and_send(host);
    } else if (lead->phase == SIM_SYNC_REACHED) {
        after(host, 1, STOP);
    }
}

static void take_refused(SimHost *host, const SimWire *wire)
{
    SimLead *lead = &host->replica.lead;

    for (unsigned i = 0; i < lead->seals; i++) {
        if (lead->seal[i].epoch == wire->epoch) {
            lead->seal[i].fate = SIM_SEAL_REFUSED;
        }
    }
    lead->peer_base = wire->base;
    if (lead->phase != SIM_SYNC_NONE && lead->epoch == wire->epoch) {
        sync_failed(host);
    }
}

static void settle_up_to(SimLead *lead, uint64_t epoch)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < lead->seals; i++) {
        if (lead->seal[i].epoch > epoch) {
            lead->seal[kept++] = lead->seal[i];
        }
    }
    lead->seals = kept;
}

/* Output commit. It may be of a sync that was given up in the meantime. */
static void take_staged(SimHost *host, const SimWire *wire)
{
    SimReplica *replica = &host->replica;
    SimLead *lead = &replica->lead;
    uint64_t epoch = wire->epoch;

    if (SIM_BROKEN(R17_LATE_STAGED) && lead->phase >= SIM_SYNC_STOPPED) {
        epoch = lead->epoch;
    }
    sim_trace(host->sim, "%u has STAGED of epoch %" PRIu64, host->id, epoch);
    host->sim->count.staged++;
    lead->staged = MAX(lead->staged, epoch);
    lead->peer_base = epoch;
    settle_up_to(lead, epoch);
    lead->synced = TRUE;
    lead->failures = 0;
    if (!lead->named && lead->epoch == epoch) {
        apus_core_pin(host->core, lead->stopped);
    }
    if (lead->phase != SIM_SYNC_NONE && lead->epoch == epoch) {
        let_run(host);
        lead->phase = SIM_SYNC_NONE;
        lead->progress++;
    }
    if (SIM_BROKEN(R12_SEAL_IGNORED)) {
        for (unsigned i = 0; i < replica->holds; i++) {
            replica->held[i].after = 0;
        }
    }
    sim_trigger(host->sim, SIM_TRIGGER_STAGED, host->id, lead->peer);
}

void sim_lead_take(SimHost *host, const SimWire *wire)
{
    SimLead *lead = &host->replica.lead;

    if (lead->session != wire->session || wire->term != host->core->term ||
        host->core->state != APUS_STATE_LEADER) {
        return;
    }
    switch (wire->kind) {
    case SIM_WIRE_WELCOME:
        sim_blocks_begin_resync(host, &host->sim->host[lead->peer]);
        lead->progress++;
        after(host, SIM_US, COPY);
        break;
    case SIM_WIRE_READY:
        lead->ready = TRUE;
        lead->wanted = TRUE;
        lead->progress++;
        host->sim->count.copies++;
        sim_trigger(host->sim, SIM_TRIGGER_COPY, host->id, lead->peer);
        break;
    case SIM_WIRE_MAP:
        take_map(host, wire);
        break;
    case SIM_WIRE_REFUSED:
        take_refused(host, wire);
        break;
    case SIM_WIRE_STAGED:
        take_staged(host, wire);
        break;
    default:
        lead->known[lead->peer] = wire->value;
        sim_blocks_durable(host, lead->peer, wire->epoch);
        break;
    }
}

void sim_lead_closed(SimHost *host, unsigned session)
{
    if (host->replica.lead.session == session) {
        sim_lead_fail(host, "it was closed");
    }
}

/* --- who is named -------------------------------------------------------- */

static void name(SimHost *host, ApusId secondary, uint64_t incarnation)
{
    SimLead *lead = &host->replica.lead;

    lead->role = sim_user_submit_role(host, secondary, incarnation);
    if (lead->role) {
        lead->role_names = secondary != APUS_NOBODY;
        lead->bound |= lead->role_names;
        if (!lead->role_names && SIM_BROKEN(R12_NONE_EARLY)) {
            lead->holds = FALSE;
        }
    }
}

/* Called from within the core. */
void sim_lead_role_done(SimHost *host, uint64_t number, gboolean committed)
{
    SimLead *lead = &host->replica.lead;

    if (lead->role != number) {
        return;
    }
    lead->role = 0;
    if (!committed) {
        return;
    }
    if (lead->role_names) {
        lead->named = lead->session != 0;
        lead->rejected = 0;
        lead->holds = TRUE;
        host->sim->count.protected += lead->named;
    } else {
        lead->bound = FALSE;
        lead->holds = host->sim->plan.hold_alone;
        host->sim->count.alone++;
    }
}

static void watch_peer(SimHost *host, const ApusStatus *status)
{
    SimLead *lead = &host->replica.lead;
    const ApusPeerStatus *peer = NULL;

    for (unsigned i = 0; i < status->peers; i++) {
        if (status->peer[i].id == lead->peer) {
            peer = &status->peer[i];
        }
    }
    if (host->user.let_go || host->user.stop) {
        sim_lead_fail(host, "an operator");
    } else if (!peer || peer->suspected ||
               (peer->connected && peer->incarnation != lead->incarnation)) {
        sim_lead_fail(host, "the peer is gone");
    }
    host->user.let_go = FALSE;
}

static gboolean wants_sync(const SimHost *host)
{
    const SimLead *lead = &host->replica.lead;
    Sim *sim = host->sim;

    return lead->ready && lead->phase == SIM_SYNC_NONE &&
           (lead->wanted || sim_chance(&sim->random, sim->plan.sync_chance) ||
            (host->replica.holds && sim->quiet));
}

void sim_lead_turn(SimHost *host, const ApusStatus *status)
{
    SimLead *lead = &host->replica.lead;
    gboolean synced = lead->synced || (lead->ready &&
                                       SIM_BROKEN(R24_ROLE_EARLY));

    if (lead->session) {
        watch_peer(host, status);
    }
    if (lead->rejected > MAX_REJECTED) {
        sim_lead_fail(host, "it gets no further");
    }
    if (lead->session && wants_sync(host)) {
        begin_sync(host);
    }
    if (lead->named) {
        apus_core_pin(host->core, 0);
    }
    if (lead->role) {
        return;
    }
    if (host->user.stop && !status->role.stopped) {
        name(host, APUS_NOBODY, 0);
    } else if (!lead->session && lead->bound) {
        name(host, APUS_NOBODY, 0);
    } else if (lead->session && synced && !lead->named) {
        name(host, lead->peer, lead->incarnation);
        lead->rejected += !lead->role;
    } else if (!lead->session && !host->sim->quiet) {
        look_for_a_peer(host, status);
    }
}

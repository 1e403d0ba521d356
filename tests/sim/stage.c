/*
 * The secondary's side of a session: stage, decide, apply or drop, take over
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <inttypes.h>
#include <string.h>

#include "sim.h"

/* What an event for the secondary's side is about. */
enum {
    BEGIN, /* the log is there, or is looked at again */
    REACHED,
    APPLY,
    WRITE_BACK,
    DEADLINE,
};

static void after(SimHost *host, uint64_t wait, unsigned what)
{
    SimStage *stage = &host->replica.stage;

    sim_push_for(host, host->sim->now + wait, SIM_EVENT_STAGE, what,
                 stage->session, stage->progress);
}

static void go_on(SimHost *host)
{
    host->replica.stage.progress++;
    after(host, host->sim->plan.sync_timeout, DEADLINE);
}

static void send(SimHost *host, SimWire *wire)
{
    sim_wire_send(host, host->replica.stage.session, wire);
}

static void let_run(SimHost *host)
{
    SimReplica *replica = &host->replica;

    replica->stands = FALSE;
    sim_guest_wake(host);
    if (host->vm.barrier && !replica->full) {
        sim_user_go_on(host);
    }
}

/* --- apply or drop ------------------------------------------------------- */

static void forget_sync(SimStage *stage)
{
    stage->refused = MAX(stage->refused, stage->epoch);
    stage->epoch = 0;
    stage->mapped = stage->devices = stage->complete = FALSE;
    stage->pages = 0;
    stage->decided = FALSE;
    stage->later = 0;
    stage->progress++;
}

/* Memory, devices, frames and disks, in one step (R16). */
static void apply(SimHost *host)
{
    SimReplica *replica = &host->replica;
    SimStage *stage = &replica->stage;
    uint64_t epoch = stage->epoch;

    sim_trace(host->sim, "%u applies epoch %" PRIu64, host->id, epoch);
    host->sim->count.applied++;
    replica->guest = stage->guest;
    if (!SIM_BROKEN(R11_PENDING_KEPT)) {
        replica->pending = stage->pending;
    }
    sim_blocks_apply(host, epoch);
    sim_guard_discard(host);
    replica->dirty = 0;
    replica->applied = epoch;
    replica->base = host->vm.delivered;
    forget_sync(stage);
    sim_guest_check(host, "has applied a sync");
    if (sim_names(sim_role_at(host->sim, sim_last_committed(host->sim)),
                  host)) {
        sim_world_check(host, "has applied a sync");
    }
    after(host, sim_magnitude(&host->sim->random, 100 * SIM_US, 20 * SIM_MS),
          WRITE_BACK);
    let_run(host);
    sim_trigger(host->sim, SIM_TRIGGER_APPLY, host->id, stage->leader);
}

static void drop(SimHost *host)
{
    sim_trace(host->sim, "%u drops epoch %" PRIu64, host->id,
              host->replica.stage.epoch);
    sim_blocks_drop(host);
    forget_sync(&host->replica.stage);
    let_run(host);
}

static void refuse(SimHost *host, uint64_t epoch)
{
    SimWire wire = {
        .kind = SIM_WIRE_REFUSED,
        .epoch = epoch,
        .base = host->replica.applied,
    };

    host->replica.stage.epoch = epoch;
    drop(host);
    send(host, &wire);
}

static void settle(SimHost *host)
{
    SimStage *stage = &host->replica.stage;

    if (stage->decided || stage->later) {
        apply(host);
    } else {
        drop(host);
    }
}

/* The session is over; nobody has said yet who goes on. */
static void leave(SimHost *host, const char *why)
{
    SimReplica *replica = &host->replica;
    SimStage *stage = &replica->stage;

    if (!stage->session) {
        return;
    }
    sim_trace(host->sim, "%u leaves session %u: %s", host->id, stage->session,
              why);
    sim_session_close(host, stage->session);
    if (replica->runs) {
        settle(host);
    }
    stage->session = 0;
    stage->progress++;
    replica->left = host->sim->now;
    /* Before the first sync nobody can have named it (R24). */
    if (!replica->applied) {
        replica->runs = FALSE;
    }
    sim_stage_look(host);
}

/*
 * A ROLE that is newer than what it has leaves it out: it is outdated. It must
 * not wait until that is delivered: its VM may have been paused by its guard,
 * which nobody empties any more, and then its log fills up, and the group may
 * be without a majority.
 */
void sim_stage_look(SimHost *host)
{
    SimReplica *replica = &host->replica;
    const ApusLog *log = host->core->log;
    uint64_t newest = apus_log_newest_of(log, APUS_ENTRY_ROLE);
    ApusSnapshot snapshot;

    if (!replica->runs || replica->outdated ||
        (replica->stage.session && !replica->applied) ||
        newest > host->core->commit || newest <= replica->base) {
        return;
    }
    apus_log_snapshot(log, host->core->commit, &snapshot);
    if (!sim_names(&snapshot.role, host)) {
        if (replica->stage.session) {
            leave(host, "it was let go");
            return;
        }
        sim_trace(host->sim, "the VM of %u is outdated", host->id);
        replica->outdated = TRUE;
        replica->holds = 0;
        sim_guest_hurry(host);
    }
}

/* R3: its ROLE is committed. */
void sim_stage_take_over(SimHost *host)
{
    SimReplica *replica = &host->replica;
    SimStage *stage = &replica->stage;

    if (!replica->runs || !replica->layered) {
        return;
    }
    sim_trace(host->sim, "%u takes over, epoch %" PRIu64 " was %s", host->id,
              stage->epoch, stage->decided ? "decided" : "not decided");
    if (stage->decided && !SIM_BROKEN(R16_STAGE_DROPPED)) {
        apply(host);
    } else if (SIM_BROKEN(R20_SEALED_APPLIED)) {
        forget_sync(stage);
    } else if (!SIM_BROKEN(R23_OLD_SESSION)) {
        drop(host);
    }
    replica->lead.known[stage->leader] = stage->leader_image;
    sim_blocks_take_over(host);
    replica->stands = FALSE;
    if (!SIM_BROKEN(R23_OLD_SESSION)) {
        if (stage->session) {
            sim_session_close(host, stage->session);
        }
        stage->session = 0;
    }
    stage->progress++;
    host->sim->count.takeovers++;
}

/* It may have been named, but nobody says so for too long. */
static gboolean is_forgotten(const SimHost *host)
{
    const SimReplica *replica = &host->replica;
    ApusSnapshot snapshot;

    if (!replica->runs || replica->outdated || !replica->layered ||
        replica->stage.session || host->sim->now < replica->left + SIM_S ||
        host->core->state != APUS_STATE_FOLLOWER) {
        return FALSE;
    }
    apus_log_snapshot(host->core->log, host->core->commit, &snapshot);
    return !sim_names(&snapshot.role, host) &&
           sim_hopeful(host->sim, host->id);
}

/* What is not to go on needs no inputs. */
void sim_stage_turn(SimHost *host)
{
    if (is_forgotten(host)) {
        sim_user_start_anew(host);
    }
    if (host->vm.runs && !host->replica.stage.session &&
        (!host->replica.runs || host->replica.outdated) &&
        host->core->state == APUS_STATE_FOLLOWER) {
        host->vm.runs = host->vm.barrier = FALSE;
        apus_core_deliver_stop(host->core);
    }
}

/* --- a session begins ---------------------------------------------------- */

/* A HELLO may be late; who has had a newer session is not for an older one. */
static void take_hello(SimHost *host, const SimWire *wire)
{
    SimReplica *replica = &host->replica;

    if (host->core->state != APUS_STATE_FOLLOWER ||
        wire->session < replica->stage.newest ||
        host->core->term != wire->term || host->core->amnesiac) {
        sim_session_close(host, wire->session);
        return;
    }
    leave(host, "another one begins");
    /* What it was is no more, and neither is what it knew of other disks. */
    memset(replica, 0, sizeof(*replica));
    replica->stage.session = replica->stage.newest = wire->session;
    replica->stage.term = wire->term;
    replica->stage.leader = sim_session(host->sim, wire->session)->leader;
    replica->stage.leader_image = wire->value;
    replica->stage.refused = wire->epoch;
    send(host, &(SimWire) { .kind = SIM_WIRE_WELCOME });
}

/* Go on from the state that was migrated, as soon as all of it is here. */
static void begin(SimHost *host)
{
    SimReplica *replica = &host->replica;
    SimStage *stage = &replica->stage;
    SimWire ready = { .kind = SIM_WIRE_READY };
    g_autoptr(GError) error = NULL;

    if (replica->runs || !stage->migrated ||
        stage->started != (1u << SIM_DISKS) - 1) {
        return;
    }
    if (host->core->state != APUS_STATE_FOLLOWER) {
        leave(host, "it stands for election");
        return;
    }
    if (!apus_core_deliver_from(host->core, stage->from, sim_clock(host),
                                &error)) {
        sim_trace(host->sim, "%u cannot go on yet: %s", host->id,
                  error->message);
        after(host, 2 * SIM_MS, BEGIN);
        return;
    }
    sim_trace(host->sim, "%u has a copy of the VM as of %" PRIu64, host->id,
              stage->from);
    host->vm = (SimVm) { .runs = TRUE, .delivered = stage->from };
    replica->runs = TRUE;
    replica->layered = TRUE;
    replica->guest = stage->guest;
    replica->pending = stage->pending;
    replica->lineage = stage->lineage;
    replica->base = stage->from;
    memset(host->image.intent, 0, sizeof(host->image.intent));
    sim_guest_check(host, "was migrated");
    send(host, &ready);
    go_on(host); /* the first sync follows */
    sim_guest_wake(host);
}

/* --- a sync -------------------------------------------------------------- */

/* Called from within the core, before it says anything in that term (R15). */
void sim_stage_term_rises(void *opaque, uint64_t term)
{
    SimHost *host = opaque;

    host->replica.stage.stands = term > host->replica.stage.term;
}

static gboolean stands_for_election(const SimHost *host)
{
    return host->replica.stage.stands;
}

/* Called from within the core. FALSE: no sync waits for this one here. */
gboolean sim_stage_reached(SimHost *host, uint64_t epoch)
{
    SimReplica *replica = &host->replica;
    SimStage *stage = &replica->stage;

    if (!stage->session || !replica->runs || epoch <= stage->refused) {
        return FALSE;
    }
    if (stage->epoch == epoch) {
        after(host, sim_below(&host->sim->random, host->sim->plan.sync_max),
              REACHED);
    } else {
        go_on(host); /* until the leader asks for it */
    }
    return TRUE;
}

static void take_sync(SimHost *host, const SimWire *wire)
{
    SimReplica *replica = &host->replica;
    SimStage *stage = &replica->stage;

    if (stage->epoch) {
        settle(host);
    }
    if (!replica->runs ||
        (wire->base != replica->applied && !SIM_BROKEN(R13_BASE_ASSUMED)) ||
        (stands_for_election(host) && !SIM_BROKEN(R15_STANDING)) ||
        (replica->barrier >= wire->epoch && !(host->vm.barrier &&
                                              replica->barrier ==
                                              wire->epoch))) {
        refuse(host, wire->epoch);
        return;
    }
    stage->epoch = wire->epoch;
    sim_guest_hurry(host);
    go_on(host);
    if (replica->barrier == wire->epoch) {
        after(host, sim_below(&host->sim->random, host->sim->plan.sync_max),
              REACHED);
    }
}

/* Every input before the sync point is delivered: stand, and say so. */
static void reached(SimHost *host)
{
    SimReplica *replica = &host->replica;
    SimStage *stage = &replica->stage;
    SimWire map = {
        .kind = SIM_WIRE_MAP,
        .epoch = stage->epoch,
        .map = replica->dirty,
        .guest = replica->guest,
    };

    if (!stage->epoch || stage->mapped) {
        return;
    }
    replica->stands = TRUE;
    stage->mapped = TRUE;
    stage->guest = replica->guest;
    send(host, &map);
    if (SIM_BROKEN(R14_MAP_FORGOTTEN)) {
        replica->dirty = 0;
    }
    go_on(host);
}

/* Everything is here and nothing can fail: from here on no way back. */
static void decide(SimHost *host)
{
    Sim *sim = host->sim;
    SimStage *stage = &host->replica.stage;
    SimWire staged = { .kind = SIM_WIRE_STAGED, .epoch = stage->epoch };

    if (!stage->complete || stage->decided || stage->later ||
        !sim_blocks_sealed(host, stage->epoch)) {
        return;
    }
    if ((stands_for_election(host) && !SIM_BROKEN(R15_STANDING) &&
         !SIM_BROKEN(R23_OLD_SESSION)) ||
        sim_chance(&sim->random, sim->plan.refuse)) {
        refuse(host, stage->epoch);
        return;
    }
    sim_trace(sim, "%u decides epoch %" PRIu64, host->id, stage->epoch);
    send(host, &staged);
    stage->progress++;
    if (SIM_BROKEN(R15_STANDING) && stands_for_election(host)) {
        stage->later = stage->epoch;
    } else {
        stage->decided = TRUE;
    }
    after(host, sim_chance(&sim->random, sim->plan.slow_apply)
                ? sim_between(&sim->random, 10 * SIM_MS, 150 * SIM_MS)
                : sim_magnitude(&sim->random, SIM_US, sim->plan.sync_max),
          APPLY);
    sim_trigger(sim, SIM_TRIGGER_DECIDE, host->id, stage->leader);
}

static void take_of_sync(SimHost *host, const SimWire *wire)
{
    SimReplica *replica = &host->replica;
    SimStage *stage = &replica->stage;

    if (wire->epoch != stage->epoch || !stage->mapped || stage->decided) {
        return;
    }
    if (wire->kind == SIM_WIRE_PAGE) {
        stage->guest.page[wire->place] = wire->value;
        stage->pages |= 1u << wire->place;
        if (SIM_BROKEN(R16_IN_PARTS)) {
            replica->guest.page[wire->place] = wire->value;
        }
    } else if (wire->kind == SIM_WIRE_DEVICES) {
        SimGuest guest = wire->guest;

        memcpy(guest.page, stage->guest.page, sizeof(guest.page));
        stage->guest = guest;
        stage->pending = wire->pending;
        stage->devices = TRUE;
    } else {
        stage->complete = stage->devices && stage->pages == wire->map;
        decide(host);
    }
}

void sim_stage_take(SimHost *host, const SimWire *wire)
{
    SimStage *stage = &host->replica.stage;

    if (wire->kind == SIM_WIRE_HELLO) {
        take_hello(host, wire);
        return;
    }
    if (stage->session != wire->session) {
        return;
    }
    switch (wire->kind) {
    case SIM_WIRE_MIGRATED:
        stage->migrated = TRUE;
        stage->from = wire->index;
        stage->guest = wire->guest;
        stage->pending = wire->pending;
        stage->lineage = wire->lineage;
        begin(host);
        break;
    case SIM_WIRE_SYNC:
        take_sync(host, wire);
        break;
    case SIM_WIRE_CANCEL:
        if (stage->epoch == wire->epoch && !stage->decided) {
            refuse(host, wire->epoch);
        }
        break;
    case SIM_WIRE_PAGE:
    case SIM_WIRE_DEVICES:
    case SIM_WIRE_END:
        take_of_sync(host, wire);
        break;
    case SIM_WIRE_START:
        sim_blocks_take(host, wire);
        begin(host);
        break;
    default:
        if (stage->decided && wire->kind == SIM_WIRE_COMMIT &&
            !SIM_BROKEN(R18_NEXT_COMMIT)) {
            apply(host); /* the disks wait for that */
        }
        sim_blocks_take(host, wire);
        decide(host);
        break;
    }
}

/* --- time ---------------------------------------------------------------- */

static void write_back(SimHost *host)
{
    SimReplica *replica = &host->replica;
    SimWire durable = {
        .kind = SIM_WIRE_DURABLE,
        .epoch = replica->applied,
        .value = host->image.id,
    };

    if (replica->layered) {
        sim_blocks_write_back(host);
        send(host, &durable);
    }
}

void sim_stage_event(SimHost *host, const SimEvent *event)
{
    SimStage *stage = &host->replica.stage;

    if (!stage->session || stage->session != event->arg) {
        return;
    }
    if (event->peer == WRITE_BACK) {
        write_back(host);
        return;
    }
    if (stage->progress != event->arg2) {
        return;
    }
    switch (event->peer) {
    case BEGIN:
        begin(host);
        break;
    case REACHED:
        reached(host);
        break;
    case APPLY:
        apply(host);
        break;
    default:
        leave(host, "the leader takes too long");
        break;
    }
}

void sim_stage_closed(SimHost *host, unsigned session)
{
    if (host->replica.stage.session == session) {
        leave(host, "it was closed");
    }
}

/*
 * What runs on top of the core, but for the VM and its syncs (replica.h)
 *
 * What is delivered is given to the VM. The leader's user submits numbered
 * INPUTs, and now and then has a member replaced.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <inttypes.h>
#include <string.h>

#include "colo-net/apus/core/payload.h"
#include "sim.h"

/* What an event for the user is about. */
enum {
    TURN,
    DEPOSED, /* a process that has led starts anew */
};

/* --- what the core says ------------------------------------------------- */

static void pause_for(SimHost *host, uint64_t index)
{
    Sim *sim = host->sim;

    host->vm.barrier = TRUE;
    sim_push_for(host, sim->now + sim_between(&sim->random, SIM_US,
                                              sim->plan.sync_max),
                 SIM_EVENT_RESUME, 0, index, 0);
}

static const char *not_to_be_delivered(const SimHost *host,
                                       const ApusEntry *entry)
{
    const ApusCore *core = host->core;

    if (!host->vm.runs) {
        return "to a VM that does not run";
    }
    if (host->vm.barrier) {
        return "while the VM is paused";
    }
    if (core->state == APUS_STATE_ELECTED ||
        (core->state == APUS_STATE_LEADER &&
         (host->vm.hold || host->vm.hold_term != core->term))) {
        return "before the new leader has settled";
    }
    if (entry->index != host->vm.delivered + 1) {
        return "out of order";
    }
    return NULL;
}

/* A sync that waits for this goes on; any other SYNC is but a pause. */
static void reach(SimHost *host, const ApusEntry *entry)
{
    ApusSync sync = { 0 };

    apus_sync_decode(&sync, entry->payload, entry->length, NULL);
    host->vm.barrier = TRUE;
    host->replica.barrier = sync.epoch.number;
    if (!(apus_core_leads(host->core)
          ? sim_lead_reached(host, sync.epoch.number)
          : sim_stage_reached(host, sync.epoch.number))) {
        pause_for(host, entry->index);
    }
}

ApusDeliver sim_user_deliver(void *opaque, const ApusEntry *entry)
{
    SimHost *host = opaque;
    Sim *sim = host->sim;
    const char *why = not_to_be_delivered(host, entry);

    sim_trace(sim, "%u delivers %" PRIu64, host->id, entry->index);
    if (why) {
        sim_fail(sim, "delivery", "%u: entry %" PRIu64 " behind %" PRIu64
                 " %s", host->id, entry->index, host->vm.delivered, why);
    }
    sim_check_committed(host, entry);
    host->vm.delivered = entry->index;
    if (entry->kind == APUS_ENTRY_SYNC) {
        reach(host, entry);
        return APUS_DELIVER_GO_ON;
    }
    if (entry->kind == APUS_ENTRY_INPUT &&
        !sim_guest_input(host, entry->index)) {
        host->vm.barrier = TRUE;
        return APUS_DELIVER_PAUSE;
    }
    if (sim_chance(&sim->random, sim->plan.pause_chance)) {
        pause_for(host, entry->index);
        return APUS_DELIVER_PAUSE;
    }
    return APUS_DELIVER_GO_ON;
}

void sim_user_skipped(void *opaque, const ApusSnapshot *snapshot)
{
    SimHost *host = opaque;
    Sim *sim = host->sim;

    sim_trace(sim, "%u skips up to %" PRIu64, host->id, snapshot->index);
    if (host->vm.runs && !host->vm.broken &&
        sim_names(sim_role_at(sim, sim_last_committed(sim)), host)) {
        sim_fail(sim, "trim", "%u is named, has delivered %" PRIu64
                 " and is to skip up to %" PRIu64, host->id,
                 host->vm.delivered, snapshot->index);
    }
    host->vm.broken = TRUE;
    host->vm.delivered = snapshot->index;
    host->vm.barrier = FALSE; /* nothing is left to wait for */
    host->replica.runs = FALSE;
}

static SimSubmission *submission(Sim *sim, uint64_t number)
{
    return &g_array_index(sim->submissions, SimSubmission, number);
}

void sim_user_completed(void *opaque, void *token, ApusFate fate,
                        uint64_t index)
{
    SimHost *host = opaque;
    Sim *sim = host->sim;
    SimSubmission *mine = submission(sim, GPOINTER_TO_SIZE(token));
    ApusEntry entry;

    if (mine->host != host->id || mine->life != host->lives ||
        mine->state != SIM_SUBMISSION_OPEN) {
        sim_fail(sim, "completion", "%u: submission %zu is completed twice, "
                 "or is not its own", host->id, GPOINTER_TO_SIZE(token));
        return;
    }
    mine->state = fate == APUS_FATE_COMMITTED ? SIM_SUBMISSION_COMMITTED
                                              : SIM_SUBMISSION_UNKNOWN;
    if (mine->kind == APUS_ENTRY_ROLE) {
        sim_lead_role_done(host, GPOINTER_TO_SIZE(token),
                           fate == APUS_FATE_COMMITTED);
    }
    if (fate != APUS_FATE_COMMITTED) {
        return;
    }
    if (index > apus_log_last_index(host->core->log) ||
        index <= apus_log_base(host->core->log)->index) {
        sim_fail(sim, "completion", "%u: submission %zu is said to be at %"
                 PRIu64 ", which is not in its log", host->id,
                 GPOINTER_TO_SIZE(token), index);
        return;
    }
    mine->index = index;
    sim_check_learn(host, index);
    apus_log_get(host->core->log, index, &entry);
    if (sim_hash(entry.kind, entry.payload, entry.length) != mine->hash) {
        sim_fail(sim, "completion", "%u: submission %zu is not what is "
                 "committed at %" PRIu64, host->id, GPOINTER_TO_SIZE(token),
                 index);
    }
}

static void lost_leadership(SimHost *host)
{
    Sim *sim = host->sim;

    memset(&host->user, 0, sizeof(host->user));
    if (sim_chance(&sim->random, sim->plan.restart_deposed) && !sim->quiet) {
        sim_push_for(host, sim->now + sim_magnitude(&sim->random, SIM_MS,
                                                    300 * SIM_MS),
                     SIM_EVENT_USER, 0, DEPOSED, 0);
    }
}

void sim_user_changed(void *opaque)
{
    SimHost *host = opaque;
    Sim *sim = host->sim;
    const ApusCore *core = host->core;
    SimVm *vm = &host->vm;

    if (!core) {
        return;
    }
    if (core->state != APUS_STATE_ELECTED &&
        core->state != APUS_STATE_LEADER) {
        if (vm->hold_term) {
            lost_leadership(host);
            sim_lead_reset(host, FALSE);
        }
        vm->hold = FALSE;
        vm->hold_term = 0;
        sim_stage_look(host);
        return;
    }
    if (vm->hold_term != core->term) {
        if (vm->hold_term) {
            memset(&host->user, 0, sizeof(host->user));
        }
        sim_lead_reset(host, FALSE);
        vm->hold = TRUE;
        vm->hold_term = core->term;
    }
    if (core->state == APUS_STATE_LEADER && vm->hold) {
        sim_push_for(host, sim->now + sim_between(&sim->random, SIM_US,
                                                  5 * SIM_MS),
                     SIM_EVENT_RESUME, 0, 0, core->term);
    }
}

/* Its ROLE is committed: now it may go to work (R3). */
static void settle(SimHost *host)
{
    if (host->core->state != APUS_STATE_LEADER) {
        return;
    }
    host->vm.hold = FALSE;
    sim_stage_take_over(host);
    sim_lead_reset(host, TRUE);
    sim_guest_check(host, "takes over");
    sim_world_check(host, "takes over");
}

void sim_user_go_on(SimHost *host)
{
    if (host->vm.barrier) {
        sim_push_for(host, host->sim->now, SIM_EVENT_RESUME, 0,
                     host->vm.delivered, 0);
    }
}

static void resume(SimHost *host, const SimEvent *event)
{
    SimVm *vm = &host->vm;

    if (event->arg2 ? !vm->hold || vm->hold_term != event->arg2
                    : !vm->barrier || vm->delivered != event->arg ||
                      host->replica.full ||
                      (vm->hold && host->core->state == APUS_STATE_LEADER)) {
        return;
    }
    if (event->arg2) {
        settle(host);
        apus_core_settled(host->core, sim_clock(host));
    }
    vm->barrier = FALSE;
    sim_trace(host->sim, "%u goes on", host->id);
    apus_core_resume(host->core, sim_clock(host));
}

/* --- submissions -------------------------------------------------------- */

static uint64_t submit(SimHost *host, ApusEntryKind kind,
                       const uint8_t *payload, uint32_t length)
{
    Sim *sim = host->sim;
    uint64_t number = sim->submissions->len;
    g_autoptr(GError) error = NULL;
    SimSubmission new = {
        .host = host->id,
        .life = host->lives,
        .kind = kind,
        .hash = sim_hash(kind, payload, length),
        .at = sim->now,
    };

    g_array_append_val(sim->submissions, new);
    if (apus_core_submit(host->core, kind, payload, length,
                         GSIZE_TO_POINTER(number), sim_clock(host), &error)) {
        sim_trace(sim, "%u submits %s as number %" PRIu64, host->id,
                  kind == APUS_ENTRY_INPUT ? "INPUT"
                  : kind == APUS_ENTRY_SYNC ? "SYNC" : "ROLE", number);
        return number;
    }
    g_array_set_size(sim->submissions, number);
    sim_trace(sim, "%u may not submit: %s", host->id, error->message);
    if (g_error_matches(error, APUS_ERROR, APUS_ERROR_CORRUPT) ||
        g_error_matches(error, APUS_ERROR, APUS_ERROR_TOO_LONG)) {
        sim_fail(sim, "submission", "%u: %s", host->id, error->message);
    }
    return 0;
}

uint64_t sim_user_submit_input(SimHost *host)
{
    Sim *sim = host->sim;
    uint8_t payload[256];
    uint64_t number = sim->submissions->len;
    uint32_t length = sim_between(&sim->random, 8, sim->plan.payload_max);

    memset(payload, number, sizeof(payload));
    memcpy(payload, &number, sizeof(number));
    number = submit(host, APUS_ENTRY_INPUT, payload, length);
    if (number) {
        sim_trigger(sim, SIM_TRIGGER_SUBMIT, host->id, SIM_NOBODY_YET);
    }
    return number;
}

uint64_t sim_user_submit_sync(SimHost *host, uint64_t epoch, uint64_t base)
{
    g_autoptr(GByteArray) payload = g_byte_array_new();
    uint64_t number;
    ApusSync sync = {
        .epoch = { .term = host->core->term, .number = epoch },
        .base = { .term = base ? host->core->term : 0, .number = base },
    };

    apus_sync_append(payload, &sync);
    number = submit(host, APUS_ENTRY_SYNC, payload->data, payload->len);
    if (number) {
        host->sim->count.syncs++;
        sim_trigger(host->sim, SIM_TRIGGER_SYNC, host->id,
                    host->replica.lead.peer);
    }
    return number;
}

uint64_t sim_user_submit_role(SimHost *host, ApusId secondary,
                              uint64_t incarnation)
{
    g_autoptr(GByteArray) payload = g_byte_array_new();
    ApusRole role = {
        .leader = host->id,
        .leader_incarnation = host->incarnation,
        .secondary = secondary,
        .secondary_incarnation = incarnation,
        .stopped = host->user.stop,
    };
    uint64_t number;

    apus_role_append(payload, &role);
    number = submit(host, APUS_ENTRY_ROLE, payload->data, payload->len);
    if (number) {
        submission(host->sim, number)->secondary = secondary != APUS_NOBODY;
        sim_trigger(host->sim, secondary ? SIM_TRIGGER_PROTECT
                                         : SIM_TRIGGER_UNPROTECT,
                    host->id, secondary);
    }
    return number;
}

/* --- members ------------------------------------------------------------ */

void sim_user_remove(SimHost *leader, ApusId old)
{
    g_autoptr(GError) error = NULL;
    gboolean done;

    done = apus_core_replace(leader->core, old, NULL, sim_clock(leader),
                             &error);
    sim_trace(leader->sim, "%u %s remove %u", leader->id,
              done ? "is to" : "may not", old);
    sim_host_done(leader);
}

void sim_user_replace(SimHost *leader, ApusId old, gboolean can_run)
{
    Sim *sim = leader->sim;
    ApusMembers members = *(&apus_log_newest(leader->core->log)->members);
    g_autoptr(GError) error = NULL;
    ApusMember member;
    SimHost *new;

    if (sim->hosts + 1 >= SIM_HOSTS || members.count >= APUS_MAX_MEMBERS) {
        return;
    }
    new = &sim->host[++sim->hosts];
    new->can_run = can_run;
    sim_member(sim, new->id, &member);
    if (!apus_core_replace(leader->core, old, &member, sim_clock(leader),
                           &error)) {
        sim_trace(sim, "%u may not replace %u: %s", leader->id, old,
                  error->message);
        sim->hosts--;
        return;
    }
    sim_trace(sim, "%u replaces %u by %u", leader->id, old, new->id);
    members.member[members.count++] = member;
    sim_host_found(new, &members, TRUE);
    sim_host_start(new);
    sim_host_done(leader);
}

/* Who was a member is switched off some time later. */
static void dismiss(SimHost *leader, const ApusStatus *status)
{
    Sim *sim = leader->sim;

    if (status->changing) {
        return;
    }
    for (ApusId id = 1; id <= sim->hosts; id++) {
        SimHost *host = &sim->host[id];

        if (!host->gone && !host->frozen &&
            apus_members_find(&status->members, id) < 0 &&
            sim_chance(&sim->random, 50)) {
            sim_trace(sim, "%u is switched off for good", id);
            host->gone = TRUE;
            sim_host_kill(host);
        }
    }
}

/* The operator replaces a member whose disk is lost. */
static void replace_lost(SimHost *leader, const ApusStatus *status)
{
    Sim *sim = leader->sim;
    ApusId old = sim->replace_old;

    if (old == APUS_NOBODY || status->changing) {
        return;
    }
    if (apus_members_find(&status->members, old) < 0) {
        sim->replace_old = APUS_NOBODY;
    } else if (status->role.secondary != old && status->role.leader != old) {
        sim->replace_old = APUS_NOBODY;
        sim_user_replace(leader, old, sim->host[old].can_run);
    }
}

/* --- turns -------------------------------------------------------------- */

static void lead(SimHost *host)
{
    Sim *sim = host->sim;
    ApusStatus status;

    apus_core_status(host->core, &status, sim_clock(host));
    if (!status.accepts) {
        return;
    }
    if (!host->replica.lead.session && !sim->quiet &&
        sim_chance(&sim->random, sim->plan.sync_chance / 4)) {
        /* For nobody; whoever delivers it has to go on by itself. */
        sim_user_submit_sync(host, ++sim->epochs, 0);
    } else if (status.room > sim->plan.ring / 2) {
        sim_user_submit_input(host);
    }
    sim_lead_turn(host, &status);
    replace_lost(host, &status);
    dismiss(host, &status);
}

static void turn(SimHost *host)
{
    Sim *sim = host->sim;
    uint64_t every = sim->plan.submit_every;

    if (!host->stuck) {
        host->turned = sim->now;
        apus_core_alive(host->core, sim_clock(host));
    }
    sim_stage_turn(host);
    if (host->core->state == APUS_STATE_LEADER) {
        lead(host);
    } else if (sim_chance(&sim->random, 100)) {
        /* It does not know better, and is refused. */
        sim_user_submit_input(host);
    }
    sim_push_for(host, sim->now + sim_between(&sim->random, every / 2,
                                              every * 3 / 2),
                 SIM_EVENT_USER, 0, TURN, 0);
}

void sim_user_start_anew(SimHost *host)
{
    sim_push_for(host, host->sim->now + SIM_US, SIM_EVENT_USER, 0, DEPOSED, 1);
}

void sim_user_start(SimHost *host)
{
    host->turned = host->sim->now;
    sim_push_for(host, host->sim->now + SIM_MS, SIM_EVENT_USER, 0, TURN, 0);
}

void sim_user_event(SimHost *host, const SimEvent *event)
{
    Sim *sim = host->sim;

    switch (event->type) {
    case SIM_EVENT_RESUME:
        resume(host, event);
        break;
    default:
        if (event->arg == TURN) {
            turn(host);
        } else if (host->core->state == APUS_STATE_FOLLOWER &&
                   (!sim->quiet || event->arg2) && sim_hopeful(sim, host->id)) {
            sim_trace(sim, "%u starts anew", host->id);
            sim_host_kill(host);
            sim_host_restart(host, sim_magnitude(&sim->random, SIM_MS,
                                                 100 * SIM_MS));
        }
    }
}

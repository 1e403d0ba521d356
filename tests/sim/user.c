/*
 * The VM and what runs on top of the core
 *
 * A VM is what was delivered to it. The leader's user submits numbered INPUTs
 * and SYNCs, lets a secondary go that seems dead, and gives its state to
 * another one, which is then named.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <inttypes.h>
#include <string.h>

#include "colo-net/apus/core/payload.h"
#include "sim.h"

#define PROTECT_TIME (500 * SIM_MS)

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
        pause_for(host, entry->index);
        return APUS_DELIVER_GO_ON;
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
        host->user.letting_go = FALSE;
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
        }
        vm->hold = FALSE;
        vm->hold_term = 0;
        return;
    }
    if (vm->hold_term != core->term) {
        if (vm->hold_term) {
            memset(&host->user, 0, sizeof(host->user));
        }
        vm->hold = TRUE;
        vm->hold_term = core->term;
    }
    if (core->state == APUS_STATE_LEADER && vm->hold) {
        sim_push_for(host, sim->now + sim_between(&sim->random, SIM_US,
                                                  5 * SIM_MS),
                     SIM_EVENT_RESUME, 0, 0, core->term);
    }
}

static void resume(SimHost *host, const SimEvent *event)
{
    SimVm *vm = &host->vm;

    if (event->arg2 ? !vm->hold || vm->hold_term != event->arg2
                    : !vm->barrier || vm->delivered != event->arg) {
        return;
    }
    if (host->core->state == APUS_STATE_LEADER) {
        vm->hold = FALSE;
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

static void submit_sync(SimHost *host, const ApusStatus *status)
{
    g_autoptr(GByteArray) payload = g_byte_array_new();
    ApusSync sync = {
        .epoch = { .term = status->term, .number = ++host->sim->epochs },
    };

    sync.base = (ApusEpoch) { 0 };
    apus_sync_append(payload, &sync);
    if (submit(host, APUS_ENTRY_SYNC, payload->data, payload->len)) {
        host->sim->count.syncs++;
        sim_trigger(host->sim, SIM_TRIGGER_SYNC, host->id,
                    status->role.secondary);
    }
}

static uint64_t submit_role(SimHost *host, ApusId secondary,
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

/* --- protection --------------------------------------------------------- */

static const ApusPeerStatus *find_peer(const ApusStatus *status, ApusId id)
{
    for (unsigned i = 0; i < status->peers; i++) {
        if (status->peer[i].id == id) {
            return &status->peer[i];
        }
    }
    return NULL;
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

static void stop_protecting(SimHost *leader)
{
    leader->user.protect = SIM_PROTECT_IDLE;
    apus_core_pin(leader->core, 0);
}

static void begin_copy(SimHost *leader, const ApusStatus *status)
{
    Sim *sim = leader->sim;
    SimUser *user = &leader->user;
    unsigned first = sim_below(&sim->random, APUS_MAX_MEMBERS);

    if (leader->vm.delivered == 0 || status->role.secondary ||
        leader->user.stop || status->role.stopped ||
        !sim_chance(&sim->random, sim->plan.protect_chance)) {
        return;
    }
    for (unsigned i = 0; i < status->peers; i++) {
        const ApusPeerStatus *peer =
            &status->peer[(first + i) % status->peers];

        if (apus_members_find(&status->members, peer->id) >= 0 &&
            can_be_named(leader, peer)) {
            user->protect = SIM_PROTECT_COPYING;
            user->target = peer->id;
            user->target_incarnation = peer->incarnation;
            user->copied = leader->vm.delivered;
            user->protect_until = sim->now + PROTECT_TIME;
            apus_core_pin(leader->core, user->copied);
            sim_push_for(leader, sim->now + sim_between(&sim->random, SIM_MS,
                                                        sim->plan.copy_max),
                         SIM_EVENT_COPIED, peer->id, 0, 0);
            return;
        }
    }
}

/* The target takes over the state: all that the leader's VM was given. */
static void copied(SimHost *leader, const SimEvent *event)
{
    Sim *sim = leader->sim;
    SimUser *user = &leader->user;
    SimHost *target = &sim->host[event->peer];
    g_autoptr(GError) error = NULL;

    if (user->protect != SIM_PROTECT_COPYING ||
        user->target != event->peer || !target->core || target->frozen ||
        target->incarnation != user->target_incarnation ||
        target->core->state == APUS_STATE_ELECTED ||
        target->core->state == APUS_STATE_LEADER ||
        sim->link[leader->id][target->id].cut) {
        return;
    }
    if (!apus_core_deliver_from(target->core, user->copied,
                                sim_clock(target), &error)) {
        sim_trace(sim, "%u cannot go on from a copy: %s", target->id,
                  error->message);
        if (sim->now < user->protect_until) {
            sim_push_for(leader, sim->now + 3 * SIM_MS, SIM_EVENT_COPIED,
                         target->id, 0, 0);
        }
        return;
    }
    sim_trace(sim, "%u has a copy of the VM as of %" PRIu64, target->id,
              user->copied);
    target->vm = (SimVm) { .runs = TRUE, .delivered = user->copied };
    sim->count.copies++;
    sim_host_done(target);
    user->protect = SIM_PROTECT_COPIED;
    sim_trigger(sim, SIM_TRIGGER_COPY, leader->id, target->id);
}

static void go_on_protecting(SimHost *leader, const ApusStatus *status)
{
    SimUser *user = &leader->user;
    const ApusPeerStatus *peer = find_peer(status, user->target);

    if (user->protect == SIM_PROTECT_IDLE) {
        begin_copy(leader, status);
    } else if (status->role.secondary == user->target) {
        leader->sim->count.protected++;
        stop_protecting(leader);
    } else if (leader->sim->now > user->protect_until || !peer ||
               !peer->connected ||
               peer->incarnation != user->target_incarnation) {
        /* A ROLE that is under way may still be committed. */
        if (user->protect != SIM_PROTECT_NAMED) {
            stop_protecting(leader);
        }
    } else if (user->protect == SIM_PROTECT_COPIED && !user->stop &&
               peer->delivered >= user->copied &&
               submit_role(leader, user->target, user->target_incarnation)) {
        user->protect = SIM_PROTECT_NAMED;
    }
}

static void watch_secondary(SimHost *leader, const ApusStatus *status)
{
    SimUser *user = &leader->user;
    const ApusPeerStatus *peer = find_peer(status, status->role.secondary);

    if (user->letting_go || status->role.stopped ||
        (status->role.secondary == APUS_NOBODY && !user->stop)) {
        user->let_go &= user->letting_go;
        return;
    }
    if (user->let_go || user->stop || !peer || peer->suspected ||
        (peer->connected &&
         peer->incarnation != status->role.secondary_incarnation)) {
        if (submit_role(leader, APUS_NOBODY, 0)) {
            user->letting_go = TRUE;
            user->let_go = FALSE;
        }
    }
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
    if (!sim->quiet && sim_chance(&sim->random, sim->plan.sync_chance)) {
        submit_sync(host, &status);
    } else {
        sim_user_submit_input(host);
    }
    watch_secondary(host, &status);
    if (!sim->quiet || host->user.protect != SIM_PROTECT_IDLE) {
        go_on_protecting(host, &status);
    }
    replace_lost(host, &status);
    dismiss(host, &status);
}

static void turn(SimHost *host)
{
    Sim *sim = host->sim;
    uint64_t every = sim->plan.submit_every;

    if (!host->stuck) {
        apus_core_alive(host->core, sim_clock(host));
    }
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

void sim_user_start(SimHost *host)
{
    sim_push_for(host, host->sim->now + SIM_MS, SIM_EVENT_USER, 0, TURN, 0);
}

void sim_user_event(SimHost *host, const SimEvent *event)
{
    Sim *sim = host->sim;

    switch (event->type) {
    case SIM_EVENT_RESUME:
        resume(host, event);
        break;
    case SIM_EVENT_COPIED:
        copied(host, event);
        break;
    default:
        if (event->arg == TURN) {
            turn(host);
        } else if (host->core->state == APUS_STATE_FOLLOWER && !sim->quiet &&
                   sim_hopeful(sim, host->id)) {
            sim_trace(sim, "%u has led and starts anew", host->id);
            sim_host_kill(host);
            sim_host_restart(host, sim_magnitude(&sim->random, SIM_MS,
                                                 100 * SIM_MS));
        }
    }
}

/*
 * Hosts, processes and clocks; the loop
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "sim.h"

/* A schedule with more is one whose members never come to rest. */
#define MAX_EVENTS 400000

static const ApusCoreOps ops_of_disk;
static const ApusCoreOps ops_of_memory;

Sim *sim_new(void)
{
    Sim *sim = g_new0(Sim, 1);

    sim->packets = g_array_new(FALSE, TRUE, sizeof(SimPacket));
    sim->free_packets = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    sim->committed = g_array_new(FALSE, TRUE, sizeof(SimCommitted));
    sim->roles = g_array_new(FALSE, TRUE, sizeof(SimRole));
    sim->submissions = g_array_new(FALSE, TRUE, sizeof(SimSubmission));
    sim->leaders = g_array_new(FALSE, TRUE, sizeof(uint64_t));
    sim_world_new(sim);
    for (unsigned i = 1; i < SIM_HOSTS; i++) {
        SimHost *host = &sim->host[i];

        host->backlog = g_array_new(FALSE, FALSE, sizeof(SimEvent));
        host->disk.entry = g_new0(SimStored, SIM_DISK_ENTRIES);
    }
    return sim;
}

void sim_free(Sim *sim)
{
    for (unsigned i = 1; i < SIM_HOSTS; i++) {
        SimHost *host = &sim->host[i];

        apus_core_free(host->core);
        g_array_unref(host->backlog);
        g_free(host->disk.entry);
        for (unsigned j = 0; j < host->disk.room; j++) {
            g_byte_array_unref(host->disk.order[j].records);
        }
        g_free(host->disk.order);
    }
    for (unsigned i = 0; i < SIM_HOSTS * SIM_HOSTS; i++) {
        sim_way_free(&sim->way[0][0] + i);
    }
    for (unsigned i = 0; i < sim->packets->len; i++) {
        g_byte_array_unref(g_array_index(sim->packets, SimPacket, i).bytes);
    }
    g_array_unref(sim->packets);
    g_array_unref(sim->free_packets);
    g_array_unref(sim->committed);
    g_array_unref(sim->roles);
    g_array_unref(sim->submissions);
    g_array_unref(sim->leaders);
    sim_world_free(sim);
    g_free(sim->queue.event);
    g_free(sim);
}

void sim_say(Sim *sim, const char *format, ...)
{
    va_list args;

    fprintf(sim->trace, "%11.3f ", sim->now / 1e6);
    va_start(args, format);
    vfprintf(sim->trace, format, args);
    va_end(args);
    fputc('\n', sim->trace);
}

void sim_fail(Sim *sim, const char *rule, const char *format, ...)
{
    va_list args;

    if (sim->failed) {
        return;
    }
    sim->failed = TRUE;
    g_strlcpy(sim->rule, rule, sizeof(sim->rule));
    va_start(args, format);
    g_vsnprintf(sim->what, sizeof(sim->what), format, args);
    va_end(args);
    sim_trace(sim, "VIOLATION of %s: %s", sim->rule, sim->what);
}

/* --- time --------------------------------------------------------------- */

void sim_push(Sim *sim, uint64_t at, SimEventType type, ApusId host,
              ApusId peer, uint64_t arg, uint64_t arg2)
{
    SimEvent event = {
        .at = at,
        .type = type,
        .host = host,
        .peer = peer,
        .arg = arg,
        .arg2 = arg2,
        .life = sim->host[host].lives,
    };

    sim_queue_push(&sim->queue, &event);
}

void sim_push_for(SimHost *host, uint64_t at, SimEventType type, ApusId peer,
                  uint64_t arg, uint64_t arg2)
{
    sim_push(host->sim, at, type, host->id, peer, arg, arg2);
}

uint64_t sim_clock(const SimHost *host)
{
    int64_t passed = host->sim->now - host->boot;

    return host->clock + passed + passed / 1000 * host->drift / 1000;
}

uint64_t sim_when(const SimHost *host, uint64_t clock)
{
    int64_t wait = clock - sim_clock(host);

    if (wait <= 0) {
        return host->sim->now;
    }
    /* Not too early, and late by little. */
    return host->sim->now + wait - wait / 1000 * host->drift / 1000 +
           (wait / 1000000 + 2) * 3;
}

/* --- processes ---------------------------------------------------------- */

void sim_member(const Sim *sim, ApusId id, ApusMember *member)
{
    *member = (ApusMember) { .id = id, .can_run = sim->host[id].can_run };
    g_snprintf(member->address, sizeof(member->address), "h%u:1", id);
}

void sim_host_found(SimHost *host, const ApusMembers *members, gboolean joins)
{
    ApusHardState state;

    apus_core_found(&state, members, 1, joins);
    sim_disk_found(host, &state);
    host->exists = TRUE;
    host->image = (SimImage) { .id = sim_random(&host->sim->random) | 1 };
}

/*
 * A process that the founding role lets lead boots the VM; others wait for a
 * copy of it.
 */
static gboolean boots(const SimHost *host, const ApusHardState *state)
{
    return host->can_run && !state->amnesiac && state->newest.role.leader ==
           host->id && state->newest.role.leader_incarnation == 0 &&
           host->disk.last < host->disk.first;
}

static void forget_process(SimHost *host)
{
    memset(&host->vm, 0, sizeof(host->vm));
    memset(&host->user, 0, sizeof(host->user));
    memset(&host->replica, 0, sizeof(host->replica));
    memset(&host->peers, 0, sizeof(host->peers));
    memset(host->connection, 0, sizeof(host->connection));
    memset(&host->grant, 0, sizeof(host->grant));
    g_array_set_size(host->backlog, 0);
    host->clogged = 0;
    host->tick_at = 0;
    host->flush_due = FALSE;
    host->state = APUS_STATE_FOLLOWER;
    host->hopeless = 0;
}

static void power_on(SimHost *host)
{
    Sim *sim = host->sim;
    int range = sim->plan.drift_max;

    host->powered = TRUE;
    host->boot = sim->now;
    host->clock = sim_magnitude(&sim->random, SIM_MS, 1000000 * SIM_S);
    host->drift = (int)sim_below(&sim->random, 2 * range + 1) - range;
}

void sim_host_start(SimHost *host)
{
    Sim *sim = host->sim;
    const SimPlan *plan = &sim->plan;
    ApusCoreConfig config = { 0 };
    g_autoptr(GError) error = NULL;
    ApusHardState state;
    gboolean disk = plan->durability == APUS_DURABILITY_DISK;

    g_assert(!host->core && host->exists);
    host->restarting = FALSE;
    if (!host->powered) {
        power_on(host);
    }
    forget_process(host);
    host->lives++;
    host->random.state = plan->seed * 1000 + host->id * 100 + host->lives;
    host->life = sim_random(&host->random) | 1;
    host->incarnation = sim_random(&host->random) | 1;
    host->started = sim->now;
    host->listens = TRUE;
    sim_disk_open(host, &state);
    host->delivers = boots(host, &state);
    host->vm.runs = host->delivers;
    if (host->delivers) {
        sim_guest_boot(host);
    }

    apus_core_defaults(&config);
    config.id = host->id;
    config.life = host->life;
    config.incarnation = host->incarnation;
    config.can_run = host->can_run;
    config.delivers = host->delivers;
    config.durability = plan->durability;
    config.log_size = plan->ring;
    config.window = plan->window;
    config.heartbeat = plan->heartbeat;
    config.timeout = plan->timeout;
    config.lease = plan->lease;
    config.lease_strict = plan->lease_strict;
    config.submit_timeout = plan->submit_timeout;
    config.alive_timeout = plan->alive_timeout;
    sim_trace(sim, "%u starts, life %u%s%s", host->id, host->lives,
              state.amnesiac ? ", amnesiac" : "",
              host->delivers ? ", boots the VM" : "");
    host->core = apus_core_new(&config, disk ? &ops_of_disk : &ops_of_memory,
                               host, &state);
    if (disk && !sim_disk_replay(host, &error)) {
        sim_fail(sim, "replay", "%u: %s", host->id, error->message);
        return;
    }
    sim_check_started(host);
    apus_core_start(host->core, sim_clock(host));
    sim_net_started(host);
    sim_user_start(host);
    sim_host_done(host);
    sim_trigger(sim, SIM_TRIGGER_START, host->id, SIM_NOBODY_YET);
}

void sim_host_restart(SimHost *host, uint64_t after)
{
    if (!host->restarting && host->exists && !host->gone) {
        host->restarting = TRUE;
        sim_push(host->sim, host->sim->now + after, SIM_EVENT_RESTART,
                 host->id, 0, 0, 0);
    }
}

void sim_host_kill(SimHost *host)
{
    if (!host->core) {
        return;
    }
    host->listens = FALSE;
    apus_core_free(host->core);
    host->core = NULL;
    for (unsigned i = 0; i < host->backlog->len; i++) {
        sim_net_forget(host->sim,
                       &g_array_index(host->backlog, SimEvent, i));
    }
    sim_net_died(host, host->powered);
    sim_session_died(host, host->powered);
    sim_disk_stop(host);
    forget_process(host);
    host->lives++;
}

SimHost *sim_leader(Sim *sim)
{
    SimHost *leader = NULL;

    for (unsigned i = 1; i <= sim->hosts; i++) {
        SimHost *host = &sim->host[i];

        if (host->core && (host->state == APUS_STATE_ELECTED ||
                           host->state == APUS_STATE_LEADER) &&
            (!leader || host->term > leader->term)) {
            leader = host;
        }
    }
    return leader;
}

/* --- events ------------------------------------------------------------- */

static void schedule_tick(SimHost *host)
{
    uint64_t deadline = apus_core_deadline(host->core);
    uint64_t at;

    if (deadline == UINT64_MAX) {
        return;
    }
    at = MAX(sim_when(host, deadline), host->sim->now + SIM_US);
    if (!host->tick_at || at < host->tick_at) {
        host->tick_at = at;
        sim_push_for(host, at, SIM_EVENT_TICK, 0, ++host->tick_version, 0);
    }
}

void sim_host_done(SimHost *host)
{
    Sim *sim = host->sim;

    if (!host->core || sim->failed) {
        return;
    }
    if (!sim_chance(&sim->random, sim->plan.late_flush)) {
        apus_core_flush(host->core, sim_clock(host));
    } else if (!host->flush_due) {
        host->flush_due = TRUE;
        sim_push_for(host, sim->now + sim_between(&sim->random, SIM_US,
                                                  SIM_MS),
                     SIM_EVENT_FLUSH, 0, 0, 0);
    }
    schedule_tick(host);
    sim_check_step(host);
    if (!sim->failed) {
        sim_guard_run(host);
    }
}

static void handle(SimHost *host, const SimEvent *event)
{
    uint64_t now = sim_clock(host);

    switch (event->type) {
    case SIM_EVENT_TICK:
        if (event->arg == host->tick_version) {
            host->tick_at = 0;
            if (apus_core_deadline(host->core) <= now) {
                apus_core_tick(host->core, now);
            }
        }
        break;
    case SIM_EVENT_FLUSH:
        host->flush_due = FALSE;
        apus_core_flush(host->core, now);
        break;
    case SIM_EVENT_STORED:
        apus_core_stored(host->core, event->arg, now);
        break;
    case SIM_EVENT_FAILED:
        apus_core_failed(host->core, now);
        break;
    case SIM_EVENT_MESSAGE:
        sim_net_arrive(host, event);
        break;
    case SIM_EVENT_LOOK:
        sim_way_look(host, event->peer);
        break;
    case SIM_EVENT_GUEST:
        sim_guest_step(host);
        break;
    case SIM_EVENT_LEAD:
        sim_lead_event(host, event);
        break;
    case SIM_EVENT_STAGE:
        sim_stage_event(host, event);
        break;
    case SIM_EVENT_CLOSED:
        sim_lead_closed(host, event->arg);
        sim_stage_closed(host, event->arg);
        break;
    case SIM_EVENT_WIRE:
        sim_wire_arrive(host, event);
        break;
    case SIM_EVENT_CONNECTED:
    case SIM_EVENT_DISCONNECTED:
    case SIM_EVENT_REFUSED:
        sim_net_process_event(host, event);
        break;
    default:
        sim_user_event(host, event);
        break;
    }
}

static void process_event(Sim *sim, SimEvent *event)
{
    SimHost *host = &sim->host[event->host];

    if (!host->core ||
        (event->type != SIM_EVENT_MESSAGE && event->life != host->lives)) {
        sim_net_forget(sim, event);
    } else if (host->frozen) {
        g_array_append_val(host->backlog, *event);
    } else if (host->slow && !event->deferred) {
        event->deferred = 1;
        event->at = sim->now + host->slow;
        sim_queue_push(&sim->queue, event);
    } else {
        handle(host, event);
        sim_host_done(host);
    }
}

/* All that had to wait happens at once. */
void sim_host_thaw(SimHost *host)
{
    g_autoptr(GArray) backlog = host->backlog;
    uint32_t life = host->lives;

    host->backlog = g_array_new(FALSE, FALSE, sizeof(SimEvent));
    host->turned = host->sim->now; /* what was frozen is not stuck */
    for (unsigned i = 0; i < backlog->len; i++) {
        SimEvent *event = &g_array_index(backlog, SimEvent, i);

        if (host->core && host->lives == life && !host->sim->failed) {
            handle(host, event);
            sim_check_step(host);
            sim_guard_run(host);
        } else {
            sim_net_forget(host->sim, event);
        }
    }
    sim_host_done(host);
}

static void world_event(Sim *sim, const SimEvent *event)
{
    SimHost *host = &sim->host[event->host];

    switch (event->type) {
    case SIM_EVENT_DISK:
        if (event->life == host->lives) {
            sim_disk_event(host);
        }
        break;
    case SIM_EVENT_LAND:
        sim_way_land(sim, event);
        break;
    case SIM_EVENT_PROBE:
    case SIM_EVENT_CONNECT:
        sim_net_event(sim, event);
        break;
    case SIM_EVENT_RESTART:
        host->restarting = FALSE;
        if (!host->core && host->exists && !host->gone) {
            sim->count.restarts++;
            sim_host_start(host);
        }
        break;
    case SIM_EVENT_QUIET:
        sim_heal(sim);
        sim_liveness_start(sim);
        break;
    case SIM_EVENT_JUDGE:
        sim_liveness_judge(sim);
        break;
    default:
        sim_faults_event(sim, event);
        break;
    }
}

/* --- a schedule --------------------------------------------------------- */

static void reset_host(SimHost *host)
{
    SimHost kept = *host;
    SimDisk disk = {
        .entry = kept.disk.entry,
        .order = kept.disk.order,
        .room = kept.disk.room,
    };

    apus_core_free(host->core);
    memset(host, 0, sizeof(*host));
    host->backlog = kept.backlog;
    host->disk = disk;
    g_array_set_size(host->backlog, 0);
}

static void reset(Sim *sim)
{
    for (unsigned i = 1; i < SIM_HOSTS; i++) {
        reset_host(&sim->host[i]);
        sim->host[i].sim = sim;
        sim->host[i].id = i;
    }
    sim->queue.count = 0;
    sim->queue.order = 0;
    memset(sim->pair, 0, sizeof(sim->pair));
    memset(sim->link, 0, sizeof(sim->link));
    memset(sim->fault, 0, sizeof(sim->fault));
    memset(sim->armed, 0, sizeof(sim->armed));
    memset(&sim->count, 0, sizeof(sim->count));
    g_array_set_size(sim->free_packets, 0);
    for (uint32_t i = 0; i < sim->packets->len; i++) {
        g_array_append_val(sim->free_packets, i);
    }
    g_array_set_size(sim->submissions, 1);
    g_array_set_size(sim->leaders, 0);
    sim->now = SIM_MS;
    sim->hosts = 0;
    sim->noise = 0;
    sim->replace_old = APUS_NOBODY;
    sim->epochs = 0;
    sim->last_leader = APUS_NOBODY;
    sim->judged_number = 0;
    sim->quiet = sim->ended = sim->failed = FALSE;
}

static void found_group(Sim *sim)
{
    ApusMembers members = { .count = sim->plan.members };

    sim->hosts = sim->plan.members;
    for (unsigned i = 1; i <= sim->hosts; i++) {
        sim->host[i].can_run = i <= sim->plan.capable;
        sim_member(sim, i, &members.member[i - 1]);
    }
    for (unsigned i = 1; i <= sim->hosts; i++) {
        sim_host_found(&sim->host[i], &members, FALSE);
        sim_host_restart(&sim->host[i],
                         sim_below(&sim->random, 30 * SIM_MS));
    }
}

gboolean sim_run(Sim *sim, const SimOptions *options)
{
    SimEvent event;

    sim_plan_make(&sim->plan, options->seed, options->members,
                  options->dropped, options->plain);
    sim->random.state = options->seed * 77 + options->members;
    sim->trace = options->trace;
    sim->consequences = options->consequences;
    sim->one_sided = options->one_sided;
    sim->max_events = options->steps ? options->steps : MAX_EVENTS;
    reset(sim);
    sim_check_start(sim);
    sim_world_start(sim);
    found_group(sim);
    sim_faults_start(sim);
    sim_push(sim, sim->plan.quiet_at, SIM_EVENT_QUIET, 0, 0, 0, 0);

    while (!sim->failed && !sim->ended &&
           sim_queue_pop(&sim->queue, &event)) {
        sim->now = event.at;
        if (event.type < SIM_EVENT_DISK) {
            process_event(sim, &event);
        } else {
            world_event(sim, &event);
        }
        if (++sim->count.events >= sim->max_events) {
            if (!options->steps) {
                sim_fail(sim, "rest", "%u events and no end", MAX_EVENTS);
            }
            break;
        }
    }
    sim->count.committed = sim_last_committed(sim);
    return !sim->failed;
}

static uint32_t random32(void *opaque)
{
    SimHost *host = opaque;

    return sim_random(&host->random);
}

#define COMMON_OPS \
    .send = sim_net_send, \
    .ready = sim_net_ready, \
    .fence = sim_net_fence, \
    .save = sim_disk_save, \
    .trim = sim_disk_trim, \
    .deliver = sim_user_deliver, \
    .skipped = sim_user_skipped, \
    .completed = sim_user_completed, \
    .changed = sim_user_changed, \
    .peers = sim_net_peers, \
    .told = sim_guard_told, \
    .term_rises = sim_stage_term_rises, \
    .random = random32

static const ApusCoreOps ops_of_disk = {
    COMMON_OPS,
    .append = sim_disk_append,
};

static const ApusCoreOps ops_of_memory = {
    COMMON_OPS,
};

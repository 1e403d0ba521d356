/*
 * A member's life: founded, opened, run, stopped
 *
 * A stop, when all goes well:
 *
 *   - nothing is accepted any more, and nothing is said (R9)
 *   - the core resigns; the RESIGN leaves at the end of that round
 *   - if somebody can take over, another's term is waited for: then they know
 *   - the listening socket is closed: who reconnects is refused
 *   - what was ordered is stored, and the directory given back
 *
 * Should nobody take over in time, or the disk not answer, the rest follows
 * all the same: half of the time is for the first, what is left for the other.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>
#include <time.h>

#include "apus-internal.h"

#define SEND_LIMIT (8u << 20) /* bytes kept for a peer that does not read */
#define STOP_TIMEOUT 1000000000ull /* of a member that is freed unstopped */

/* --- founding ------------------------------------------------------------ */

static ApusStorageConfig storage_config(const ApusConfig *config)
{
    return (ApusStorageConfig) {
        .directory = config->directory,
        .cluster = config->cluster,
        .id = config->id,
        .durability = config->durability,
        .files = config->files,
    };
}

static gboolean check_place(const ApusConfig *config,
                            const ApusMembers *members, gboolean required,
                            GError **errp)
{
    int at = apus_members_find(members, config->id);

    if (at < 0 && required) {
        g_set_error(errp, APUS_ERROR, APUS_ERROR_MEMBERS,
                    "member %u is not among the members that found the group",
                    config->id);
        return FALSE;
    }
    if (at >= 0 && config->can_run && !members->member[at].can_run) {
        g_set_error(errp, APUS_ERROR, APUS_ERROR_MEMBERS,
                    "member %u is to run the VM, but is listed as a witness",
                    config->id);
        return FALSE;
    }
    return TRUE;
}

gboolean apus_found(const ApusConfig *config, const ApusMembers *members,
                    ApusId leader, gboolean joins, GError **errp)
{
    ApusStorageConfig storage = storage_config(config);
    ApusRole role = { .leader = leader };
    ApusHardState state;

    if (!apus_config_check(config, NULL, errp) ||
        !apus_members_check(members, errp) ||
        !apus_addresses_check(members, errp) ||
        !check_place(config, members, !joins, errp) ||
        (!joins && !apus_role_check(&role, members, errp))) {
        return FALSE;
    }
    apus_core_found(&state, members, leader, joins);
    return apus_storage_found(&storage, &state, errp);
}

/* --- opening ------------------------------------------------------------- */

static gboolean replay(void *opaque, const ApusEntry *entry, GError **errp)
{
    Apus *apus = opaque;

    return apus_core_replay(apus->core, entry, errp);
}

static gboolean open_core(Apus *apus, const ApusHardState *state,
                          GError **errp)
{
    ApusCoreConfig config = { 0 };

    apus_core_defaults(&config);
    config.id = apus->config.id;
    config.life = apus->life;
    config.incarnation = apus->config.incarnation;
    config.can_run = apus->config.can_run;
    config.delivers = apus->config.delivers;
    config.durability = apus->config.durability;
    config.log_size = apus->config.log_size;
    config.heartbeat = apus->config.heartbeat;
    config.timeout = apus->config.timeout;
    config.lease = apus->config.lease;
    config.submit_timeout = apus->config.submit_timeout;
    config.alive_timeout = apus->config.alive_timeout;
    config.lease_strict = apus->config.lease_strict;
    config.window = MIN(config.window, config.log_size / 2);
    apus->core = apus_core_new(&config, &apus_core_ops, apus, state);
    return apus_storage_replay(apus->storage, replay, apus, errp);
}

static gboolean open_transport(Apus *apus, const ApusMembers *members,
                               GError **errp)
{
    int at = apus_members_find(members, apus->config.id);
    ApusTransportConfig config = {
        .cluster = apus->config.cluster,
        .id = apus->config.id,
        .life = apus->life,
        .incarnation = apus->config.incarnation,
        .ring_size = apus->config.log_size,
        .listen = apus->config.listen,
        .key = apus->config.key,
        .key_size = apus->config.key_size,
        .tls = apus->config.tls,
        .send_limit = SEND_LIMIT,
        .rdma_ring = apus->config.rdma_ring,
        .rdma_poll = apus->config.busy_poll,
        .rdma_ack_timeout = apus->config.rdma_ack_timeout,
    };
    gboolean rdma = apus->config.transport == APUS_TRANSPORT_RDMA;

    if (!config.listen && at < 0) {
        g_set_error(errp, APUS_ERROR, APUS_ERROR_CONFIG,
                    "member %u is not in the group's list of members yet: "
                    "say on which address it listens", apus->config.id);
        return FALSE;
    }
    if (!config.listen) {
        config.listen = members->member[at].address;
    }
    apus->transport = (rdma ? apus_rdma_new : apus_tcp_new)(
        &config, apus->loop, &apus_transport_handlers, apus, errp);
    return apus->transport != NULL;
}

/* Everything that can go wrong with a member's start goes wrong here. */
static gboolean open_member(Apus *apus, GError **errp)
{
    ApusStorageConfig storage = storage_config(&apus->config);
    ApusHardState state;

    apus->loop = apus_loop_new(errp);
    if (!apus->loop) {
        return FALSE;
    }
    if (apus->config.transport == APUS_TRANSPORT_TCP) {
        apus_loop_set_busy_poll(apus->loop, apus->config.busy_poll);
    }
    apus_loop_on_round(apus->loop, apus_round, apus);
    apus->timer = apus_loop_timer(apus->loop, apus_tick, apus);
    apus->storage = apus_storage_open(&storage, &state, apus->remarks, errp);
    return apus->storage &&
           check_place(&apus->config, &state.newest.members, FALSE, errp) &&
           open_core(apus, &state, errp) &&
           open_transport(apus, &state.newest.members, errp) &&
           apus_storage_start(apus->storage, apus->loop,
                              &apus_storage_handlers, apus, errp);
}

/* In the end: gives back the sockets and the directory. */
static void close_member(Apus *apus, uint64_t timeout)
{
    if (apus->transport) {
        apus->transport->ops->close(apus->transport);
        apus->transport->ops->free(apus->transport);
        apus->transport = NULL;
    }
    if (apus->storage) {
        apus_storage_close(apus->storage, timeout);
        apus->storage = NULL;
    }
}

/* Not GLib's: TSan does not see those. */
static void init_lock(Apus *apus)
{
    pthread_condattr_t attributes;

    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&apus->cond, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&apus->lock, NULL);
}

Apus *apus_new(const ApusConfig *config, const ApusHandlers *handlers,
               void *opaque, GError **errp)
{
    Apus *apus;

    if (!apus_config_check(config, handlers, errp)) {
        return NULL;
    }
    apus = g_new0(Apus, 1);
    apus_config_copy(&apus->config, config);
    apus->handlers = *handlers;
    apus->opaque = opaque;
    apus->life = apus_random();
    apus->remarks = g_ptr_array_new_with_free_func(g_free);
    g_queue_init(&apus->waiting);
    g_queue_init(&apus->asks);
    init_lock(apus);
    if (!open_member(apus, errp)) {
        apus_free(apus);
        return NULL;
    }
    return apus;
}

void apus_free(Apus *apus)
{
    if (!apus) {
        return;
    }
    apus_stop(apus, STOP_TIMEOUT);
    apus_tell_close(apus);
    if (apus->thread) {
        g_thread_join(apus->thread);
    }
    apus_core_free(apus->core);
    apus_timer_free(apus->timer);
    apus_loop_free(apus->loop);
    g_ptr_array_unref(apus->remarks);
    g_clear_error(&apus->failure);
    pthread_mutex_destroy(&apus->lock);
    pthread_cond_destroy(&apus->cond);
    apus_config_clear(&apus->config);
    g_free(apus);
}

/* --- running ------------------------------------------------------------- */

/* Could @id, the secondary, take over now? */
static gboolean could_take_over(const ApusStatus *status, ApusId id)
{
    const ApusPeerStatus *peer = apus_status_peer(status, id);

    return peer && peer->connected && !peer->dead && !peer->suspected;
}

/* Resign, if there is something to resign from. */
static void resign(Apus *apus)
{
    ApusStatus status;

    apus_core_status(apus->core, &status, apus_loop_now(apus->loop));
    if (status.state != APUS_STATE_ELECTED &&
        status.state != APUS_STATE_LEADER) {
        return;
    }
    if (could_take_over(&status, status.role.secondary)) {
        apus->resigned_to = status.role.secondary;
        apus->resigned_term = status.term;
    }
    atomic_store(&apus->lease, 0);
    apus_core_resign(apus->core, apus_loop_now(apus->loop));
    apus_core_flush(apus->core, apus_loop_now(apus->loop));
}

/* Is there nobody (any more) to be waited for, who takes over from us? */
static gboolean handed_over(const Apus *apus)
{
    ApusStatus status;

    if (apus->resigned_to == APUS_NOBODY) {
        return TRUE;
    }
    apus_core_status(apus->core, &status, apus_loop_now(apus->loop));
    return status.term > apus->resigned_term ||
           status.state == APUS_STATE_FAILED ||
           !could_take_over(&status, apus->resigned_to);
}

void apus_stopping(Apus *apus)
{
    uint64_t now = apus_clock();
    uint64_t left;

    if (!apus->resigned) {
        apus->resigned = TRUE;
        atomic_store(&apus->accepts, false);
        resign(apus);
        apus_loop_wake(apus->loop); /* once more, when it has been sent */
        return;
    }
    pthread_mutex_lock(&apus->lock);
    left = apus->stop_until > now ? apus->stop_until - now : 0;
    pthread_mutex_unlock(&apus->lock);
    if (!apus->stop_half) {
        apus->stop_half = now + left / 2;
    }
    if (handed_over(apus) || now >= apus->stop_half) {
        apus_loop_quit(apus->loop);
    } else {
        apus_timer_set(apus->stop_timer, apus->stop_half);
    }
}

/* The round that follows a timer is all that is wanted of it. */
static void on_stop_timer(void *opaque)
{
    (void)opaque;
}

static void finish(Apus *apus)
{
    uint64_t now = apus_clock();
    uint64_t until;

    resign(apus); /* it may have been elected again meanwhile */
    apus_submit_close(apus);
    apus_tell_close(apus);
    pthread_mutex_lock(&apus->lock);
    until = apus->stop_until;
    pthread_mutex_unlock(&apus->lock);
    close_member(apus, until > now ? until - now : 0);
    apus_ask_close(apus);
}

void apus_run(Apus *apus)
{
    pthread_mutex_lock(&apus->lock);
    g_assert(apus->phase == APUS_PHASE_NEW ||
             apus->phase == APUS_PHASE_RUNNING ||
             apus->phase == APUS_PHASE_STOPPING);
    if (apus->phase == APUS_PHASE_NEW) {
        apus->phase = APUS_PHASE_RUNNING;
    }
    pthread_mutex_unlock(&apus->lock);

    atomic_store(&apus->runner, g_thread_self());
    apus->stop_timer = apus_loop_timer(apus->loop, on_stop_timer, apus);
    for (guint i = 0; i < apus->remarks->len; i++) {
        apus_log(apus, G_LOG_LEVEL_WARNING, "%s",
                 (const char *)g_ptr_array_index(apus->remarks, i));
    }
    apus_core_start(apus->core, apus_clock());
    apus_loop_wake(apus->loop); /* for the first deadline to be noted */
    apus_loop_run(apus->loop);
    finish(apus);
    apus_timer_free(apus->stop_timer);
    atomic_store(&apus->runner, NULL);

    pthread_mutex_lock(&apus->lock);
    apus->phase = APUS_PHASE_ENDED;
    pthread_cond_broadcast(&apus->cond);
    pthread_mutex_unlock(&apus->lock);
}

static gpointer run_thread(gpointer opaque)
{
    apus_run(opaque);
    return NULL;
}

gboolean apus_start(Apus *apus, GError **errp)
{
    g_autofree char *name = g_strdup_printf("apus-%u", apus->config.id);

    g_assert(apus->phase == APUS_PHASE_NEW && !apus->thread);
    apus->phase = APUS_PHASE_RUNNING;
    apus->thread = g_thread_try_new(name, run_thread, apus, errp);
    if (!apus->thread) {
        apus->phase = APUS_PHASE_NEW;
    }
    return apus->thread != NULL;
}

void apus_stop(Apus *apus, uint64_t timeout)
{
    uint64_t deadline = apus_monotonic() + timeout;

    g_assert(!apus_is_own_thread(apus));
    pthread_mutex_lock(&apus->lock);
    if (apus->phase == APUS_PHASE_NEW) {
        apus->phase = APUS_PHASE_ENDED;
        close_member(apus, timeout);
    } else if (apus->phase == APUS_PHASE_RUNNING) {
        apus->phase = APUS_PHASE_STOPPING;
        apus->stop_until = apus_clock() + timeout;
        atomic_store(&apus->stop, true);
        apus_loop_wake(apus->loop);
    }
    while (apus->phase != APUS_PHASE_ENDED) {
        if (!apus_wait_until(apus, deadline)) {
            break;
        }
    }
    pthread_mutex_unlock(&apus->lock);
}

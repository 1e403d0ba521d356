/*
 * The secondary of a session: its VM is kept equal
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "block/replication.h"
#include "migration/colo.h"
#include "migration/failover.h"
#include "net/colo.h"
#include "net/filter.h"
#include "qapi/error.h"
#include "qapi/qapi-events-colony.h"
#include "qemu/coroutine.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/timer.h"
#include "system/cpus.h"
#include "system/hw_accel.h"
#include "system/runstate.h"
#include "colony/colo-net/adapter/filter-guard.h"
#include "colony/colo-net/adapter/group.h"
#include "colony/plover-sync/core/idle.h"
#include "clock.h"
#include "devices.h"
#include "machine.h"
#include "plover.h"
#include "session.h"
#include "trace.h"

/* How long a guest may take to become idle, and how often that is looked at. */
#define IDLE_WAIT_NS (5 * SCALE_MS)
#define IDLE_SAMPLE_US 250

static struct {
    PloverSession session;
    PloverSecondary *secondary;
    PloverIdle idle;
    bool logging; /* the dirty log is on */
    bool warned; /* of a big stage, in this sync */
    bool applying; /* between the point of no return and resume */
    bool waits; /* the VM, for its state, to run then */
    uint64_t stage_bytes;
    PloverSecondaryStats stats; /* of the sync that is under way */
} self;

static void set_error(GError **errp, Error *err)
{
    g_set_error(errp, PLOVER_SECONDARY_ERROR, PLOVER_SECONDARY_ERROR_PEER,
                "%s", error_get_pretty(err));
    error_free(err);
}

static gboolean vm_join(void *opaque, const PloverHello *hello, uint64_t term,
                        GError **errp)
{
    Error *err = NULL;

    plover_report_begin(PLOVER_ROLE_SECONDARY, term);
    if (!apus_group_session_joined(term, hello->blank, &err)) {
        set_error(errp, err);
        return FALSE;
    }
    return TRUE;
}

static gboolean vm_stop_for_sync(void *opaque, GError **errp)
{
    PloverSession *session = opaque;
    Error *err = NULL;

    plover_session_lock(session);
    if (!plover_memory_check(session->memory, &err)) {
        plover_session_unlock(session);
        set_error(errp, err);
        return FALSE;
    }
    session->was_running = plover_machine_stop();
    return TRUE;
}

static void vm_release(void *opaque)
{
    plover_session_unlock(opaque);
}

static void vm_resume_after_sync(void *opaque)
{
    PloverSession *session = opaque;
    int64_t advanced = 0;

    plover_session_lock(session);
    if (session->was_running || (self.waits && self.applying)) {
        if (self.applying && self.stats.leader_resumed) {
            advanced = plover_clock_catch_up(self.stats.leader_resumed);
        }
        if (session->was_running) {
            plover_machine_resume();
        } else {
            self.waits = false;
            vm_start();
        }
        plover_clock_trace(self.stats.epoch, advanced);
    }
    apus_group_sync_done(self.stats.epoch);
    if (self.applying) {
        self.applying = false;
        colo_incoming_end_load();
    }
}

static gboolean vm_save(void *opaque, PloverSections *list, GError **errp)
{
    PloverSession *session = opaque;
    bool had = session->locked;
    Error *err = NULL;
    bool ok;

    plover_session_lock(session);
    ok = plover_devices_save(list, &err);
    if (!had) {
        plover_session_unlock(session);
    }
    if (!ok) {
        set_error(errp, err);
    }
    return ok;
}

static void vm_collect(void *opaque, GArray *list)
{
    PloverSession *session = opaque;
    bool had = session->locked;

    plover_session_lock(session);
    plover_memory_collect(session->memory, list);
    if (!had) {
        plover_session_unlock(session);
    }
}

static void wait_idle(void)
{
    int64_t end = qemu_clock_get_ns(QEMU_CLOCK_REALTIME) + IDLE_WAIT_NS;
    int64_t now;

    plover_idle_restart(&self.idle);
    while ((now = qemu_clock_get_ns(QEMU_CLOCK_REALTIME)) < end &&
           !plover_idle_sample(&self.idle, now, plover_machine_cpu_time())) {
        g_usleep(IDLE_SAMPLE_US);
    }
}

static gboolean vm_quiesce(void *opaque, gboolean idle, GError **errp)
{
    Error *err = NULL;

    if (!apus_group_sync_reached(self.stats.epoch, &err)) {
        set_error(errp, err);
        return FALSE;
    }
    if (idle) {
        wait_idle();
    }
    return TRUE;
}

static bool failover_requested(void)
{
    return failover_get_state() != FAILOVER_STATUS_NONE;
}

/*
 * What the leader wrote to its disks before it stopped comes by connections of
 * their own. The leader waits for our answer meanwhile, and must get it in
 * time: a refused sync can be tried again.
 */
static bool wait_disks(PloverSession *session, Error **errp)
{
    int64_t patience = (int64_t)session->settings.sync_timeout * SCALE_MS / 2;

    assert(!session->locked);
    return replication_wait_sealed_all(
        self.stats.epoch, qemu_clock_get_ns(QEMU_CLOCK_REALTIME) + patience,
        failover_requested, errp);
}

static gboolean vm_check(void *opaque, const PloverSections *want,
                         const PloverSections *own, GError **errp)
{
    PloverSession *session = opaque;
    Error *err = NULL;

    if (plover_devices_check(want, own, &err) && wait_disks(session, &err)) {
        plover_session_lock(session);
        replication_get_error_all(&err);
        plover_session_unlock(session);
    }
    if (err) {
        set_error(errp, err);
        return FALSE;
    }
    return TRUE;
}

static gboolean vm_decide(void *opaque, uint64_t epoch, GError **errp)
{
    PloverSession *session = opaque;
    Error *err = NULL;
    bool ok;

    plover_session_lock(session);
    ok = apus_group_sync_decide(plover_secondary_term(self.secondary), &err) &&
         colo_incoming_begin_load(&err);
    plover_session_unlock(session);
    if (!ok) {
        set_error(errp, err);
        return FALSE;
    }
    self.applying = true;
    trace_plover_staged(epoch);
    return TRUE;
}

static void vm_apply(void *opaque, const GArray *pages,
                     const uint8_t *const *data)
{
    PloverSession *session = opaque;

    plover_session_lock(session);
    trace_plover_apply_begin(self.stats.epoch);
    cpu_synchronize_all_states();
    plover_memory_apply(session->memory, pages, data);
}

static gboolean vm_load(void *opaque, const PloverSections *want,
                        const PloverSections *own, uint32_t *loaded,
                        GError **errp)
{
    Error *err = NULL;

    if (plover_devices_load(want, own, loaded, &err)) {
        replication_do_checkpoint_all(&err);
    }
    if (!err) {
        colo_notify_filters_event(COLO_EVENT_CHECKPOINT, &err);
    }
    if (err) {
        apus_group_vm_lost();
        self.applying = false;
        filter_guard_discard();
        colo_incoming_end_load();
        plover_session_unlock(opaque);
        set_error(errp, err);
        return FALSE;
    }
    filter_guard_discard();
    trace_plover_apply_end(self.stats.epoch);
    return TRUE;
}

static void vm_staged(void *opaque, uint64_t bytes)
{
    PloverSession *session = opaque;

    self.stage_bytes = bytes;
    if (bytes > session->settings.stage_limit && !self.warned) {
        self.warned = true;
        qapi_event_send_plover_stage_warning(self.stats.epoch, bytes);
    }
}

static const PloverVm vm = {
    .join = vm_join,
    .stop = vm_stop_for_sync,
    .resume = vm_resume_after_sync,
    .release = vm_release,
    .save = vm_save,
    .collect = vm_collect,
    .page = plover_session_page,
    .quiesce = vm_quiesce,
    .check = vm_check,
    .decide = vm_decide,
    .apply = vm_apply,
    .load = vm_load,
    .staged = vm_staged,
};

/* --- for COLO ------------------------------------------------------------- */

int plover_incoming_prepare(void)
{
    Error *err = NULL;

    if (!plover_memory_start_log(&err)) {
        error_report_err(err);
        return -EINVAL;
    }
    self.logging = true;
    return 0;
}

bool plover_secondary_begin(QEMUFile *file, Error **errp)
{
    PloverSecondaryConfig config;
    const PloverBlock *blocks;
    PloverHello hello;
    GError *error = NULL;

    if (!plover_session_init(&self.session, false, file, errp)) {
        return false;
    }
    config = (PloverSecondaryConfig) {
        .timeout_us = self.session.settings.sync_timeout * 1000LL,
        .pool = self.session.pool,
        .rdma = self.session.rdma,
        .page_size = plover_memory_page_size(),
    };
    config.n_blocks = plover_memory_blocks(self.session.memory, &blocks);
    config.blocks = blocks;
    self.secondary = plover_secondary_new(&config, &vm, &self.session,
                                          self.session.link);
    plover_idle_init(&self.idle);
    if (!plover_secondary_greet(self.secondary, &hello, &error)) {
        error_setg(errp, "%s", error->message);
        g_error_free(error);
        return false;
    }
    plover_session_greeted(&self.session);
    bql_lock();
    filter_guard_begin(false);
    self.waits = hello.run && hello.blank;
    if (hello.run && !hello.blank) {
        vm_start();
    }
    bql_unlock();
    plover_hello_clear(&hello);
    return true;
}

static void trace_done(const PloverSecondaryStats *stats)
{
    if (trace_event_get_state_backends(TRACE_PLOVER_SECONDARY_DONE)) {
        const PloverApplied *applied = &stats->applied;
        g_autofree char *text = g_strdup_printf(
            "epoch=%" PRIu64 " stop=%u map=%u hash=%u receive=%u apply=%u "
            "load=%u stopped=%u loaded=%u union=%" PRIu64 " staged=%" PRIu64
            " late=%" PRIu64, stats->epoch, applied->stop, applied->map,
            applied->hash, applied->receive, applied->apply, applied->load,
            applied->stopped, applied->loaded, stats->united,
            stats->staged_pages, stats->late);

        trace_plover_secondary_done(text);
    }
}

bool plover_secondary_checkpoint(Error **errp)
{
    ERRP_GUARD();
    GError *error = NULL;
    gboolean applied;
    char *why;
    bool ok;

    self.warned = false;
    self.stage_bytes = 0;
    ok = plover_secondary_serve(self.secondary, &applied, &why,
                                &self.stats, &error);
    plover_session_unlock(&self.session);
    apus_group_sync_done(self.stats.epoch);
    if (applied) {
        plover_report_secondary(&self.stats, self.stage_bytes);
        trace_done(&self.stats);
    }
    if (why) {
        plover_report_refused(self.stats.epoch, why);
        warn_report("checkpoint %" PRIu64 " was given up: %s",
                    self.stats.epoch, why);
        g_free(why);
    }
    if (!ok) {
        if (self.stats.epoch) {
            plover_report_refused(self.stats.epoch, error->message);
        }
        error_setg(errp, "checkpoint after %" PRIu64 ": %s",
                   plover_secondary_base(self.secondary), error->message);
        error_append_hint(errp, "If the other side is dead, "
                          "x-colo-lost-heartbeat lets this one take over.\n");
        apus_group_session_failed(error->message);
        g_error_free(error);
    }
    return ok;
}

static void coroutine_fn release_outputs(void *opaque)
{
    replication_co_wait_hold(REPLICATION_HOLD_OUTPUT, -1);
    /* Protected again, this is part of the new session's first epoch. */
    if (plover_report_role() != PLOVER_ROLE_LEADER) {
        filter_guard_end(true);
    }
}

void plover_secondary_takeover(void)
{
    apus_group_taken_over();
    if (replication_hold() < REPLICATION_HOLD_OUTPUT) {
        filter_guard_end(true);
        return;
    }
    filter_guard_end(false);
    qemu_coroutine_enter(qemu_coroutine_create(release_outputs, NULL));
}

void plover_secondary_end(void)
{
    plover_secondary_free(self.secondary);
    self.secondary = NULL;
    plover_session_clear(&self.session);
    if (self.logging) {
        self.logging = false;
        plover_memory_stop_log();
    }
    plover_report_end();
}

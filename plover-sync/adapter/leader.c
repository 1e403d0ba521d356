/*
 * The leader of a session: its VM is the one that is heard
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "block/replication.h"
#include "crypto/random.h"
#include "exec/memory.h"
#include "migration/colo.h"
#include "migration/failover.h"
#include "migration/options.h"
#include "qemu/notify.h"
#include "net/colo-compare.h"
#include "qapi/error.h"
#include "qapi/qapi-events-colony.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/timer.h"
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

/* How often the vCPUs' time is looked at while an idle guest is waited for. */
#define IDLE_SAMPLE_NS (300 * SCALE_US)
/* When a sync that was given up is tried again. */
#define RETRY_MS 50
/* How often dirty pages are counted. */
#define DIRTY_SAMPLE_MS 100

static struct {
    PloverSession session;
    PloverLeader *leader;
    uint64_t epoch; /* that is being synced */
    unsigned failures; /* in a row */
    bool running; /* the VM runs since before it was copied */
    bool spoke; /* when the session began: then until the VM's first stop */
    bool holds; /* the guards do */
    bool synced; /* once at least */
    bool sealed; /* what colo-compare holds of this epoch */
    uint64_t terms;
    bool discard_disabled;

    /* Accessed by several threads, with qatomic_*(). */
    unsigned reasons;
    bool verify;

    /* With the BQL. */
    QEMUTimer *idle_timer;
    PloverIdle idle;
    QEMUTimer *dirty_timer;
    QEMUTimer *retry_timer;
} self;

/* --- why a sync happens --------------------------------------------------- */

void plover_leader_request(unsigned reasons, bool verify)
{
    if (verify) {
        qatomic_set(&self.verify, true);
    }
    qatomic_or(&self.reasons, reasons);
    colo_request_checkpoint();
}

void plover_note_divergence(void)
{
    qatomic_or(&self.reasons, PLOVER_REASON_DIVERGENCE);
}

static void sample_idle(void *opaque)
{
    int64_t now = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);

    if (!filter_guard_held_bytes()) {
        return;
    }
    if (plover_idle_sample(&self.idle, now, plover_machine_cpu_time())) {
        plover_leader_request(PLOVER_REASON_IDLE, false);
    } else {
        timer_mod_ns(self.idle_timer, now + IDLE_SAMPLE_NS);
    }
}

static void guard_event(FilterGuardEvent event, void *opaque)
{
    switch (event) {
    case FILTER_GUARD_FIRST:
        if (self.idle_timer) {
            plover_idle_restart(&self.idle);
            timer_mod_ns(self.idle_timer,
                         qemu_clock_get_ns(QEMU_CLOCK_REALTIME) +
                         IDLE_SAMPLE_NS);
        }
        break;
    case FILTER_GUARD_PRESSURE:
        plover_leader_request(PLOVER_REASON_PRESSURE, false);
        break;
    }
}

static void sample_dirty(void *opaque)
{
    PloverMemory *memory = self.session.memory;

    /* If RAM is not what it was, the next sync says so. */
    if (plover_memory_check(memory, NULL) &&
        plover_memory_dirty(memory) * plover_memory_page_size() >=
        self.session.settings.stage_limit) {
        plover_leader_request(PLOVER_REASON_PRESSURE, false);
    }
    timer_mod(self.dirty_timer, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) +
              DIRTY_SAMPLE_MS);
}

static void retry(void *opaque)
{
    colo_request_checkpoint();
}

static void start_triggers(void)
{
    const PloverSettings *settings = &self.session.settings;

    filter_guard_set_listener(guard_event, NULL);
    if (settings->idle) {
        plover_idle_init(&self.idle);
        self.idle_timer = timer_new_ns(QEMU_CLOCK_REALTIME, sample_idle, NULL);
    }
    self.dirty_timer = timer_new_ms(QEMU_CLOCK_REALTIME, sample_dirty, NULL);
    sample_dirty(NULL);
    self.retry_timer = timer_new_ms(QEMU_CLOCK_REALTIME, retry, NULL);
}

static void stop_triggers(void)
{
    filter_guard_set_listener(NULL, NULL);
    g_clear_pointer(&self.idle_timer, timer_free);
    g_clear_pointer(&self.dirty_timer, timer_free);
    g_clear_pointer(&self.retry_timer, timer_free);
}

/* --- the VM --------------------------------------------------------------- */

static void set_error(GError **errp, Error *err)
{
    g_set_error(errp, PLOVER_LEADER_ERROR, PLOVER_LEADER_ERROR_REFUSED, "%s",
                error_get_pretty(err));
    error_free(err);
}

static gboolean vm_stop_for_sync(void *opaque, GError **errp)
{
    PloverSession *session = opaque;
    Error *err = NULL;

    assert(!session->locked);
    if (!apus_group_sync_reached(self.epoch, &err)) {
        set_error(errp, err);
        return FALSE;
    }
    plover_session_lock(session);
    filter_guard_settle();
    if (failover_get_state() != FAILOVER_STATUS_NONE) {
        error_setg(&err, "failover was requested");
    } else if (plover_memory_check(session->memory, &err)) {
        replication_get_error_all(&err);
    }
    if (err) {
        plover_session_unlock(session);
        set_error(errp, err);
        return FALSE;
    }
    session->was_running = plover_machine_stop();
    if (!self.holds) {
        self.holds = true;
        filter_guard_begin(true);
    }
    self.sealed = false;
    trace_plover_leader_stop(self.epoch);
    replication_seal_all(self.epoch, &err);
    if (err) {
        if (session->was_running) {
            plover_machine_resume();
        }
        plover_session_unlock(session);
        set_error(errp, err);
        return FALSE;
    }
    filter_guard_seal(self.epoch);
    return TRUE;
}

/*
 * Tell colo-compare what belongs to the epoch: as late as possible, because
 * the last frames are on their way to it.
 */
static void seal(void)
{
    if (!self.sealed) {
        self.sealed = true;
        colo_notify_compares_event(NULL, COLO_EVENT_SEAL, NULL);
    }
}

static void vm_release(void *opaque)
{
    seal();
    plover_session_unlock(opaque);
}

static void vm_resume_after_sync(void *opaque)
{
    PloverSession *session = opaque;

    plover_session_lock(session);
    seal();
    /* Failover starts the VM itself. */
    if (session->was_running &&
        failover_get_state() == FAILOVER_STATUS_NONE) {
        plover_machine_resume();
        plover_clock_trace(self.epoch, 0);
    }
    apus_group_sync_done(self.epoch);
    trace_plover_leader_resume(self.epoch);
}

static gboolean vm_save(void *opaque, PloverSections *list, GError **errp)
{
    Error *err = NULL;

    if (!plover_devices_save(list, &err)) {
        set_error(errp, err);
        return FALSE;
    }
    return TRUE;
}

static void vm_collect(void *opaque, GArray *list)
{
    PloverSession *session = opaque;

    plover_memory_collect(session->memory, list);
}

static void vm_collect_early(void *opaque, GArray *list)
{
    PloverSession *session = opaque;

    plover_session_lock(session);
    if (plover_memory_check(session->memory, NULL)) {
        plover_memory_collect_running(session->memory, list);
    }
    plover_session_unlock(session);
}

static gboolean vm_same(void *opaque, const PloverSection *a,
                        const PloverSection *b)
{
    return plover_devices_same(a, b);
}

static void vm_commit(void *opaque, uint64_t epoch)
{
    trace_plover_commit(epoch);
    colo_notify_compares_event(NULL, COLO_EVENT_COMMIT, NULL);
    if (filter_guard_holding()) {
        bool locked = self.session.locked;

        plover_session_lock(&self.session);
        filter_guard_commit(epoch);
        if (!locked) {
            plover_session_unlock(&self.session);
        }
    }
}

static const PloverVm vm = {
    .stop = vm_stop_for_sync,
    .resume = vm_resume_after_sync,
    .release = vm_release,
    .save = vm_save,
    .collect = vm_collect,
    .collect_early = vm_collect_early,
    .page = plover_session_page,
    .same = vm_same,
    .commit = vm_commit,
};

/* --- for COLO ------------------------------------------------------------- */

/*
 * Without a group the other side could take over before the first sync. A disk
 * that cannot tell epochs apart must not be written to before its replication
 * has begun.
 */
bool plover_leader_copies_running(void)
{
    self.running = apus_group() && runstate_check(RUN_STATE_RUNNING) &&
                   replication_can_seal_all() && !migrate_dirty_bitmaps();
    return self.running;
}

bool plover_leader_was_running(void)
{
    return self.running;
}

bool plover_leader_check(Error **errp)
{
    if (ram_block_discard_is_required()) {
        error_setg(errp, "x-plover does not work with a device that discards "
                   "RAM, such as virtio-mem: start without it");
        return false;
    }
    return plover_session_check(errp);
}

static bool greet(Error **errp)
{
    const PloverSettings *settings = &self.session.settings;
    const PloverBlock *blocks;
    PloverHello hello = {
        .page_size = plover_memory_page_size(),
        .copy = settings->copy == PLOVER_COPY_MODE_FULL ? PLOVER_COPY_FULL :
                PLOVER_COPY_HASH,
        .run = settings->secondary == PLOVER_SECONDARY_MODE_RUN,
        .blank = self.running,
        .cache_age = settings->cache_age,
    };
    GError *error = NULL;

    /* There are no deltas in a full copy. */
    if (hello.copy == PLOVER_COPY_HASH) {
        hello.cache_pages = settings->cache_limit / hello.page_size;
    }
    hello.n_blocks = plover_memory_blocks(self.session.memory, &blocks);
    hello.blocks = (PloverBlock *)blocks;
    if (qcrypto_random_bytes(hello.secret, sizeof(hello.secret), errp) < 0 ||
        qcrypto_random_bytes(&hello.key, sizeof(hello.key), errp) < 0) {
        return false;
    }
    if (!plover_leader_greet(self.leader, &hello, &error)) {
        error_setg(errp, "%s", error->message);
        g_error_free(error);
        return false;
    }
    return true;
}

static bool begin(QEMUFile *file, Error **errp)
{
    PloverLeaderConfig config;
    uint64_t term = ++self.terms;
    uint64_t epoch = 0;

    if (!apus_group_session_begin(&term, &epoch, errp)) {
        return false;
    }
    /* What is discarded is not in the dirty log. COLO does the same there. */
    if (ram_block_discard_disable(true) < 0) {
        error_setg(errp, "x-plover: a device that discards RAM was added");
        return false;
    }
    self.discard_disabled = true;
    if (!plover_session_init(&self.session, true, file, errp)) {
        return false;
    }
    config = (PloverLeaderConfig) {
        .term = term,
        .epoch = epoch,
        .timeout_us = self.session.settings.sync_timeout * 1000LL,
        .copy_limit = self.session.settings.copy_limit,
        .pool = self.session.pool,
        .rdma = self.session.rdma,
    };
    self.failures = 0;
    self.synced = false;
    self.epoch = epoch;
    qatomic_set(&self.reasons, 0);
    qatomic_set(&self.verify, false);
    self.leader = plover_leader_new(&config, &vm, &self.session,
                                    self.session.link);
    if (!greet(errp)) {
        return false;
    }
    plover_report_begin(PLOVER_ROLE_LEADER, config.term);
    plover_session_greeted(&self.session);
    bql_lock();
    self.spoke = self.running && !filter_guard_holding();
    self.holds = !self.spoke;
    if (self.holds) {
        filter_guard_begin(true);
    }
    start_triggers();
    if (apus_group()) {
        /* Until the first sync the secondary cannot be named. */
        colo_request_checkpoint();
    }
    bql_unlock();
    return true;
}

bool plover_leader_begin(QEMUFile *file, Error **errp)
{
    ERRP_GUARD();

    if (!begin(file, errp)) {
        apus_group_session_failed(error_get_pretty(*errp));
        return false;
    }
    return true;
}

static void tell_verified(const PloverVerify *verify, uint64_t epoch)
{
    PloverPageList *pages = NULL;
    strList *sections = NULL;

    for (guint i = verify->first->len; i > 0; i--) {
        PloverPage *page = g_new0(PloverPage, 1);

        page->block = g_strdup(plover_memory_name(
            self.session.memory, g_array_index(verify->first, uint64_t, i - 1),
            &page->offset));
        QAPI_LIST_PREPEND(pages, page);
    }
    for (guint i = verify->sections->len; i > 0; i--) {
        QAPI_LIST_PREPEND(sections, g_strdup(verify->sections->pdata[i - 1]));
    }
    qapi_event_send_plover_verified(epoch, verify->pages, verify->differing,
                                    pages, sections);
    qapi_free_PloverPageList(pages);
    qapi_free_strList(sections);
}

static void trace_done(const PloverSyncStats *stats)
{
    if (trace_event_get_state_backends(TRACE_PLOVER_LEADER_DONE)) {
        g_autofree char *text = g_strdup_printf(
            "epoch=%" PRIu64 " reasons=%u pause=%" PRIi64 " stop=%" PRIi64
            " save=%" PRIi64 " scan=%" PRIi64 " copy=%" PRIi64 " resume=%"
            PRIi64 " wait=%" PRIi64 " staged=%" PRIi64 " late=%d dirty=%"
            PRIu64 " union=%" PRIu64 " differ=%" PRIu64 " zero=%" PRIu64
            " early=%" PRIu64 " delta=%" PRIu64 " whole=%" PRIu64 " devices=%"
            PRIu64 " out=%" PRIu64 " in=%" PRIu64, stats->epoch,
            stats->reasons, stats->pause, stats->stop, stats->save,
            stats->scan, stats->copy, stats->resume, stats->wait,
            stats->staged, stats->late, stats->dirty, stats->united,
            stats->differ, stats->zero, stats->early, stats->delta,
            stats->whole, stats->devices, stats->sent, stats->received);

        trace_plover_leader_done(text);
    }
}

/* A disk whose writes reach the secondary at once must not run ahead. */
static bool disks_are_late(void)
{
    bool result;

    bql_lock();
    result = !replication_can_seal_all();
    bql_unlock();
    return result;
}

/* @why no sync was completed; and it will be tried again. */
static void give_up(uint64_t epoch, const char *why)
{
    plover_report_refused(epoch, why);
    warn_report("checkpoint %" PRIu64 " was given up: %s", epoch, why);
    timer_mod(self.retry_timer,
              qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + RETRY_MS);
}

/*
 * The secondary has not staged it, and never will. If it never had a VM that it
 * could go on with, nothing need be held for it.
 */
static void revert(void)
{
    bql_lock();
    if (self.spoke && self.holds && !self.synced) {
        self.holds = false;
        filter_guard_end(true);
    } else {
        filter_guard_revert();
    }
    bql_unlock();
}

static bool sync_now(unsigned reasons, bool verifies, Error **errp)
{
    PloverVerify verify;
    PloverSyncStats stats;
    GError *error = NULL;
    bool ok;

    ok = plover_leader_sync(self.leader,
                            reasons ? reasons : PLOVER_REASON_INTERVAL,
                            disks_are_late(), verifies ? &verify : NULL, &stats,
                            &error);
    apus_group_sync_done(self.epoch);
    if (ok) {
        self.failures = 0;
        self.synced = true;
        apus_group_session_synced(stats.epoch);
        plover_report_leader(&stats);
        trace_done(&stats);
        if (verifies) {
            tell_verified(&verify, stats.epoch);
            plover_verify_clear(&verify);
        }
        return true;
    }

    if (verifies) {
        plover_verify_clear(&verify);
        qatomic_set(&self.verify, true);
    }
    if (g_error_matches(error, PLOVER_LEADER_ERROR,
                        PLOVER_LEADER_ERROR_REFUSED)) {
        revert();
        self.failures++;
    } else {
        self.failures = self.session.settings.failures;
    }
    if (self.failures >= self.session.settings.failures) {
        plover_report_refused(stats.epoch, error->message);
        error_setg(errp, "checkpoint %" PRIu64 " failed: %s", stats.epoch,
                   error->message);
        error_append_hint(errp, "The guest goes on, but a filter-guard holds "
                          "what it says. If the other side is dead, "
                          "x-colo-lost-heartbeat lets this one go on alone.\n");
        g_error_free(error);
        return false;
    }
    give_up(stats.epoch, error->message);
    g_error_free(error);
    return true;
}

bool plover_leader_checkpoint(Error **errp)
{
    ERRP_GUARD();
    unsigned reasons = qatomic_xchg(&self.reasons, 0);
    bool verifies = qatomic_xchg(&self.verify, false);
    Error *err = NULL;

    /* What cannot be ordered now says nothing about the secondary. */
    if (!apus_group_sync_request(self.epoch + 1,
                                 plover_leader_base(self.leader), &err)) {
        give_up(self.epoch + 1, error_get_pretty(err));
        error_free(err);
        qatomic_or(&self.reasons, reasons);
        if (verifies) {
            qatomic_set(&self.verify, true);
        }
        return true;
    }
    self.epoch++;
    if (!sync_now(reasons, verifies, errp)) {
        apus_group_session_failed(error_get_pretty(*errp));
        return false;
    }
    return true;
}

void plover_leader_end(void)
{
    bql_lock();
    stop_triggers();
    /*
     * If QEMU ends, without a failover, the other side goes on, and has never
     * said what is held.
     */
    filter_guard_end(failover_get_state() == FAILOVER_STATUS_COMPLETED);
    apus_group_session_end();
    plover_leader_free(self.leader);
    self.leader = NULL;
    plover_session_clear(&self.session);
    bql_unlock();
    plover_report_end();
    if (self.discard_disabled) {
        self.discard_disabled = false;
        ram_block_discard_disable(false);
    }
}

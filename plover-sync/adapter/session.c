/*
 * What both roles of a session have, and what QMP asks for
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/resource.h>
#include "hw/boards.h"
#include "hw/virtio/vhost.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-colony.h"
#include "qapi/qapi-events-colony.h"
#include "qemu/error-report.h"
#include "qemu/lockable.h"
#include "qemu/main-loop.h"
#include "qemu/thread.h"
#include "colony/plover-sync/core/window.h"
#include "session.h"
#include "trace.h"

/* Beside the thread of the sync, on the CPUs that the vCPUs leave. */
static unsigned worker_count(void)
{
    int cpus = g_get_num_processors();
    int spare = cpus - (int)current_machine->smp.cpus;

    return cpus == 1 ? 0 : MAX(1, MIN(spare, 8));
}

bool plover_session_check(Error **errp)
{
    if (vhost_get_max_memslots() != UINT_MAX) {
        error_setg(errp, "x-plover does not work with vhost, which writes to "
                   "the guest's memory behind QEMU: start without it "
                   "(vhost=off)");
        return false;
    }
    return true;
}

/*
 * What the guest says waits for this thread, which works for a millisecond at a
 * time: let it not wait for the vCPUs where they share a CPU. Not everybody may
 * do that, and nothing depends on it.
 */
static void hurry(void)
{
    if (setpriority(PRIO_PROCESS, qemu_get_thread_id(), -10) < 0) {
        trace_plover_priority(strerror(errno));
    }
}

bool plover_session_init(PloverSession *session, bool leader, QEMUFile *file,
                         Error **errp)
{
    bool ok;

    if (!plover_channel_init(&session->channel, file, errp)) {
        return false;
    }
    bql_lock();
    session->settings = plover_settings();
    session->memory = plover_memory_new(leader, errp);
    ok = session->memory && plover_session_check(errp);
    if (!ok) {
        plover_session_clear(session);
        bql_unlock();
        return false;
    }
    bql_unlock();
    hurry();
    session->pool = plover_pool_new(worker_count());
    session->link = plover_link_new(&plover_channel_io, &session->channel);
    if (session->settings.has_rdma) {
        const PloverLife life = plover_channel_life(&session->channel);

        /* A message's deadline has room for a try that fails. */
        session->rdma = plover_rdma_new(
            &session->settings.rdma, session->settings.sync_timeout * 500LL,
            &plover_channel_io, &life, &session->channel);
    }
    return true;
}

void plover_session_greeted(const PloverSession *session)
{
    const char *error = session->rdma ? plover_rdma_why_not(session->rdma) :
                        NULL;

    plover_report_rdma(session->rdma && !error, error);
    trace_plover_rdma(session->rdma && !error, error ?: "");
    if (error) {
        warn_report("checkpoints do not go by RDMA: %s", error);
    }
}

static void *free_rdma(void *opaque)
{
    plover_rdma_free(opaque);
    return NULL;
}

/*
 * To take a link down may take the adapter long, and the VM waits for us: we
 * have the BQL, and may be in the middle of a takeover. Nobody else knows of it
 * any more.
 */
static void end_rdma(PloverRdma *rdma)
{
    QemuThread thread;

    if (rdma) {
        qemu_thread_create(&thread, "plover-end", free_rdma, rdma,
                           QEMU_THREAD_DETACHED);
    }
}

void plover_session_clear(PloverSession *session)
{
    plover_link_free(session->link);
    end_rdma(session->rdma);
    if (session->pool) {
        plover_pool_free(session->pool);
    }
    plover_memory_free(session->memory);
    plover_channel_release(&session->channel);
    memset(session, 0, sizeof(*session));
}

void plover_session_lock(PloverSession *session)
{
    if (!session->locked) {
        bql_lock();
        session->locked = true;
    }
}

void plover_session_unlock(PloverSession *session)
{
    if (session->locked) {
        session->locked = false;
        bql_unlock();
    }
}

const uint8_t *plover_session_page(void *opaque, uint64_t page)
{
    PloverSession *session = opaque;

    return plover_memory_page(session->memory, page);
}

/* --- for users ------------------------------------------------------------ */

static struct {
    QemuMutex lock;
    PloverRole role;
    uint64_t term;
    uint64_t epoch;
    uint64_t syncs;
    uint64_t refused;
    char *error;
    bool rdma;
    char *rdma_error;
    PloverWindow first; /* pause, or time stopped */
    PloverWindow staged;
    PloverSyncStats sum;
    uint64_t late;
    uint64_t staged_pages;
    uint64_t stage_peak;
} report;

static void __attribute__((constructor)) init_report(void)
{
    qemu_mutex_init(&report.lock);
}

void plover_report_begin(PloverRole role, uint64_t term)
{
    QEMU_LOCK_GUARD(&report.lock);
    g_free(report.error);
    g_free(report.rdma_error);
    memset(&report.role, 0, sizeof(report) - offsetof(typeof(report), role));
    report.role = role;
    report.term = term;
}

void plover_report_end(void)
{
    QEMU_LOCK_GUARD(&report.lock);
    report.role = PLOVER_ROLE_NONE;
    report.rdma = false;
    g_clear_pointer(&report.rdma_error, g_free);
}

void plover_report_rdma(bool rdma, const char *error)
{
    QEMU_LOCK_GUARD(&report.lock);
    report.rdma = rdma;
    g_free(report.rdma_error);
    report.rdma_error = g_strdup(error);
}

PloverRole plover_report_role(void)
{
    QEMU_LOCK_GUARD(&report.lock);
    return report.role;
}

void plover_report_leader(const PloverSyncStats *stats)
{
    PloverSyncStats *sum = &report.sum;

    QEMU_LOCK_GUARD(&report.lock);
    report.syncs++;
    report.epoch = stats->epoch;
    g_clear_pointer(&report.error, g_free);
    plover_window_add(&report.first, stats->pause);
    plover_window_add(&report.staged, stats->staged);
    sum->dirty += stats->dirty;
    sum->united += stats->united;
    sum->differ += stats->differ;
    sum->zero += stats->zero;
    sum->delta += stats->delta;
    sum->whole += stats->whole;
    sum->sent += stats->sent;
    sum->received += stats->received;
    report.late += stats->late;
}

void plover_report_secondary(const PloverSecondaryStats *stats,
                             uint64_t stage_bytes)
{
    QEMU_LOCK_GUARD(&report.lock);
    report.syncs++;
    report.epoch = stats->epoch;
    g_clear_pointer(&report.error, g_free);
    plover_window_add(&report.first, stats->applied.stopped);
    report.staged_pages += stats->staged_pages;
    report.stage_peak = MAX(report.stage_peak, stage_bytes);
}

void plover_report_refused(uint64_t epoch, const char *why)
{
    trace_plover_sync_failed(epoch, why);
    WITH_QEMU_LOCK_GUARD(&report.lock) {
        report.refused++;
        g_free(report.error);
        report.error = g_strdup(why);
    }
    qapi_event_send_plover_sync_failed(epoch, why);
}

static PloverTimes *times(const PloverWindow *window)
{
    PloverTimes *result = g_new0(PloverTimes, 1);

    result->median = plover_window_permille(window, 500);
    result->p99 = plover_window_permille(window, 990);
    result->max = plover_window_permille(window, 1000);
    result->last = plover_window_last(window);
    return result;
}

PloverInfo *qmp_query_plover(Error **errp)
{
    PloverInfo *info = g_new0(PloverInfo, 1);
    const PloverSyncStats *sum = &report.sum;

    QEMU_LOCK_GUARD(&report.lock);
    info->role = report.role;
    info->term = report.term;
    info->epoch = report.epoch;
    info->syncs = report.syncs;
    info->refused = report.refused;
    info->error = g_strdup(report.error);
    info->rdma = report.rdma;
    info->rdma_error = g_strdup(report.rdma_error);
    if (report.role == PLOVER_ROLE_LEADER) {
        info->leader = g_new0(PloverLeaderInfo, 1);
        *info->leader = (PloverLeaderInfo) {
            .pause = times(&report.first),
            .staged = times(&report.staged),
            .dirty = sum->dirty,
            .united = sum->united,
            .differ = sum->differ,
            .zero = sum->zero,
            .delta = sum->delta,
            .whole = sum->whole,
            .sent = sum->sent,
            .received = sum->received,
            .late = report.late,
        };
    } else if (report.role == PLOVER_ROLE_SECONDARY) {
        info->secondary = g_new0(PloverSecondaryInfo, 1);
        *info->secondary = (PloverSecondaryInfo) {
            .stopped = times(&report.first),
            .staged_pages = report.staged_pages,
            .stage_peak = report.stage_peak,
        };
    }
    return info;
}

static void request(bool verify, Error **errp)
{
    if (plover_report_role() != PLOVER_ROLE_LEADER) {
        error_setg(errp, "this side is not the leader of a session with "
                   "x-plover: ask the primary");
        return;
    }
    plover_leader_request(PLOVER_REASON_REQUEST, verify);
}

void qmp_plover_sync(Error **errp)
{
    request(false, errp);
}

void qmp_plover_verify(Error **errp)
{
    request(true, errp);
}

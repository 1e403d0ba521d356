/*
 * The monitor commands of gannet
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "block/block_int.h"
#include "block/replication.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-gannet.h"
#include "qemu/main-loop.h"
#include "qemu/timer.h"
#include "gannet.h"
#include "trace.h"

/* --- nodes ---------------------------------------------------------------- */

static bool is_gannet(const BlockDriverState *bs)
{
    return bs->drv && !strcmp(bs->drv->format_name, GANNET_DRIVER);
}

GannetInfoList *qmp_query_gannet(Error **errp)
{
    GannetInfoList *list = NULL, **tail = &list;

    GRAPH_RDLOCK_GUARD_MAINLOOP();

    for (BlockDriverState *bs = bdrv_next_node(NULL); bs;
         bs = bdrv_next_node(bs)) {
        if (is_gannet(bs)) {
            QAPI_LIST_APPEND(tail, gannet_info(bs));
        }
    }
    return list;
}

static BlockDriverState *find_gannet(const char *name, Error **errp)
{
    BlockDriverState *bs = bdrv_find_node(name);

    if (!bs) {
        error_setg(errp, "There is no node '%s'", name);
        return NULL;
    }
    if (!is_gannet(bs)) {
        error_setg(errp, "Node '%s' is not one of driver '" GANNET_DRIVER "'",
                   name);
        return NULL;
    }
    return bs;
}

void qmp_gannet_resync(const char *node_name, SocketAddress *peer,
                       bool has_mode, GannetResyncMode mode, Error **errp)
{
    BlockDriverState *bs = find_gannet(node_name, errp);

    if (bs) {
        gannet_resync(bs, peer, has_mode ? mode : GANNET_RESYNC_MODE_CHANGED,
                      errp);
    }
}

void qmp_gannet_verify(const char *node_name, Error **errp)
{
    BlockDriverState *bs = find_gannet(node_name, errp);

    if (bs) {
        gannet_verify(bs, errp);
    }
}

/* --- replication without a VM --------------------------------------------- */

/* How long a secondary waits for the primary's writes. */
#define PATIENCE_NS (10 * NANOSECONDS_PER_SECOND)
/* How long a takeover with failover-flush=first may keep the monitor busy. */
#define FLUSH_PATIENCE_NS (60 * NANOSECONDS_PER_SECOND)

static struct {
    bool started; /* by gannet-start */
    ReplicationMode mode;
    uint64_t epoch; /* the last one of a primary */
} session;

typedef struct Step {
    Coroutine *co;
    void (*run)(Error **errp);
    Error **errp;
} Step;

static void step_bh(void *opaque)
{
    Step *step = opaque;

    step->run(step->errp);
    aio_co_wake(step->co);
}

/*
 * Drivers may change the block graph, which no coroutine may; and not in the
 * middle of somebody else's wait for requests.
 */
static bool coroutine_fn run_outside(void (*run)(Error **errp), Error **errp)
{
    ERRP_GUARD();
    Step step = {
        .co = qemu_coroutine_self(),
        .run = run,
        .errp = errp,
    };

    aio_bh_schedule_oneshot(iohandler_get_aio_context(), step_bh, &step);
    qemu_coroutine_yield();
    return !*errp;
}

/* Wait for @epoch to end on the primary. */
static bool coroutine_fn wait_sealed(uint64_t epoch, Error **errp)
{
    int64_t now = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);

    return replication_co_wait_sealed_all(epoch, now + PATIENCE_NS, errp);
}

static void start_all(Error **errp)
{
    replication_start_all(session.mode, errp);
}

void coroutine_fn qmp_gannet_start(ReplicationMode mode, Error **errp)
{
    trace_gannet_start(ReplicationMode_str(mode));
    if (session.started) {
        error_setg(errp, "Replication was started already; gannet-stop "
                   "ends it");
        return;
    }
    if (mode == REPLICATION_MODE_SECONDARY && !wait_sealed(0, errp)) {
        return;
    }
    session.mode = mode;
    session.epoch = 0;
    session.started = run_outside(start_all, errp);
}

static void seal_all(Error **errp)
{
    /* If that fails, some of the disks know this number. */
    replication_seal_all(++session.epoch, errp);
}

/* The latest epoch that has ended on any disk. */
static uint64_t coroutine_fn newest_epoch(void)
{
    uint64_t newest = 0;

    GRAPH_RDLOCK_GUARD();

    for (BlockDriverState *bs = bdrv_next_node(NULL); bs;
         bs = bdrv_next_node(bs)) {
        if (is_gannet(bs)) {
            newest = MAX(newest, gannet_sealed_epoch(bs));
        }
    }
    return newest;
}

/*
 * Nobody tells a secondary which epoch to apply: take the latest, but the same
 * one of all disks. The primary may end another one meanwhile.
 */
static bool coroutine_fn wait_newest(Error **errp)
{
    uint64_t epoch, before = 0;
    Error *err = NULL;

    if (!wait_sealed(REPLICATION_ANY_EPOCH, errp)) {
        return false;
    }
    while ((epoch = newest_epoch()) != before) {
        error_free(err);
        err = NULL;
        if (wait_sealed(epoch, &err)) {
            return true;
        }
        before = epoch;
    }
    error_propagate(errp, err);
    return false;
}

void coroutine_fn qmp_gannet_checkpoint(Error **errp)
{
    if (!session.started) {
        error_setg(errp, "Replication was not started by gannet-start");
        return;
    }
    trace_gannet_checkpoint(ReplicationMode_str(session.mode), session.epoch);
    if (session.mode == REPLICATION_MODE_PRIMARY) {
        run_outside(seal_all, errp);
    } else if (wait_newest(errp)) {
        run_outside(replication_do_checkpoint_all, errp);
    }
}

static void take_over_all(Error **errp)
{
    replication_stop_all(true, errp);
}

static void stop_all(Error **errp)
{
    replication_stop_all(false, errp);
}

void coroutine_fn qmp_gannet_stop(bool failover, Error **errp)
{
    int64_t now = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);

    trace_gannet_stop(failover);
    session.started = false;
    if (run_outside(failover ? take_over_all : stop_all, errp) && failover &&
        !replication_co_wait_hold(REPLICATION_HOLD_GUEST,
                                  now + FLUSH_PATIENCE_NS)) {
        error_setg(errp, "This side has taken over, but not everything is on "
                   "the disk yet; event GANNET_WRITTEN_BACK tells when");
    }
}

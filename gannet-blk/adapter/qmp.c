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

void qmp_gannet_resync(const char *node_name, bool has_mode,
                       GannetResyncMode mode, Error **errp)
{
    BlockDriverState *bs = find_gannet(node_name, errp);

    if (bs) {
        gannet_resync(bs, has_mode ? mode : GANNET_RESYNC_MODE_CHANGED, errp);
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
static void coroutine_fn run_outside(void (*run)(Error **errp), Error **errp)
{
    Step step = {
        .co = qemu_coroutine_self(),
        .run = run,
        .errp = errp,
    };

    aio_bh_schedule_oneshot(iohandler_get_aio_context(), step_bh, &step);
    qemu_coroutine_yield();
}

static void start_primary(Error **errp)
{
    replication_start_all(REPLICATION_MODE_PRIMARY, errp);
}

static void start_secondary(Error **errp)
{
    replication_start_all(REPLICATION_MODE_SECONDARY, errp);
}

void coroutine_fn qmp_gannet_start(ReplicationMode mode, Error **errp)
{
    trace_gannet_start(ReplicationMode_str(mode));
    run_outside(mode == REPLICATION_MODE_PRIMARY ? start_primary :
                start_secondary, errp);
}

void coroutine_fn qmp_gannet_checkpoint(Error **errp)
{
    run_outside(replication_do_checkpoint_all, errp);
}

void qmp_gannet_stop(bool failover, Error **errp)
{
    trace_gannet_stop(failover);
    replication_stop_all(failover, errp);
}

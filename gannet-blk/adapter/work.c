/*
 * What goes on in the background
 *
 * One coroutine in the node's AioContext looks for work and runs it in tasks,
 * several at a time; it ends when there is none, and gannet_work() starts it
 * anew. What needs no I/O (freeing memory, early commit) it does itself, when
 * there is nothing else to do.
 *
 * A drained section ends all of it, except where a request waits for
 * write-back, which drain in turn waits for.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/qapi-events-gannet.h"
#include "qemu/error-report.h"
#include "work.h"

#define TASKS 48
/* Blocks looked at between two looks at the other work. */
#define TEND_BLOCKS 512
#define EARLY_BLOCKS 64

/* Something has changed: the worker looks again, but not with our lock. */
static void wake_worker(GannetNode *node)
{
    if (node->worker) {
        aio_co_schedule(bdrv_get_aio_context(node->bs),
                        g_steal_pointer(&node->worker));
    }
}

static void coroutine_fn run_task(void *opaque)
{
    GannetTask *task = opaque;
    GannetNode *node = task->node;

    assume_graph_lock(); /* the worker has it */
    task->run(node, task);
    g_free(task);
    qemu_mutex_lock(&node->lock);
    node->n_tasks--;
    wake_worker(node);
    qemu_mutex_unlock(&node->lock);
}

GannetTask *gannet_task_new(GannetRun run)
{
    GannetTask *task = g_new0(GannetTask, 1);

    task->run = run;
    return task;
}

void gannet_fail(GannetNode *node, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    error_report("gannet node '%s': %s", bdrv_get_node_name(node->bs), text);
    if (!node->error) {
        node->error = g_strdup(text);
    }
    qapi_event_send_gannet_error(bdrv_get_node_name(node->bs), text);
    if (node->secondary) {
        gannet_secondary_fail(node->secondary, text);
        gannet_link_kick(node);
    }
}

/* --- the worker ----------------------------------------------------------- */

static GannetTask *next_task(GannetNode *node)
{
    static GannetTask *(*const next[])(GannetNode *) = {
        gannet_next_side, gannet_next_flush, gannet_next_answer,
        gannet_next_write_back, gannet_next_side, gannet_next_pair,
        gannet_next_ask, gannet_next_copy, gannet_next_settle,
    };

    for (size_t i = 0; i < ARRAY_SIZE(next); i++) {
        GannetTask *task = next[i](node);

        if (task) {
            task->node = node;
            return task;
        }
    }
    return NULL;
}

/* What needs no I/O; returns whether there may be more of it. */
static bool tend(GannetNode *node)
{
    if (!node->store) {
        return false;
    }
    if (gannet_store_tend(node->store, TEND_BLOCKS)) {
        gannet_progress(node);
        return true;
    }
    return gannet_node_state(node) == GANNET_SECONDARY_EPOCHS &&
           gannet_store_early(node->store, EARLY_BLOCKS);
}

static bool must_pause(const GannetNode *node)
{
    return node->quiesced && !node->n_flushing;
}

/* Let others have a turn. */
static void coroutine_fn pass(GannetNode *node)
{
    aio_co_schedule(bdrv_get_aio_context(node->bs), qemu_coroutine_self());
    qemu_coroutine_yield();
}

static void coroutine_fn run(GannetNode *node)
{
    bool more = true;

    while (more) {
        GannetTask *task = NULL;
        bool tended = false;

        qemu_mutex_lock(&node->lock);
        if (!must_pause(node)) {
            task = node->n_tasks < TASKS ? next_task(node) : NULL;
            tended = !task && tend(node);
        }
        node->n_tasks += !!task;
        if (!task && !tended && !node->n_tasks) {
            node->working = false;
            more = false;
        } else if (!task && !tended) {
            node->worker = qemu_coroutine_self();
        }
        qemu_mutex_unlock(&node->lock);
        if (task) {
            qemu_coroutine_enter(qemu_coroutine_create(run_task, task));
        } else if (tended) {
            pass(node);
        } else if (more) {
            qemu_coroutine_yield();
        }
    }
}

/*
 * Who changes the graph may wait for requests with the lock for it in hand. So
 * nothing counts as a request of ours before the worker has that lock, and it
 * keeps it for all of its tasks: none of them waits for it in the middle.
 */
static void coroutine_fn worker(void *opaque)
{
    GannetNode *node = opaque;
    BlockDriverState *bs = node->bs;
    bool here;

    bdrv_graph_co_rdlock();
    qemu_mutex_lock(&node->lock);
    here = bdrv_get_aio_context(bs) == qemu_get_current_aio_context();
    if (must_pause(node) || !node->open || !here) {
        node->working = false;
        if (!here) {
            gannet_work(node);
        }
        qemu_mutex_unlock(&node->lock);
        bdrv_graph_co_rdunlock();
    } else {
        bdrv_inc_in_flight(bs);
        qemu_mutex_unlock(&node->lock);
        run(node);
        bdrv_graph_co_rdunlock();
        bdrv_dec_in_flight(bs);
    }
    qatomic_dec(&node->workers);
    aio_wait_kick();
}

static void worker_bh(void *opaque)
{
    qemu_coroutine_enter(qemu_coroutine_create(worker, opaque));
}

void gannet_work(GannetNode *node)
{
    if (node->working) {
        wake_worker(node);
        return;
    }
    if (!node->open || must_pause(node)) {
        return;
    }
    node->working = true;
    qatomic_inc(&node->workers);
    aio_bh_schedule_oneshot(bdrv_get_aio_context(node->bs), worker_bh, node);
}


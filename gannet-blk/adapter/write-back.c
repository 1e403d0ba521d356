/*
 * A secondary's write-back, and what is said of it
 *
 * Committed data is written to the disk piece by piece; then the disk is
 * flushed, the side file brought up to date, and the primary told. Before the
 * first piece after the disk was a whole state, the side file says durably that
 * it is not any more.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/qapi-events-gannet.h"
#include "qemu/timer.h"
#include "trace.h"
#include "work.h"

/* Write-backs under way: as many as that, or fewer when the guest reads. */
#define WRITE_BACKS 32
#define WRITE_BACKS_POLITE 2
/*
 * And as many bytes as the disk writes in about that time: a VM that stops
 * waits for them. At least one piece of the smaller size.
 */
#define WINDOW_NS (3 * SCALE_MS)
#define MIN_WINDOW (64u << 10)
#define MAX_WINDOW (8u << 20)

/* --- write-back ----------------------------------------------------------- */

static int coroutine_fn GRAPH_RDLOCK
write_piece(GannetNode *node, GannetWriteBack *piece)
{
    QEMUIOVector qiov;

    if (!piece->iov) {
        return bdrv_co_pwrite_zeroes(node->bs->file, piece->offset,
                                     piece->bytes, BDRV_REQ_MAY_UNMAP);
    }
    qemu_iovec_init_external(&qiov, piece->iov, piece->n_iov);
    return bdrv_co_pwritev(node->bs->file, piece->offset, piece->bytes, &qiov,
                           0);
}

void gannet_progress(GannetNode *node)
{
    gannet_wake(node, &node->held);
    qemu_cond_broadcast(&node->changed);
    if (node->write_failed) {
        gannet_wake(node, &node->progress);
    }
}

/* Zeroes take no time worth counting. */
static uint64_t weight(const GannetWriteBack *piece)
{
    return piece->iov ? piece->bytes : MIN(piece->bytes, MIN_WINDOW);
}

/* How long a piece took tells how long all under way take. */
static void adapt(GannetNode *node, int64_t time)
{
    if (time > WINDOW_NS) {
        node->window = MAX(node->window - node->window / 4, MIN_WINDOW);
    } else if (time < WINDOW_NS / 2) {
        node->window = MIN(node->window + MIN_WINDOW, MAX_WINDOW);
    }
}

static void coroutine_fn GRAPH_RDLOCK
write_back_task(GannetNode *node, GannetTask *task)
{
    int64_t start = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
    uint64_t offset = task->piece->offset;
    uint64_t bytes = weight(task->piece);
    int ret;

    ret = write_piece(node, task->piece);
    trace_gannet_write_back(bdrv_get_node_name(node->bs), offset,
                            task->piece->bytes, ret);
    qemu_mutex_lock(&node->lock);
    gannet_store_written_back(node->store, task->piece, ret >= 0);
    node->n_write_backs--;
    node->write_backs++;
    node->in_flight -= bytes;
    adapt(node, qemu_clock_get_ns(QEMU_CLOCK_REALTIME) - start);
    gannet_busy_end(node, &task->busy);
    if (ret < 0 && !node->write_failed) {
        node->write_failed = true;
        gannet_fail(node, "Write-back at %" PRIu64 " failed: %s", offset,
                    strerror(-ret));
    }
    gannet_progress(node);
    qemu_mutex_unlock(&node->lock);
}

static bool is_partial(const GannetNode *node)
{
    return gannet_side_file_state(node->side)->partial;
}

static void set_partial(GannetNode *node)
{
    GannetSideState state = *gannet_side_file_state(node->side);

    state.partial = true;
    gannet_side_set(node, &state);
}

/* Write-back gives way to the guest's reads, unless memory is short. */
static unsigned write_back_limit(const GannetNode *node)
{
    GannetStoreStats stats;

    if (!node->n_holes) {
        return WRITE_BACKS;
    }
    gannet_store_stats(node->store, &stats);
    return stats.used > stats.limit / 2 ? WRITE_BACKS : WRITE_BACKS_POLITE;
}

static bool may_write_back(GannetNode *node)
{
    return node->store && node->writable && !node->write_failed &&
           !gannet_store_is_clean(node->store) &&
           node->n_write_backs < write_back_limit(node) &&
           (!node->in_flight || node->in_flight + MIN_WINDOW <= node->window);
}

GannetTask *gannet_next_write_back(GannetNode *node)
{
    GannetWriteBack *piece;
    uint64_t room;
    GannetTask *task;

    if (!may_write_back(node) ||
        gannet_side_file_durable(node->side) < node->write_after) {
        return NULL;
    }
    if (!is_partial(node)) {
        set_partial(node);
        return NULL;
    }
    room = MAX(node->window - MIN(node->in_flight, node->window), MIN_WINDOW);
    piece = gannet_store_write_back(node->store, MIN(room, GANNET_PIECE));
    if (!piece) {
        return NULL;
    }
    task = gannet_task_new(write_back_task);
    task->busy.offset = piece->offset;
    task->busy.bytes = piece->bytes;
    task->busy.use = GANNET_USE_WRITE_BACK;
    if (!gannet_busy_try(node, &task->busy)) {
        /* A guest's request is in the way: when it has ended. */
        gannet_store_written_back(node->store, piece, FALSE);
        g_free(task);
        return NULL;
    }
    task->piece = piece;
    node->in_flight += weight(piece);
    node->n_write_backs++;
    return task;
}

/* --- the side file -------------------------------------------------------- */

static void coroutine_fn GRAPH_RDLOCK
side_task(GannetNode *node, GannetTask *task)
{
    int ret;

    qemu_mutex_lock(&node->lock);
    ret = gannet_side_sync(node, node->write_after);
    if (ret < 0 && !node->write_failed) {
        node->write_failed = true;
        gannet_fail(node, "'metadata' cannot be written: %s", strerror(-ret));
        gannet_progress(node);
    }
    node->siding = false;
    qemu_mutex_unlock(&node->lock);
}

GannetTask *gannet_next_side(GannetNode *node)
{
    GannetTask *task;

    if (node->siding || node->write_failed ||
        gannet_side_file_durable(node->side) >= node->write_after) {
        return NULL;
    }
    node->siding = true;
    task = gannet_task_new(side_task);
    return task;
}

/* --- reporting what is durable -------------------------------------------- */

/*
 * After a flush: what the side file can say of the disk now. @clean: nothing
 * was left to be written when the flush began, nor is now.
 */
static void note_durable(GannetNode *node, uint64_t mark, bool clean)
{
    GannetSideState state = *gannet_side_file_state(node->side);
    GannetSecondaryStats stats;

    gannet_secondary_stats(node->secondary, &stats);
    if (mark && stats.pair && mark >= stats.pair_mark &&
        state.pair != stats.pair) {
        state.pair = stats.pair;
        state.generation = node->generation;
        gannet_side_file_settle_all(node->side);
    }
    if (clean && node->whole && !gannet_has_early(node)) {
        state.partial = false;
        state.term = stats.term;
        state.epoch = stats.applied;
    }
    gannet_side_file_set(node->side, &state);
}

static void end_takeover(GannetNode *node)
{
    if (node->taken_over && gannet_store_is_clean(node->store) &&
        !is_partial(node)) {
        uint64_t time = qemu_clock_get_ns(QEMU_CLOCK_REALTIME) -
                        node->taken_over;

        node->taken_over = 0;
        qapi_event_send_gannet_written_back(bdrv_get_node_name(node->bs),
                                            time);
        replication_notify();
    }
}

static void coroutine_fn GRAPH_RDLOCK
flush_task(GannetNode *node, GannetTask *task)
{
    uint64_t connections, write_backs;
    bool clean;
    int ret;

    qemu_mutex_lock(&node->lock);
    connections = node->connections;
    write_backs = node->write_backs;
    clean = gannet_store_is_clean(node->store);
    qemu_mutex_unlock(&node->lock);
    ret = bdrv_co_flush(node->bs->file->bs);
    qemu_mutex_lock(&node->lock);
    if (connections != node->connections) {
        task->mark = 0; /* it was another connection's */
    }
    if (ret >= 0) {
        note_durable(node, task->mark,
                     clean && gannet_store_is_clean(node->store) &&
                     write_backs == node->write_backs);
        ret = gannet_side_sync(node, gannet_side_file_change(node->side));
        gannet_side_tidy(node);
    }
    if (ret < 0) {
        node->write_failed = true;
        gannet_fail(node, "The disk cannot be flushed: %s", strerror(-ret));
        gannet_progress(node);
    } else {
        if (task->mark && connections == node->connections) {
            gannet_secondary_durable(node->secondary, task->mark);
            gannet_link_kick(node);
        }
        end_takeover(node);
        gannet_wake(node, &node->progress);
    }
    node->flushing = false;
    qemu_mutex_unlock(&node->lock);
}

/* The disk has everything: the side file can say so, once it is flushed. */
static bool ends_partial(const GannetNode *node)
{
    return gannet_store_is_clean(node->store) &&
           (node->taken_over || (is_partial(node) && node->whole &&
                                 !gannet_has_early(node)));
}

GannetTask *gannet_next_flush(GannetNode *node)
{
    uint64_t mark;
    GannetTask *task;

    if (!node->store || node->flushing || node->write_failed ||
        !node->writable) {
        return NULL;
    }
    mark = gannet_secondary_flush_due(node->secondary);
    if (!mark && !ends_partial(node)) {
        return NULL;
    }
    node->flushing = true;
    task = gannet_task_new(flush_task);
    task->mark = mark;
    return task;
}

/*
 * What a primary reads of its disk: to copy, to compare
 *
 * And the end of it: both disks have everything, flushed, so the write-intent
 * log can speak of this peer, and need not speak of what both have.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/qapi-events-gannet.h"
#include "qemu/cutils.h"
#include "qemu/memalign.h"
#include "qemu/timer.h"
#include "work.h"

#include <xxhash.h>

#define COPIES 4
/* How often marks are taken back, which costs a flush. */
#define SETTLE_NS (10 * NANOSECONDS_PER_SECOND)

/* --- comparing ------------------------------------------------------------ */

/* Read a range as @layer sees it, into a buffer that the caller frees. */
static int coroutine_fn GRAPH_RDLOCK
read_range(GannetNode *node, GannetLayer layer, const GannetRange *range,
           void **buffer)
{
    QEMUIOVector qiov;
    int ret;

    *buffer = qemu_try_blockalign(node->bs->file->bs, range->bytes);
    if (!*buffer) {
        return -ENOMEM;
    }
    qemu_iovec_init_buf(&qiov, *buffer, range->bytes);
    ret = node->store ?
          gannet_read(node, layer, range->offset, range->bytes, &qiov) :
          bdrv_co_preadv(node->bs->file, range->offset, range->bytes, &qiov,
                         0);
    return ret < 0 ? ret : 0;
}

static int coroutine_fn GRAPH_RDLOCK
hash_range(GannetNode *node, GannetLayer layer, const GannetRange *range,
           uint8_t hash[16])
{
    void *buffer;
    int ret = read_range(node, layer, range, &buffer);

    if (ret >= 0) {
        XXH128_canonicalFromHash((XXH128_canonical_t *)hash,
                                 XXH3_128bits(buffer, range->bytes));
    }
    qemu_vfree(buffer);
    return ret;
}

static void coroutine_fn GRAPH_RDLOCK
answer_task(GannetNode *node, GannetTask *task)
{
    uint8_t hash[16];
    int ret;

    ret = hash_range(node, GANNET_PVM, &task->range, hash);
    qemu_mutex_lock(&node->lock);
    if (node->question && node->question->number == task->mark) {
        gannet_secondary_verified(node->secondary, &node->question->message,
                                  ret < 0 || memcmp(node->question->hash,
                                                    hash, sizeof(hash)));
        node->question->answered = true;
        gannet_link_kick(node);
        qemu_cond_broadcast(&node->changed);
    }
    qemu_mutex_unlock(&node->lock);
}

GannetTask *gannet_next_answer(GannetNode *node)
{
    GannetQuestion *question = node->question;
    GannetTask *task;

    if (!question || question->taken) {
        return NULL;
    }
    question->taken = true;
    task = gannet_task_new(answer_task);
    task->mark = question->number;
    task->range.offset = question->message.offset;
    task->range.bytes = question->message.bytes;
    return task;
}

static void coroutine_fn GRAPH_RDLOCK
ask_task(GannetNode *node, GannetTask *task)
{
    GannetBusy busy = {
        .offset = task->range.offset,
        .bytes = task->range.bytes,
        .use = GANNET_USE_COPY,
    };
    uint8_t hash[16];
    int ret;

    qemu_mutex_lock(&node->lock);
    gannet_busy_begin(node, &busy);
    qemu_mutex_unlock(&node->lock);
    ret = hash_range(node, GANNET_COMMITTED, &task->range, hash);
    qemu_mutex_lock(&node->lock);
    if (ret < 0) {
        gannet_primary_hash_failed(node->primary);
    } else {
        gannet_primary_hashed(node->primary, &task->range, hash);
    }
    gannet_busy_end(node, &busy);
    gannet_link_kick(node);
    qemu_mutex_unlock(&node->lock);
}

GannetTask *gannet_next_ask(GannetNode *node)
{
    GannetRange range;
    GannetTask *task;

    if (!gannet_primary_verify_next(node->primary, &range)) {
        return NULL;
    }
    task = gannet_task_new(ask_task);
    task->range = range;
    return task;
}

/* --- copying -------------------------------------------------------------- */

/* @data stays NULL if the range is all zero. */
static int coroutine_fn GRAPH_RDLOCK
copy_range(GannetNode *node, const GannetRange *range, GBytes **data)
{
    void *buffer;
    int ret = read_range(node, GANNET_COMMITTED, range, &buffer);

    *data = NULL;
    if (ret < 0 || buffer_is_zero(buffer, range->bytes)) {
        qemu_vfree(buffer);
        return ret;
    }
    *data = g_bytes_new_with_free_func(buffer, range->bytes, qemu_vfree,
                                       buffer);
    return 0;
}

static void coroutine_fn GRAPH_RDLOCK
copy_task(GannetNode *node, GannetTask *task)
{
    g_autoptr(GBytes) data = NULL;
    GannetBusy busy = {
        .offset = task->range.offset,
        .bytes = task->range.bytes,
        .use = GANNET_USE_COPY,
    };
    int ret;

    qemu_mutex_lock(&node->lock);
    gannet_busy_begin(node, &busy);
    qemu_mutex_unlock(&node->lock);
    ret = copy_range(node, &task->range, &data);
    qemu_mutex_lock(&node->lock);
    if (ret < 0) {
        g_autofree char *why = g_strdup_printf(
            "the disk cannot be read at %" PRIu64 ": %s", task->range.offset,
            strerror(-ret));

        gannet_primary_copy_failed(node->primary, &task->range);
        gannet_link_break(node, why);
    } else {
        gannet_primary_copied(node->primary, &task->range, data);
    }
    node->n_copies--;
    gannet_busy_end(node, &busy);
    gannet_link_kick(node);
    qemu_mutex_unlock(&node->lock);
}

GannetTask *gannet_next_copy(GannetNode *node)
{
    GannetRange range;
    GannetTask *task;

    if (node->n_copies == COPIES ||
        !gannet_primary_copy_next(node->primary, GANNET_PIECE, &range)) {
        return NULL;
    }
    node->n_copies++;
    task = gannet_task_new(copy_task);
    task->range = range;
    return task;
}

/* --- taking back marks ---------------------------------------------------- */

/*
 * What both disks have, flushed, need not be marked. A write that reached
 * neither list, before or after the flush, was made during it, and the side
 * file keeps what was marked or written of late.
 */
static void coroutine_fn GRAPH_RDLOCK
settle_task(GannetNode *node, GannetTask *task)
{
    g_autoptr(GannetRegions) pending = gannet_regions_new(
        node->size, gannet_side_file_granularity(node->side));
    int ret;

    qemu_mutex_lock(&node->lock);
    gannet_primary_pending(node->primary, pending);
    gannet_busy_writes(node, pending);
    qemu_mutex_unlock(&node->lock);
    ret = bdrv_co_flush(node->bs->file->bs);
    qemu_mutex_lock(&node->lock);
    if (ret >= 0 &&
        gannet_primary_state(node->primary) != GANNET_PRIMARY_ALONE) {
        gannet_primary_pending(node->primary, pending);
        gannet_busy_writes(node, pending);
        gannet_side_file_settle(node->side, pending);
        gannet_side_tidy(node);
    }
    node->flushing = false;
    qemu_mutex_unlock(&node->lock);
}

GannetTask *gannet_next_settle(GannetNode *node)
{
    int64_t now = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
    GannetTask *task;

    if (!node->settle || node->flushing || now - node->settled < SETTLE_NS) {
        return NULL;
    }
    node->settle = false;
    node->settled = now;
    node->flushing = true;
    task = gannet_task_new(settle_task);
    return task;
}

/* --- in step -------------------------------------------------------------- */

static void mark_pending(GannetNode *node)
{
    g_autoptr(GannetRegions) pending = gannet_regions_new(
        node->size, gannet_side_file_granularity(node->side));
    GannetRange run = { 0, 0 };

    gannet_primary_pending(node->primary, pending);
    gannet_busy_writes(node, pending);
    while (gannet_regions_next(pending, run.offset + run.bytes, UINT64_MAX,
                               &run)) {
        gannet_side_file_mark(node->side, run.offset, run.bytes);
    }
}

/* Still in step with the same peer. */
static bool is_same(const GannetNode *node, const GannetTask *task)
{
    return gannet_primary_state(node->primary) == GANNET_PRIMARY_SYNCED &&
           gannet_primary_pair(node->primary) == task->mark;
}

/*
 * The peer has everything, flushed. When this disk has, too, the write-intent
 * log can speak of this peer: marks first, then the name of the pair.
 */
static void coroutine_fn GRAPH_RDLOCK
pair_task(GannetNode *node, GannetTask *task)
{
    GannetSideState state;
    GannetPrimaryStats stats;
    int ret;

    qemu_mutex_lock(&node->lock);
    mark_pending(node);
    qemu_mutex_unlock(&node->lock);
    ret = bdrv_co_flush(node->bs->file->bs);
    qemu_mutex_lock(&node->lock);
    if (ret < 0) {
        gannet_link_break(node, "the disk cannot be flushed");
    } else if (is_same(node, task)) {
        mark_pending(node);
        state = *gannet_side_file_state(node->side);
        state.pair = gannet_primary_pair(node->primary);
        gannet_side_set(node, &state);
        ret = gannet_side_sync(node, node->write_after);
        gannet_side_tidy(node);
    }
    if (ret < 0) {
        gannet_link_break(node, "'metadata' cannot be written");
    } else if (is_same(node, task)) {
        node->in_step = true;
        gannet_primary_stats(node->primary, &stats);
        qapi_event_send_gannet_synced(bdrv_get_node_name(node->bs),
                                      stats.copy_done);
    }
    node->flushing = false;
    qemu_mutex_unlock(&node->lock);
}

GannetTask *gannet_next_pair(GannetNode *node)
{
    GannetTask *task;

    if (!node->pairing || node->flushing) {
        return NULL;
    }
    node->pairing = false;
    node->flushing = true;
    task = gannet_task_new(pair_task);
    task->mark = gannet_primary_pair(node->primary);
    return task;
}

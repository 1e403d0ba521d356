/*
 * What goes on in the background
 *
 * One coroutine in the node's AioContext looks for work and runs it in tasks,
 * several at a time; it ends when there is none, and gannet_work() starts it
 * anew. In order of importance:
 *
 * - the side file's pages that write-back waits for;
 * - reporting what has been written back: flush, side file, mark;
 * - answering a comparison;
 * - write-back of a secondary's committed data;
 * - copying and comparing for a primary;
 * - freeing memory, early commit, taking back marks of the write-intent log.
 *
 * Before the first write-back after the disk was a whole state, the side file
 * says durably that it is not any more.
 *
 * A drained section ends all of it, except where a request waits for
 * write-back, which drain in turn waits for.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-events-gannet.h"
#include "qemu/cutils.h"
#include "qemu/error-report.h"
#include "qemu/memalign.h"
#include "qemu/timer.h"
#include "node.h"
#include "trace.h"

#include <xxhash.h>

#define TASKS 48
#define PIECE (1u << 20)
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
#define COPIES 4
/* Blocks looked at between two looks at the other work. */
#define TEND_BLOCKS 512
#define EARLY_BLOCKS 64
/* How often marks are taken back, which costs a flush. */
#define SETTLE_NS (10 * NANOSECONDS_PER_SECOND)

typedef struct Task Task;

struct Task {
    GannetNode *node;
    void coroutine_fn GRAPH_RDLOCK_PTR (*run)(GannetNode *node, Task *task);
    GannetWriteBack *piece;
    GannetBusy busy;
    GannetRange range;
    uint64_t mark; /* or the number of a question, or a pair */
};

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
    Task *task = opaque;
    GannetNode *node = task->node;

    assume_graph_lock(); /* the worker has it */
    task->run(node, task);
    g_free(task);
    qemu_mutex_lock(&node->lock);
    node->n_tasks--;
    wake_worker(node);
    qemu_mutex_unlock(&node->lock);
}

static Task *new_task(void coroutine_fn GRAPH_RDLOCK_PTR
                      (*run)(GannetNode *node, Task *task))
{
    Task *task = g_new0(Task, 1);

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

/* After a write-back: who may have waited for it? */
static void progress(GannetNode *node)
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
write_back_task(GannetNode *node, Task *task)
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
    progress(node);
    qemu_mutex_unlock(&node->lock);
}

static bool is_partial(const GannetNode *node)
{
    return gannet_side_file_state(node->side)->partial;
}

static void set_partial(GannetNode *node, bool partial)
{
    GannetSideState state = *gannet_side_file_state(node->side);

    state.partial = partial;
    gannet_side_file_set(node->side, &state);
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

static Task *next_write_back(GannetNode *node)
{
    GannetWriteBack *piece;
    uint64_t room;
    Task *task;

    if (!may_write_back(node) ||
        gannet_side_file_durable(node->side) < node->write_after) {
        return NULL;
    }
    if (!is_partial(node)) {
        set_partial(node, true);
        node->write_after = gannet_side_file_change(node->side);
        return NULL;
    }
    room = MAX(node->window - MIN(node->in_flight, node->window), MIN_WINDOW);
    piece = gannet_store_write_back(node->store, MIN(room, PIECE));
    if (!piece) {
        return NULL;
    }
    task = new_task(write_back_task);
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
side_task(GannetNode *node, Task *task)
{
    int ret;

    qemu_mutex_lock(&node->lock);
    ret = gannet_side_sync(node, node->write_after);
    if (ret < 0 && !node->write_failed) {
        node->write_failed = true;
        gannet_fail(node, "'metadata' cannot be written: %s", strerror(-ret));
        progress(node);
    }
    node->siding = false;
    qemu_mutex_unlock(&node->lock);
}

static Task *next_side(GannetNode *node)
{
    Task *task;

    if (node->siding || node->write_failed ||
        gannet_side_file_durable(node->side) >= node->write_after) {
        return NULL;
    }
    node->siding = true;
    task = new_task(side_task);
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
flush_task(GannetNode *node, Task *task)
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
        progress(node);
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

static Task *next_flush(GannetNode *node)
{
    uint64_t mark;
    Task *task;

    if (!node->store || node->flushing || node->write_failed ||
        !node->writable) {
        return NULL;
    }
    mark = gannet_secondary_flush_due(node->secondary);
    if (!mark && !ends_partial(node)) {
        return NULL;
    }
    node->flushing = true;
    task = new_task(flush_task);
    task->mark = mark;
    return task;
}

/* --- comparing ------------------------------------------------------------ */

static int coroutine_fn GRAPH_RDLOCK
hash_range(GannetNode *node, GannetLayer layer, const GannetRange *range,
           uint8_t hash[16])
{
    QEMUIOVector qiov;
    void *buffer;
    int ret;

    buffer = qemu_try_blockalign(node->bs->file->bs, range->bytes);
    if (!buffer) {
        return -ENOMEM;
    }
    qemu_iovec_init_buf(&qiov, buffer, range->bytes);
    ret = node->store ?
          gannet_read(node, layer, range->offset, range->bytes, &qiov) :
          bdrv_co_preadv(node->bs->file, range->offset, range->bytes, &qiov,
                         0);
    if (ret >= 0) {
        XXH128_canonicalFromHash((XXH128_canonical_t *)hash,
                                 XXH3_128bits(buffer, range->bytes));
    }
    qemu_vfree(buffer);
    return ret < 0 ? ret : 0;
}

static void coroutine_fn GRAPH_RDLOCK
answer_task(GannetNode *node, Task *task)
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

static Task *next_answer(GannetNode *node)
{
    GannetQuestion *question = node->question;
    Task *task;

    if (!question || question->taken) {
        return NULL;
    }
    question->taken = true;
    task = new_task(answer_task);
    task->mark = question->number;
    task->range.offset = question->message.offset;
    task->range.bytes = question->message.bytes;
    return task;
}

static void coroutine_fn GRAPH_RDLOCK
ask_task(GannetNode *node, Task *task)
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

static Task *next_ask(GannetNode *node)
{
    GannetRange range;
    Task *task;

    if (!gannet_primary_verify_next(node->primary, &range)) {
        return NULL;
    }
    task = new_task(ask_task);
    task->range = range;
    return task;
}

/* --- copying -------------------------------------------------------------- */

static int coroutine_fn GRAPH_RDLOCK
copy_range(GannetNode *node, const GannetRange *range, GBytes **data)
{
    QEMUIOVector qiov;
    void *buffer;
    int ret;

    *data = NULL;
    buffer = qemu_try_blockalign(node->bs->file->bs, range->bytes);
    if (!buffer) {
        return -ENOMEM;
    }
    qemu_iovec_init_buf(&qiov, buffer, range->bytes);
    ret = node->store ?
          gannet_read(node, GANNET_COMMITTED, range->offset, range->bytes,
                      &qiov) :
          bdrv_co_preadv(node->bs->file, range->offset, range->bytes, &qiov,
                         0);
    if (ret < 0 || buffer_is_zero(buffer, range->bytes)) {
        qemu_vfree(buffer);
        return ret < 0 ? ret : 0;
    }
    *data = g_bytes_new_with_free_func(buffer, range->bytes, qemu_vfree,
                                       buffer);
    return 0;
}

static void coroutine_fn GRAPH_RDLOCK
copy_task(GannetNode *node, Task *task)
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

static Task *next_copy(GannetNode *node)
{
    GannetRange range;
    Task *task;

    if (node->n_copies == COPIES ||
        !gannet_primary_copy_next(node->primary, PIECE, &range)) {
        return NULL;
    }
    node->n_copies++;
    task = new_task(copy_task);
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
settle_task(GannetNode *node, Task *task)
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

static Task *next_settle(GannetNode *node)
{
    int64_t now = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
    Task *task;

    if (!node->settle || node->flushing || now - node->settled < SETTLE_NS) {
        return NULL;
    }
    node->settle = false;
    node->settled = now;
    node->flushing = true;
    task = new_task(settle_task);
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
static bool is_same(const GannetNode *node, const Task *task)
{
    return gannet_primary_state(node->primary) == GANNET_PRIMARY_SYNCED &&
           gannet_primary_pair(node->primary) == task->mark;
}

/*
 * The peer has everything, flushed. When this disk has, too, the write-intent
 * log can speak of this peer: marks first, then the name of the pair.
 */
static void coroutine_fn GRAPH_RDLOCK
pair_task(GannetNode *node, Task *task)
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
        gannet_side_file_set(node->side, &state);
        node->write_after = gannet_side_file_change(node->side);
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

static Task *next_pair(GannetNode *node)
{
    Task *task;

    if (!node->pairing || node->flushing) {
        return NULL;
    }
    node->pairing = false;
    node->flushing = true;
    task = new_task(pair_task);
    task->mark = gannet_primary_pair(node->primary);
    return task;
}

/* --- the worker ----------------------------------------------------------- */

static Task *next_task(GannetNode *node)
{
    static Task *(*const next[])(GannetNode *) = {
        next_side, next_flush, next_answer, next_write_back, next_side,
        next_pair, next_ask, next_copy, next_settle,
    };

    for (size_t i = 0; i < ARRAY_SIZE(next); i++) {
        Task *task = next[i](node);

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
        progress(node);
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
        Task *task = NULL;
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

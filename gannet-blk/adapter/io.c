/*
 * Requests of the guest
 *
 * A primary's write: wait until the queue has room and no other write of the
 * range is under way; mark the region in the write-intent log if it is not;
 * copy the data, since the guest may change it meanwhile; write the copy to
 * the disk; hand the copy to the queue. A write that fails on the way leaves
 * the range to be copied again.
 *
 * A secondary's write goes to memory, its reads come from there, and from the
 * disk where no layer has anything. Such a read must not see what is written
 * back later, so write-back stays away from its range.
 *
 * After a takeover: as a primary, but what is written is newer than what the
 * layers have, which is forgotten; and a flush waits for write-back.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/memalign.h"
#include "qemu/timer.h"
#include "node.h"
#include "trace.h"

/* --- ranges --------------------------------------------------------------- */

void gannet_wake(GannetNode *node, CoQueue *queue)
{
    CoQueue woken;

    /* Who must wait again is not woken again. */
    qemu_co_queue_init(&woken);
    QSIMPLEQ_CONCAT(&woken.entries, &queue->entries);
    qemu_co_enter_all(&woken, &node->lock);
}

static bool conflict(GannetUse a, GannetUse b)
{
    static const unsigned with[] = {
        [GANNET_USE_WRITE] = 1u << GANNET_USE_WRITE |
                             1u << GANNET_USE_WRITE_BACK |
                             1u << GANNET_USE_COPY,
        [GANNET_USE_HOLE] = 1u << GANNET_USE_WRITE_BACK,
        [GANNET_USE_WRITE_BACK] = 1u << GANNET_USE_WRITE |
                                  1u << GANNET_USE_HOLE |
                                  1u << GANNET_USE_WRITE_BACK,
        [GANNET_USE_COPY] = 1u << GANNET_USE_WRITE,
    };

    return with[a] & 1u << b;
}

bool gannet_busy_try(GannetNode *node, GannetBusy *busy)
{
    GannetBusy *other;

    QLIST_FOREACH(other, &node->busy, next) {
        if (conflict(busy->use, other->use) &&
            other->offset < busy->offset + busy->bytes &&
            busy->offset < other->offset + other->bytes) {
            return false;
        }
    }
    QLIST_INSERT_HEAD(&node->busy, busy, next);
    return true;
}

void coroutine_fn gannet_busy_begin(GannetNode *node, GannetBusy *busy)
{
    while (!gannet_busy_try(node, busy)) {
        qemu_co_queue_wait(&node->unused, &node->lock);
    }
}

void gannet_busy_end(GannetNode *node, GannetBusy *busy)
{
    QLIST_REMOVE(busy, next);
    gannet_wake(node, &node->unused);
    if (node->store && !gannet_store_is_clean(node->store)) {
        gannet_work(node); /* write-back may have been in its way */
    }
}

void gannet_busy_writes(const GannetNode *node, GannetRegions *regions)
{
    const GannetBusy *busy;

    QLIST_FOREACH(busy, &node->busy, next) {
        if (busy->use == GANNET_USE_WRITE) {
            gannet_regions_add(regions, busy->offset, busy->bytes);
        }
    }
}

/* --- waiting for room ----------------------------------------------------- */

static void coroutine_fn hold(GannetNode *node)
{
    int64_t start = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
    uint64_t time;

    if (!node->n_held++) {
        node->held_since = start;
        gannet_link_watch(node);
    }
    node->held_ever++;
    trace_gannet_hold(bdrv_get_node_name(node->bs));
    gannet_work(node);
    qemu_co_queue_wait(&node->held, &node->lock);
    time = qemu_clock_get_ns(QEMU_CLOCK_REALTIME) - start;
    node->held_max = MAX(node->held_max, time);
    if (!--node->n_held) {
        node->held_since = 0;
    }
}

/* --- reading -------------------------------------------------------------- */

/* Read the holes with one request, and keep of it what belongs to them. */
static int coroutine_fn GRAPH_RDLOCK
read_holes(GannetNode *node, uint64_t offset, QEMUIOVector *qiov,
           const GArray *holes)
{
    const GannetRange *first = &g_array_index(holes, GannetRange, 0);
    const GannetRange *last = &g_array_index(holes, GannetRange,
                                             holes->len - 1);
    uint64_t bytes = last->offset + last->bytes - first->offset;
    uint8_t *buffer;
    int ret;

    if (holes->len == 1) {
        return bdrv_co_preadv_part(node->bs->file, first->offset, bytes, qiov,
                                   first->offset - offset, 0);
    }
    buffer = qemu_try_blockalign(node->bs->file->bs, bytes);
    if (!buffer) {
        return -ENOMEM;
    }
    ret = bdrv_co_pread(node->bs->file, first->offset, bytes, buffer, 0);
    for (guint i = 0; ret >= 0 && i < holes->len; i++) {
        const GannetRange *hole = &g_array_index(holes, GannetRange, i);

        qemu_iovec_from_buf(qiov, hole->offset - offset,
                            buffer + (hole->offset - first->offset),
                            hole->bytes);
    }
    qemu_vfree(buffer);
    return ret;
}

int coroutine_fn GRAPH_RDLOCK
gannet_read(GannetNode *node, GannetLayer layer, uint64_t offset,
            uint64_t bytes, QEMUIOVector *qiov)
{
    g_autoptr(GArray) holes = g_array_new(FALSE, FALSE, sizeof(GannetRange));
    g_autofree GannetBusy *busy = NULL;
    int ret;

    qemu_mutex_lock(&node->lock);
    gannet_store_read(node->store, layer, offset, bytes, qiov->iov,
                      qiov->niov, holes);
    if (!holes->len) {
        qemu_mutex_unlock(&node->lock);
        return 0;
    }
    /* What is being written back is in a layer still, so it is no hole. */
    busy = g_new0(GannetBusy, holes->len);
    for (guint i = 0; i < holes->len; i++) {
        busy[i].offset = g_array_index(holes, GannetRange, i).offset;
        busy[i].bytes = g_array_index(holes, GannetRange, i).bytes;
        busy[i].use = GANNET_USE_HOLE;
        QLIST_INSERT_HEAD(&node->busy, &busy[i], next);
    }
    node->n_holes++;
    qemu_mutex_unlock(&node->lock);

    ret = read_holes(node, offset, qiov, holes);

    qemu_mutex_lock(&node->lock);
    node->n_holes--;
    for (guint i = 1; i < holes->len; i++) {
        QLIST_REMOVE(&busy[i], next);
    }
    gannet_busy_end(node, &busy[0]);
    qemu_mutex_unlock(&node->lock);
    return ret < 0 ? ret : 0;
}

/* The disk is not, or not as a whole, what the guest believes. */
static bool is_unusable(const GannetNode *node)
{
    GannetSecondaryState state = gannet_node_state(node);

    return node->unusable || ((state == GANNET_SECONDARY_IDLE ||
                               state == GANNET_SECONDARY_FOLLOWING) &&
                              gannet_is_mixture(node));
}

/* Which layers stand above the disk, if any. */
static bool layered(GannetNode *node, GannetLayer *layer)
{
    GannetSecondaryState state = gannet_node_state(node);

    *layer = state == GANNET_SECONDARY_EPOCHS ? GANNET_SVM : GANNET_COMMITTED;
    return node->store && (state == GANNET_SECONDARY_EPOCHS ||
                           !gannet_store_is_clean(node->store));
}

int coroutine_fn GRAPH_RDLOCK
gannet_co_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes,
                 QEMUIOVector *qiov, BdrvRequestFlags flags)
{
    GannetNode *node = gannet_node(bs);
    bool over, unusable;
    GannetLayer layer;

    qemu_mutex_lock(&node->lock);
    over = layered(node, &layer);
    unusable = is_unusable(node);
    qemu_mutex_unlock(&node->lock);
    if (unusable) {
        return -EIO;
    }
    return over ? gannet_read(node, layer, offset, bytes, qiov) :
                  bdrv_co_preadv(bs->file, offset, bytes, qiov, flags);
}

/* --- writing to memory ---------------------------------------------------- */

/*
 * @qiov NULL: zeroes. With the lock held. Sets @again if it was held back: the
 * node may be something else now.
 */
static int coroutine_fn write_memory(GannetNode *node, uint64_t offset,
                                     uint64_t bytes, QEMUIOVector *qiov,
                                     bool *again)
{
    g_autoptr(GError) error = NULL;
    GannetVerdict verdict;

    verdict = gannet_secondary_write(node->secondary, offset, bytes,
                                     qiov ? qiov->iov : NULL,
                                     qiov ? qiov->niov : 0,
                                     node->quiesced > 0, &error);
    if (gannet_secondary_has_message(node->secondary)) {
        gannet_link_kick(node);
    }
    if (verdict == GANNET_WAIT) {
        hold(node);
        *again = true;
        return 0;
    }
    if (verdict == GANNET_ERROR) {
        gannet_fail(node, "A write of the guest failed: %s", error->message);
        return -ENOSPC;
    }
    gannet_work(node);
    return 0;
}

/* --- writing through ------------------------------------------------------ */

typedef struct Write {
    GannetBusy busy;
    QEMUIOVector *qiov; /* NULL: zeroes */
    BdrvRequestFlags flags;
    uint64_t admitted;
    GBytes *copy;       /* NULL: zeroes, or nobody wants it */
} Write;

/* A crash from now on must not lose that the peer may lack the range. */
static int coroutine_fn GRAPH_RDLOCK
mark(GannetNode *node, const GannetBusy *busy)
{
    if (!gannet_side_file_state(node->side)->pair &&
        gannet_primary_state(node->primary) == GANNET_PRIMARY_ALONE) {
        return 0;
    }
    if (gannet_side_file_marked(node->side, busy->offset, busy->bytes)) {
        return 0;
    }
    gannet_side_file_mark(node->side, busy->offset, busy->bytes);
    return gannet_side_sync(node, gannet_side_file_change(node->side));
}

static int coroutine_fn GRAPH_RDLOCK
prepare(GannetNode *node, Write *write)
{
    int ret;

    /* In this order: who copies a range has room already. */
    write->admitted = write->qiov ? write->busy.bytes : 0;
    while (!gannet_primary_admit(node->primary, write->admitted,
                                 node->quiesced > 0)) {
        hold(node);
    }
    gannet_busy_begin(node, &write->busy);
    /* Not before it is durable that this disk goes a way of its own. */
    ret = gannet_side_file_durable(node->side) < node->write_after ?
          gannet_side_sync(node, node->write_after) : 0;
    return ret < 0 ? ret : mark(node, &write->busy);
}

static int coroutine_fn GRAPH_RDLOCK write_disk(GannetNode *node, Write *write)
{
    uint64_t offset = write->busy.offset;
    uint64_t bytes = write->busy.bytes;
    uint8_t *buffer;

    if (!write->qiov) {
        return bdrv_co_pwrite_zeroes(node->bs->file, offset, bytes,
                                     write->flags);
    }
    if (!write->copy) {
        return bdrv_co_pwritev(node->bs->file, offset, bytes, write->qiov,
                               write->flags);
    }
    buffer = (uint8_t *)g_bytes_get_data(write->copy, NULL);
    return bdrv_co_pwrite(node->bs->file, offset, bytes, buffer,
                          write->flags);
}

static bool copy_data(GannetNode *node, Write *write)
{
    size_t bytes = write->busy.bytes;
    void *buffer = qemu_try_blockalign(node->bs->file->bs, bytes);

    if (!buffer) {
        return false;
    }
    qemu_iovec_to_buf(write->qiov, 0, buffer, bytes);
    write->copy = g_bytes_new_with_free_func(buffer, bytes, qemu_vfree,
                                             buffer);
    return true;
}

static void coroutine_fn finish(GannetNode *node, Write *write, int ret)
{
    uint64_t offset = write->busy.offset;
    uint64_t bytes = write->busy.bytes;

    if (ret < 0 || (write->qiov && !write->copy &&
                           gannet_primary_state(node->primary) !=
                           GANNET_PRIMARY_ALONE)) {
        /* What the disk has there is not known, or was not kept. */
        gannet_primary_failed(node->primary, offset, bytes, write->admitted);
        gannet_work(node);
    } else {
        gannet_primary_written(node->primary, offset, bytes, write->admitted,
                               write->copy);
    }
    /* To cut a range of zeroes takes memory, which write-back will free. */
    while (ret >= 0 && node->store &&
           !gannet_store_forget(node->store, offset, bytes)) {
        hold(node);
    }
    gannet_link_kick(node);
    gannet_busy_end(node, &write->busy);
}

/* Something that the guest takes for written is in memory only. */
static bool is_unsettled(const GannetNode *node)
{
    return node->taken_over ||
           (gannet_node_state(node) == GANNET_SECONDARY_IDLE && node->store &&
            node->writable && node->whole &&
            (!gannet_store_is_clean(node->store) ||
             gannet_side_file_state(node->side)->partial));
}

/* Wait until it is on the disk. */
static int coroutine_fn settle(GannetNode *node)
{
    int ret = 0;

    if (!is_unsettled(node)) {
        return 0;
    }
    node->write_failed = false;
    node->n_flushing++;
    while (is_unsettled(node) && !ret) {
        gannet_work(node);
        qemu_co_queue_wait(&node->progress, &node->lock);
        ret = node->write_failed ? -EIO : 0;
    }
    node->n_flushing--;
    return ret;
}

/* With the lock held, which is dropped meanwhile. */
static int coroutine_fn GRAPH_RDLOCK
write_through(GannetNode *node, uint64_t offset, uint64_t bytes,
              QEMUIOVector *qiov, BdrvRequestFlags flags)
{
    Write write = {
        .busy = { .offset = offset, .bytes = bytes, .use = GANNET_USE_WRITE },
        .qiov = qiov,
        .flags = flags,
    };
    bool mirrored;
    int ret;

    node->guest_wrote = true;
    ret = prepare(node, &write);
    mirrored = gannet_primary_state(node->primary) != GANNET_PRIMARY_ALONE;
    qemu_mutex_unlock(&node->lock);
    if (ret >= 0 && qiov && mirrored && !copy_data(node, &write)) {
        ret = -ENOMEM;
    }
    if (ret >= 0) {
        ret = write_disk(node, &write);
    }
    qemu_mutex_lock(&node->lock);
    finish(node, &write, ret);
    g_clear_pointer(&write.copy, g_bytes_unref);
    if (ret >= 0 && (flags & BDRV_REQ_FUA)) {
        /* It is no use on a disk that cannot be used without the rest. */
        ret = settle(node);
    }
    return ret;
}

/* --- the driver's functions ----------------------------------------------- */

static int coroutine_fn GRAPH_RDLOCK
write_request(BlockDriverState *bs, int64_t offset, int64_t bytes,
              QEMUIOVector *qiov, BdrvRequestFlags flags)
{
    GannetNode *node = gannet_node(bs);
    bool again;
    int ret;

    qemu_mutex_lock(&node->lock);
    do {
        again = false;
        switch (gannet_node_state(node)) {
        case GANNET_SECONDARY_FOLLOWING:
            ret = -EROFS; /* the disk is the primary's to write */
            break;
        case GANNET_SECONDARY_EPOCHS:
            ret = write_memory(node, offset, bytes, qiov, &again);
            break;
        default:
            ret = is_unusable(node) ? -EIO :
                  write_through(node, offset, bytes, qiov, flags);
            break;
        }
    } while (again);
    qemu_mutex_unlock(&node->lock);
    return ret;
}

int coroutine_fn GRAPH_RDLOCK
gannet_co_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes,
                  QEMUIOVector *qiov, BdrvRequestFlags flags)
{
    return write_request(bs, offset, bytes, qiov, flags);
}

int coroutine_fn GRAPH_RDLOCK
gannet_co_pwrite_zeroes(BlockDriverState *bs, int64_t offset, int64_t bytes,
                        BdrvRequestFlags flags)
{
    return write_request(bs, offset, bytes, NULL, flags);
}

/*
 * What a disk holds after a discard is its own affair, but both sides must
 * hold the same: zeroes, or else nothing happens, which is allowed, too. A
 * disk that cannot do it is not asked again, as it may have done half of it,
 * which is then copied.
 */
int coroutine_fn GRAPH_RDLOCK
gannet_co_pdiscard(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    GannetNode *node = gannet_node(bs);
    const BlockLimits *limits = &bs->file->bs->bl;
    int64_t align = MAX(MAX(limits->pwrite_zeroes_alignment,
                            limits->pdiscard_alignment), GANNET_SECTOR);
    int64_t start = QEMU_ALIGN_UP(offset, align);
    int64_t end = offset + bytes;
    int ret;

    /* As disks do: what is not aligned stays as it is. */
    end = end == node->size ? end : QEMU_ALIGN_DOWN(end, align);
    if (qatomic_read(&node->no_discard) || start >= end) {
        return -ENOTSUP;
    }
    ret = write_request(bs, start, end - start, NULL,
                        BDRV_REQ_MAY_UNMAP | BDRV_REQ_NO_FALLBACK);
    if (ret == -ENOTSUP) {
        qatomic_set(&node->no_discard, true);
    }
    return ret;
}

int coroutine_fn GRAPH_RDLOCK gannet_co_flush(BlockDriverState *bs)
{
    GannetNode *node = gannet_node(bs);
    bool memory;
    int ret = 0;

    qemu_mutex_lock(&node->lock);
    memory = gannet_node_state(node) == GANNET_SECONDARY_EPOCHS;
    ret = settle(node);
    qemu_mutex_unlock(&node->lock);
    /* A secondary's disk has nothing of its guest's yet. */
    return ret < 0 || memory ? ret : bdrv_co_flush(bs->file->bs);
}

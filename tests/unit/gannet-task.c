/*
 * Tasks of a replica in tests of GANNET
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "gannet-task.h"

#define PIECE (1u << 20)
#define WRITE_BACKS 3
#define COPIES 3

static unsigned below(unsigned end)
{
    return g_test_rand_int_range(0, end);
}

GannetTask *gannet_task_new(GannetReplica *replica, GannetTaskKind kind)
{
    GannetTask *task = g_new0(GannetTask, 1);

    task->kind = kind;
    task->connection = replica->connection;
    g_ptr_array_add(replica->tasks, task);
    return task;
}

void gannet_task_free(GannetTask *task)
{
    g_clear_pointer(&task->data, g_bytes_unref);
    g_clear_pointer(&task->pending, gannet_regions_free);
    g_free(task->image);
    g_free(task->seen);
    g_free(task);
}

gboolean gannet_task_is_writing(const GannetTask *task)
{
    return task->kind == GANNET_TASK_WRITE_BACK ||
           (task->kind == GANNET_TASK_WRITE &&
            task->phase == GANNET_WRITE_DISK);
}

static gboolean has_room(const GannetReplica *replica, GannetTaskKind kind,
                         unsigned most)
{
    for (guint i = 0; i < replica->tasks->len; i++) {
        const GannetTask *task = g_ptr_array_index(replica->tasks, i);

        most -= task->kind == kind;
        if (most == 0) {
            return FALSE;
        }
    }
    return TRUE;
}

/* --- ranges --------------------------------------------------------------- */

static gboolean conflict(GannetTaskKind a, GannetTaskKind b)
{
    gboolean writes = a == GANNET_TASK_WRITE || b == GANNET_TASK_WRITE;
    gboolean backs = a == GANNET_TASK_WRITE_BACK &&
                     b == GANNET_TASK_WRITE_BACK;

    /* Reading does not exclude reading, nor write-back, which is in a layer. */
    return writes || backs;
}

gboolean gannet_task_hold(const GannetReplica *replica, GannetTask *task)
{
    for (guint i = 0; i < replica->tasks->len; i++) {
        const GannetTask *other = g_ptr_array_index(replica->tasks, i);

        if (other != task && other->holds &&
            conflict(task->kind, other->kind) &&
            other->range.offset < task->range.offset + task->range.bytes &&
            task->range.offset < other->range.offset + other->range.bytes) {
            return FALSE;
        }
    }
    task->holds = TRUE;
    return TRUE;
}

/* --- the disk ------------------------------------------------------------- */

void gannet_task_flush_begin(GannetReplica *replica, GannetTask *task)
{
    task->flush = ++replica->flush;
    g_free(task->image);
    task->image = gannet_image_new(replica->layout);
    gannet_image_copy(replica->layout, task->image, replica->disk);
}

void gannet_task_flush_end(GannetReplica *replica, const GannetTask *task)
{
    if (task->flush > replica->flushed) {
        replica->flushed = task->flush;
        gannet_image_copy(replica->layout, replica->durable, task->image);
    }
}

GBytes *gannet_task_fill(const GannetRange *range, uint64_t number)
{
    uint64_t *data = g_malloc(range->bytes);

    for (uint64_t i = 0; i < range->bytes / sizeof(number); i++) {
        data[i] = number;
    }
    return g_bytes_new_take(data, range->bytes);
}

const void *gannet_task_bytes(GBytes *data)
{
    return data ? g_bytes_get_data(data, NULL) : NULL;
}

/*
 * What the guest or write-back has written: as bytes, so that what is not
 * inside of a window is seen not to be zero.
 */
void gannet_task_put(GannetReplica *replica, uint64_t *image,
                     const GannetTask *task)
{
    if (task->kind == GANNET_TASK_WRITE) {
        g_autoptr(GBytes) data = task->number ?
            gannet_task_fill(&task->range, task->number) : NULL;

        gannet_image_put(replica->layout, image, task->range.offset,
                         task->range.bytes, gannet_task_bytes(data));
    } else {
        gannet_image_put(replica->layout, image, task->range.offset,
                         task->range.bytes, gannet_task_bytes(task->data));
    }
}

uint64_t gannet_task_number(const GannetReplica *replica,
                            const GannetTask *task, unsigned sector)
{
    uint64_t offset = gannet_layout_offset(replica->layout, sector);

    if (offset < task->range.offset ||
        offset >= task->range.offset + task->range.bytes) {
        return replica->disk[sector];
    }
    if (task->kind == GANNET_TASK_WRITE) {
        return task->number;
    }
    return !task->data ? 0 : gannet_sector_number(
        (const uint8_t *)gannet_task_bytes(task->data) +
        (offset - task->range.offset));
}

void gannet_task_tear(GannetReplica *replica, const GannetTask *task)
{
    for (unsigned i = 0; i < replica->layout->sectors; i++) {
        if (below(2)) {
            replica->disk[i] = gannet_task_number(replica, task, i);
        }
    }
}

/* --- write-back ----------------------------------------------------------- */

static void set_partial(GannetReplica *replica)
{
    GannetSideState state = *gannet_side_file_state(replica->side);

    state.partial = TRUE;
    gannet_side_file_set(replica->side, &state);
    replica->write_after = gannet_side_file_change(replica->side);
}

static GBytes *gather(const GannetWriteBack *piece)
{
    GByteArray *data;

    if (!piece->iov) {
        return NULL;
    }
    data = g_byte_array_sized_new(piece->bytes);
    for (int i = 0; i < piece->n_iov; i++) {
        g_byte_array_append(data, piece->iov[i].iov_base,
                            piece->iov[i].iov_len);
    }
    g_assert_cmpuint(data->len, ==, piece->bytes);
    return g_byte_array_free_to_bytes(data);
}

static gboolean begin_write_back(GannetReplica *replica)
{
    GannetWriteBack *piece;
    GannetTask *task;

    if (gannet_store_is_clean(replica->store) ||
        !has_room(replica, GANNET_TASK_WRITE_BACK, WRITE_BACKS) ||
        gannet_side_file_durable(replica->side) < replica->write_after) {
        return FALSE;
    }
    if (!gannet_side_file_state(replica->side)->partial) {
        set_partial(replica);
        return TRUE;
    }
    piece = gannet_store_write_back(replica->store,
                                    below(2) ? PIECE : 4096);
    if (!piece) {
        return FALSE;
    }
    task = gannet_task_new(replica, GANNET_TASK_WRITE_BACK);
    task->range = (GannetRange) { piece->offset, piece->bytes };
    if (!gannet_task_hold(replica, task)) {
        gannet_store_written_back(replica->store, piece, FALSE);
        g_ptr_array_remove(replica->tasks, task);
        gannet_task_free(task);
        return FALSE;
    }
    task->piece = piece;
    task->data = gather(piece);
    return TRUE;
}

static void step_write_back(GannetReplica *replica, GannetTask *task,
                            gboolean *done)
{
    gboolean written = below(50) > 0;

    if (written) {
        gannet_task_put(replica, replica->disk, task);
    } else {
        gannet_task_tear(replica, task);
    }
    replica->pieces++;
    gannet_store_written_back(replica->store, task->piece, written);
    *done = TRUE;
}

/* --- reporting ------------------------------------------------------------ */

static uint64_t early_blocks(const GannetReplica *replica)
{
    GannetStoreStats stats;

    gannet_store_stats(replica->store, &stats);
    return stats.early;
}

/* Nothing is above the disk, and nothing of an open epoch in it. */
static gboolean is_clean(const GannetReplica *replica)
{
    return gannet_store_is_clean(replica->store) && replica->whole &&
           early_blocks(replica) == replica->early;
}

/* The side file can say that the disk is whole, once it is flushed. */
static gboolean ends_partial(const GannetReplica *replica)
{
    return is_clean(replica) &&
           (replica->taken_over ||
            gannet_side_file_state(replica->side)->partial);
}

static gboolean begin_report(GannetReplica *replica)
{
    uint64_t due = gannet_secondary_flush_due(replica->secondary);
    GannetTask *task;

    if (replica->reporting || (!due && !ends_partial(replica))) {
        return FALSE;
    }
    replica->reporting = TRUE;
    task = gannet_task_new(replica, GANNET_TASK_REPORT);
    task->mark = due;
    task->clean = is_clean(replica);
    task->pieces = replica->pieces;
    gannet_task_flush_begin(replica, task);
    return TRUE;
}

static void note_durable(GannetReplica *replica, const GannetTask *task)
{
    GannetSideState state = *gannet_side_file_state(replica->side);
    GannetSecondaryStats stats;

    gannet_secondary_stats(replica->secondary, &stats);
    if (task->mark && task->connection == replica->connection && stats.pair &&
        task->mark >= stats.pair_mark && state.pair != stats.pair) {
        state.pair = stats.pair;
        gannet_side_file_settle_all(replica->side);
    }
    if (task->clean && is_clean(replica) && task->pieces == replica->pieces) {
        state.partial = FALSE;
        state.term = stats.term;
        state.epoch = stats.applied;
        replica->claims = !replica->taken_over;
        gannet_image_copy(replica->layout, replica->claim, replica->agreed);
    }
    gannet_side_file_set(replica->side, &state);
}

static gboolean step_report(GannetReplica *replica, GannetTask *task,
                            gboolean *done)
{
    if (task->phase == 0) {
        gannet_task_flush_end(replica, task);
        note_durable(replica, task);
        task->change = gannet_side_file_change(replica->side);
        task->phase++;
        return TRUE;
    }
    if (gannet_side_file_durable(replica->side) < task->change) {
        return FALSE;
    }
    if (task->mark && task->connection == replica->connection) {
        gannet_secondary_durable(replica->secondary, task->mark);
    }
    if (gannet_store_is_clean(replica->store) &&
        !gannet_side_file_state(replica->side)->partial) {
        replica->taken_over = FALSE;
    }
    replica->reporting = FALSE;
    *done = TRUE;
    return TRUE;
}

/* --- copying and comparing ------------------------------------------------ */

static gboolean begin_copy(GannetReplica *replica)
{
    GannetRange range;
    GannetTask *task;

    if (!has_room(replica, GANNET_TASK_COPY, COPIES) ||
        !gannet_primary_copy_next(replica->primary, PIECE >> below(4),
                                  &range)) {
        return FALSE;
    }
    task = gannet_task_new(replica, GANNET_TASK_COPY);
    task->range = range;
    return TRUE;
}

static gboolean begin_hash(GannetReplica *replica)
{
    GannetRange range;
    GannetTask *task;

    if (!gannet_primary_verify_next(replica->primary, &range)) {
        return FALSE;
    }
    task = gannet_task_new(replica, GANNET_TASK_HASH);
    task->range = range;
    return TRUE;
}

/* Lock the range, read it, use it. */
static gboolean step_read(GannetReplica *replica, GannetTask *task,
                          gboolean *done)
{
    uint8_t hash[16];

    switch (task->phase) {
    case 0:
        task->phase = gannet_task_hold(replica, task);
        return task->phase;
    case 1:
        task->data = gannet_replica_read(replica, GANNET_COMMITTED,
                                         &task->range);
        task->phase++;
        return TRUE;
    default:
        *done = TRUE;
        break;
    }
    if (task->kind == GANNET_TASK_COPY) {
        gannet_primary_copied(replica->primary, &task->range, task->data);
    } else {
        gannet_replica_hash(task->data, hash);
        gannet_primary_hashed(replica->primary, &task->range, hash);
    }
    return TRUE;
}

/* --- taking back marks ---------------------------------------------------- */

static void add_pending(GannetReplica *replica, GannetTask *task)
{
    gannet_primary_pending(replica->primary, task->pending);
    gannet_replica_under_way(replica, task->pending);
}

static gboolean begin_settle(GannetReplica *replica)
{
    GannetTask *task;

    /* One at a time: the next begins what "lately" means anew. */
    if (!replica->settle || !has_room(replica, GANNET_TASK_SETTLE, 1)) {
        return FALSE;
    }
    replica->settle = FALSE;
    task = gannet_task_new(replica, GANNET_TASK_SETTLE);
    task->pending = gannet_regions_new(replica->layout->size, 64 << 10);
    add_pending(replica, task);
    gannet_task_flush_begin(replica, task);
    return TRUE;
}

static void step_settle(GannetReplica *replica, GannetTask *task,
                        gboolean *done)
{
    gannet_task_flush_end(replica, task);
    if (gannet_primary_state(replica->primary) != GANNET_PRIMARY_ALONE &&
        task->connection == replica->connection) {
        add_pending(replica, task);
        gannet_side_file_settle(replica->side, task->pending);
    }
    *done = TRUE;
}

/* --- a pair --------------------------------------------------------------- */

static void mark_all(GannetReplica *replica, const GannetRegions *regions)
{
    GannetRange run = { 0, 0 };

    while (gannet_regions_next(regions, run.offset + run.bytes, UINT64_MAX,
                               &run)) {
        gannet_side_file_mark(replica->side, run.offset, run.bytes);
    }
}

void gannet_task_pair(GannetReplica *replica)
{
    GannetTask *task = gannet_task_new(replica, GANNET_TASK_PAIR);

    /* They may have begun when there was nobody to be in step with. */
    task->pending = gannet_regions_new(replica->layout->size, 64 << 10);
    gannet_replica_under_way(replica, task->pending);
    mark_all(replica, task->pending);
    gannet_task_flush_begin(replica, task);
}

/* The write-intent log speaks of this peer from now on. */
static void step_pair(GannetReplica *replica, GannetTask *task,
                      gboolean *done)
{
    GannetSideState state = *gannet_side_file_state(replica->side);

    gannet_task_flush_end(replica, task);
    *done = TRUE;
    if (task->connection == replica->connection) {
        add_pending(replica, task);
        mark_all(replica, task->pending);
        state.pair = gannet_primary_pair(replica->primary);
        gannet_side_file_set(replica->side, &state);
        replica->write_after = gannet_side_file_change(replica->side);
    }
}

/* --- all ------------------------------------------------------------------ */

gboolean gannet_task_begin(GannetReplica *replica)
{
    static gboolean (*const begin[])(GannetReplica *) = {
        begin_write_back, begin_report, begin_copy, begin_hash, begin_settle,
    };
    unsigned first = below(G_N_ELEMENTS(begin));

    for (unsigned i = 0; i < G_N_ELEMENTS(begin); i++) {
        if (begin[(first + i) % G_N_ELEMENTS(begin)](replica)) {
            return TRUE;
        }
    }
    return FALSE;
}

static gboolean is_flush(const GannetTask *task)
{
    return task->kind == GANNET_TASK_FLUSH ||
           task->kind == GANNET_TASK_REPORT ||
           task->kind == GANNET_TASK_SETTLE || task->kind == GANNET_TASK_PAIR;
}

gboolean gannet_task_step(GannetReplica *replica, GannetTask *task,
                          gboolean *done)
{
    if (is_flush(task) && !gannet_replica_is_quick(replica)) {
        return FALSE;
    }
    switch (task->kind) {
    case GANNET_TASK_WRITE:
        return gannet_task_step_write(replica, task, done);
    case GANNET_TASK_MEMORY:
        return gannet_task_step_memory(replica, task, done);
    case GANNET_TASK_FLUSH:
        return gannet_task_step_flush(replica, task, done);
    case GANNET_TASK_REPORT:
        return step_report(replica, task, done);
    case GANNET_TASK_COPY:
    case GANNET_TASK_HASH:
        return step_read(replica, task, done);
    case GANNET_TASK_WRITE_BACK:
        step_write_back(replica, task, done);
        return TRUE;
    case GANNET_TASK_SETTLE:
        step_settle(replica, task, done);
        return TRUE;
    case GANNET_TASK_PAIR:
        step_pair(replica, task, done);
        return TRUE;
    }
    g_assert_not_reached();
}

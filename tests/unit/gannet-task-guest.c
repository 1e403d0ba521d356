/*
 * Tasks of a replica in tests of GANNET: what the guest asks for
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "gannet-task.h"

static unsigned below(unsigned end)
{
    return g_test_rand_int_range(0, end);
}

/* Whether the side file has what must be there before the range is written. */
static gboolean mark(GannetReplica *replica, GannetTask *task)
{
    GannetSideFile *side = replica->side;

    if (gannet_side_file_durable(side) < replica->write_after) {
        return FALSE;
    }
    if (!gannet_side_file_state(side)->pair &&
        gannet_primary_state(replica->primary) == GANNET_PRIMARY_ALONE) {
        return TRUE;
    }
    if (!gannet_side_file_marked(side, task->range.offset,
                                 task->range.bytes)) {
        gannet_side_file_mark(side, task->range.offset, task->range.bytes);
        task->change = gannet_side_file_change(side);
    }
    return TRUE;
}

/* What a flush promised does not say what is there after another write. */
static void skip(const GannetReplica *replica, uint64_t *seen,
                 const GannetTask *write)
{
    for (unsigned w = 0; w < replica->layout->windows; w++) {
        unsigned first;
        unsigned n;

        if (gannet_image_part(replica->layout, w, write->range.offset,
                              write->range.bytes, &first, &n)) {
            for (unsigned i = first; i < first + n; i++) {
                seen[i] = GANNET_REWRITTEN;
            }
        }
    }
}

static void skip_for_flushes(const GannetReplica *replica,
                             const GannetTask *write)
{
    for (guint i = 0; i < replica->tasks->len; i++) {
        const GannetTask *task = g_ptr_array_index(replica->tasks, i);

        if (task->kind == GANNET_TASK_FLUSH) {
            skip(replica, task->seen, write);
        }
    }
}

void gannet_task_flush(GannetReplica *replica)
{
    GannetTask *flush = gannet_task_new(replica, GANNET_TASK_FLUSH);

    flush->seen = gannet_image_new(replica->layout);
    gannet_image_copy(replica->layout, flush->seen, replica->model);
    for (guint i = 0; i < replica->tasks->len; i++) {
        const GannetTask *task = g_ptr_array_index(replica->tasks, i);

        if (task->kind == GANNET_TASK_WRITE) {
            skip(replica, flush->seen, task);
        }
    }
}

/* The local write fails: what is there now is anybody's guess. */
static void fail_write(GannetReplica *replica, GannetTask *task)
{
    gannet_task_tear(replica, task);
    skip_for_flushes(replica, task);
    for (unsigned w = 0; w < replica->layout->windows; w++) {
        unsigned first;
        unsigned n;

        if (gannet_image_part(replica->layout, w, task->range.offset,
                              task->range.bytes, &first, &n)) {
            memcpy(replica->model + first, replica->disk + first,
                   n * sizeof(uint64_t));
        }
    }
    gannet_primary_failed(replica->primary, task->range.offset,
                          task->range.bytes,
                          task->number ? task->range.bytes : 0);
    replica->failed = TRUE;
}

static void complete_write(GannetReplica *replica, GannetTask *task)
{
    g_autoptr(GBytes) data = task->number ?
        gannet_task_fill(&task->range, task->number) : NULL;
    uint64_t admitted = data ? task->range.bytes : 0;

    gannet_task_put(replica, replica->model, task);
    if (data && !task->mirrored &&
        gannet_primary_state(replica->primary) != GANNET_PRIMARY_ALONE) {
        /* No copy was made of what was written. */
        gannet_primary_failed(replica->primary, task->range.offset,
                              task->range.bytes, admitted);
    } else {
        gannet_primary_written(replica->primary, task->range.offset,
                               task->range.bytes, admitted, data);
    }
}

gboolean gannet_task_step_write(GannetReplica *replica, GannetTask *task,
                                gboolean *done)
{
    switch (task->phase) {
    case GANNET_WRITE_ADMIT:
        /* Before the range: a copy that has room may wait for that. */
        if (!gannet_primary_admit(replica->primary,
                                  task->number ? task->range.bytes : 0,
                                  replica->stopped)) {
            return FALSE;
        }
        break;
    case GANNET_WRITE_HOLD:
        if (!gannet_task_hold(replica, task)) {
            return FALSE;
        }
        break;
    case GANNET_WRITE_MARK:
        if (!mark(replica, task)) {
            return FALSE;
        }
        break;
    case GANNET_WRITE_MARKED:
        if (gannet_side_file_durable(replica->side) < task->change) {
            return FALSE;
        }
        task->mirrored = gannet_primary_state(replica->primary) !=
                         GANNET_PRIMARY_ALONE;
        break;
    case GANNET_WRITE_DISK:
        if (task->slow && !replica->hurry && below(500)) {
            return FALSE;
        }
        if (below(200) == 0 && !replica->taken_over) {
            fail_write(replica, task);
            *done = TRUE;
            return TRUE;
        }
        gannet_task_put(replica, replica->disk, task);
        skip_for_flushes(replica, task);
        break;
    default:
        if (!gannet_store_forget(replica->store, task->range.offset,
                                 task->range.bytes)) {
            return FALSE;
        }
        complete_write(replica, task);
        *done = TRUE;
        return TRUE;
    }
    task->phase++;
    return TRUE;
}

gboolean gannet_task_step_memory(GannetReplica *replica, GannetTask *task,
                                 gboolean *done)
{
    g_autoptr(GBytes) data = task->number ?
        gannet_task_fill(&task->range, task->number) : NULL;
    struct iovec iov = { (void *)gannet_task_bytes(data), task->range.bytes };
    g_autoptr(GError) error = NULL;
    GannetVerdict verdict;

    if (replica->guest == GANNET_GUEST_OWN) {
        /* It waited for memory when this side took over. */
        task->kind = GANNET_TASK_WRITE;
        return TRUE;
    }
    verdict = gannet_secondary_write(replica->secondary, task->range.offset,
                                     task->range.bytes, data ? &iov : NULL,
                                     1, replica->stopped, &error);
    g_assert_no_error(error);
    if (verdict == GANNET_WAIT) {
        return FALSE;
    }
    gannet_image_put(replica->layout, replica->model, task->range.offset,
                     task->range.bytes, gannet_task_bytes(data));
    *done = TRUE;
    return TRUE;
}

/* What the guest saw when it asked is there, unless it wrote there since. */
gboolean gannet_task_step_flush(GannetReplica *replica, GannetTask *task,
                                gboolean *done)
{
    if (replica->taken_over && task->phase == 0) {
        return FALSE;
    }
    if (task->phase++ == 0) {
        gannet_task_flush_begin(replica, task);
    } else {
        gannet_task_flush_end(replica, task);
        for (unsigned i = 0; i < replica->layout->sectors; i++) {
            g_assert_true(task->seen[i] == GANNET_REWRITTEN ||
                          task->seen[i] == replica->durable[i]);
        }
        *done = TRUE;
    }
    return TRUE;
}

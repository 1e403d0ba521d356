/*
 * The storage: what was ordered, in batches, in the order given
 *
 * The queue holds batches and saves. What is appended joins the last batch as
 * long as that has not been begun, so that one write serves many orders; of
 * saves that follow each other only the last is made. A save waits for the
 * batches before it, and a batch for the save before it, so what is on disk is
 * always what was ordered up to some point.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <stdlib.h>
#include <string.h>

#include "../core/bytes.h"
#include "storage-internal.h"

/* Work of which the memory is kept for later. */
#define IDLE_MAX 4

static Work *new_work(ApusStorage *storage, WorkKind kind, uint64_t ticket)
{
    Work *work = kind == WORK_BATCH ? g_queue_pop_head(&storage->idle) : NULL;
    uint8_t *memory = work ? work->memory : NULL;

    if (!work) {
        work = g_new(Work, 1);
    }
    if (!memory && kind == WORK_BATCH) {
        memory = aligned_alloc(APUS_BLOCK, APUS_BATCH_MAX);
        g_assert(memory);
    }
    *work = (Work) { .kind = kind, .ticket = ticket, .memory = memory };
    g_queue_push_tail(&storage->queue, work);
    return work;
}

static void free_work(Work *work)
{
    free(work->memory);
    g_free(work);
}

static Work *pop_work(ApusStorage *storage)
{
    Work *work = g_queue_pop_head(&storage->queue);

    storage->backlog -= work->batch.bytes;
    return work;
}

static void retire(ApusStorage *storage, Work *work)
{
    if (work->kind == WORK_BATCH && storage->idle.length < IDLE_MAX) {
        g_queue_push_head(&storage->idle, work);
    } else {
        free_work(work);
    }
}

/* --- ordering ------------------------------------------------------------- */

void apus_orders_kick_at(ApusStorage *storage, uint64_t when)
{
    apus_timer_set(storage->kick, when);
}

static void kick_later(ApusStorage *storage)
{
    /* In the loop's next round: in this one, messages go out first. */
    apus_orders_kick_at(storage, 1);
}

void apus_storage_save(ApusStorage *storage, uint64_t ticket,
                       const ApusHardState *state)
{
    Work *work = g_queue_peek_tail(&storage->queue);

    if (storage->failure) {
        return;
    }
    if (!work || work->kind != WORK_SAVE ||
        (storage->saving && storage->queue.length == 1)) {
        work = new_work(storage, WORK_SAVE, ticket);
    }
    work->ticket = ticket;
    work->state = *state;
    kick_later(storage);
}

static size_t record_size(const uint8_t *record)
{
    return APUS_RECORD_HEADER + (size_t)apus_get32(record + 8);
}

/* The last batch, if it has not been begun and goes on with @first. */
static Work *open_batch(ApusStorage *storage, uint64_t first)
{
    Work *work = g_queue_peek_tail(&storage->queue);

    if (work && work->kind == WORK_BATCH && !work->segment &&
        work->next == first) {
        return work;
    }
    work = new_work(storage, WORK_BATCH, 0);
    work->batch.first = work->next = first;
    work->batch.digest = APUS_DIGEST_NONE;
    return work;
}

/* Copy records from @data, as many as fit @work; returns their bytes. */
static size_t add_records(ApusStorage *storage, Work *work,
                          const uint8_t *data, size_t size)
{
    size_t used = APUS_BATCH_HEADER + work->batch.bytes;
    size_t taken = 0;

    while (taken < size) {
        size_t record = record_size(data + taken);

        g_assert(record <= size - taken);
        if (used + taken + record > APUS_BATCH_MAX) {
            break;
        }
        work->batch.digest = apus_batch_digest(work->batch.digest,
                                               data + taken);
        work->batch.count++;
        work->next++;
        taken += record;
    }
    if (taken > 0) {
        memcpy(work->memory + used, data, taken);
    }
    work->batch.bytes += taken;
    storage->backlog += taken;
    return taken;
}

void apus_storage_append(ApusStorage *storage, uint64_t ticket, uint64_t first,
                         const ApusRecords *records)
{
    Work *work;

    if (storage->failure) {
        return;
    }
    g_assert(storage->durability == APUS_DURABILITY_DISK && first >= 1);
    work = open_batch(storage, first);
    for (unsigned i = 0; i < G_N_ELEMENTS(records->size); i++) {
        const uint8_t *data = records->data[i];
        size_t left = records->size[i];

        while (left > 0) {
            size_t taken = add_records(storage, work, data, left);

            data += taken;
            left -= taken;
            if (left > 0) {
                Work *full = work;

                work = new_work(storage, WORK_BATCH, 0);
                work->batch.first = work->next = full->next;
                work->batch.digest = APUS_DIGEST_NONE;
            }
        }
    }
    work->ticket = ticket;
    kick_later(storage);
}

void apus_storage_trim(ApusStorage *storage, uint64_t index)
{
    storage->trim = MAX(storage->trim, index);
    apus_segments_tend(storage);
}

size_t apus_storage_backlog(const ApusStorage *storage)
{
    return storage->backlog;
}

/* --- carrying out --------------------------------------------------------- */

static gboolean begin_batch(ApusStorage *storage, Work *work)
{
    size_t used = APUS_BATCH_HEADER + work->batch.bytes;

    work->size = apus_batch_size(work->batch.bytes);
    if (!apus_segments_place(storage, work)) {
        return FALSE;
    }
    work->batch.sequence = ++storage->sequence;
    work->batch.safe = storage->safe;
    apus_batch_put(work->memory, &work->batch, work->segment->nonce);
    memset(work->memory + used, 0, work->size - used);
    storage->under_way++;
    apus_commit_write(storage, work);
    return TRUE;
}

void apus_orders_kick(ApusStorage *storage)
{
    while (!storage->failure && !storage->saving) {
        Work *work = g_queue_peek_nth(&storage->queue, storage->under_way);

        if (!work) {
            return;
        }
        if (work->kind == WORK_SAVE) {
            if (storage->under_way > 0 || storage->slot_busy) {
                return;
            }
            storage->saving = TRUE;
            apus_slots_save(storage, &work->state);
        } else if (storage->under_way == DEPTH ||
                   !begin_batch(storage, work)) {
            return;
        }
    }
}

void apus_orders_written(ApusStorage *storage)
{
    Work *work;

    while (storage->under_way > 0 &&
           (work = g_queue_peek_head(&storage->queue))->written) {
        Segment *segment = work->segment;

        pop_work(storage);
        storage->under_way--;
        storage->safe = work->batch.sequence;
        segment->sequence = work->batch.sequence;
        segment->newest = MAX(segment->newest, work->next - 1);
        storage->ticket = MAX(storage->ticket, work->ticket);
        retire(storage, work);
    }
    apus_slots_mark(storage, FALSE);
    apus_orders_kick(storage);
    apus_segments_written(storage);
    apus_storage_full(storage);
    apus_storage_tell(storage);
}

void apus_orders_saved(ApusStorage *storage)
{
    Work *work = pop_work(storage);

    g_assert(storage->saving && work->kind == WORK_SAVE);
    storage->saving = FALSE;
    storage->ticket = MAX(storage->ticket, work->ticket);
    retire(storage, work);
}

gboolean apus_orders_wait_for_segment(const ApusStorage *storage)
{
    const Work *work = g_queue_peek_nth((GQueue *)&storage->queue,
                                        storage->under_way);

    return work && work->kind == WORK_BATCH &&
           storage->under_way < DEPTH && !storage->saving;
}

gboolean apus_orders_found_full(const ApusStorage *storage)
{
    for (GList *item = storage->queue.head; item; item = item->next) {
        const Work *work = item->data;

        if (work->full) {
            return TRUE;
        }
    }
    return FALSE;
}

void apus_orders_free(ApusStorage *storage)
{
    g_queue_clear_full(&storage->queue, (GDestroyNotify)free_work);
    g_queue_clear_full(&storage->idle, (GDestroyNotify)free_work);
}

/*
 * The storage: hard state in two slots
 *
 * A state is safe when it stands in one slot. It is written where the older of
 * the two stands, so that a write that is torn leaves the newer. As soon as
 * nothing else is to be written the other place gets the same, so that damage
 * to one of them never brings an older vote back.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <inttypes.h>
#include <stdlib.h>

#include "storage-internal.h"

struct SlotJob {
    ApusJob job;
    ApusStorage *storage;
    const ApusFileOps *files;
    int fd;
    unsigned place;
    gboolean is_order; /* somebody waits for it */
    ApusSlot slot;
    uint8_t *memory;
    int result;
};

gboolean apus_slots_read(const ApusFileOps *files, int fd, ApusSlot *slot,
                         uint64_t sequence[2], GPtrArray *notes,
                         GError **errp)
{
    g_autofree char *why = NULL;
    uint8_t *memory = apus_files_memory(APUS_SLOT_SIZE);
    gboolean version = FALSE;
    ApusSlot found;

    sequence[0] = sequence[1] = 0;
    for (unsigned i = 0; i < 2; i++) {
        g_autoptr(GError) error = NULL;
        int result = apus_files_read(files, fd, memory, APUS_SLOT_SIZE,
                                     i * APUS_SLOT_SIZE);

        if (result < 0) {
            g_set_error(&error, APUS_ERROR, APUS_ERROR_CORRUPT,
                        "slot: cannot be read: %s", g_strerror(-result));
        } else if (apus_slot_get(&found, memory, &error)) {
            sequence[i] = found.sequence;
            if (found.sequence > sequence[1 - i]) {
                *slot = found;
            }
            continue;
        }
        version |= error->code == APUS_ERROR_VERSION;
        g_free(why);
        why = g_strdup_printf("state, copy %u: %s", i + 1, error->message);
        if (notes) {
            g_ptr_array_add(notes, g_strdup(why));
        }
    }
    free(memory);
    /* Another version may have written it later: its state counts. */
    if (version || (sequence[0] == 0 && sequence[1] == 0)) {
        g_set_error(errp, APUS_ERROR,
                    version ? APUS_ERROR_VERSION : APUS_ERROR_CORRUPT,
                    "%s", why);
        return FALSE;
    }
    return TRUE;
}

int apus_slots_write_both(const ApusFileOps *files, int fd,
                          const ApusSlot *slot, unsigned first)
{
    uint8_t *memory = apus_files_memory(APUS_SLOT_SIZE);
    int result = 0;

    apus_slot_put(memory, slot);
    for (unsigned i = 0; i < 2 && result == 0; i++) {
        result = apus_files_write(files, fd, memory, APUS_SLOT_SIZE,
                                  (first ^ i) * APUS_SLOT_SIZE, TRUE);
    }
    free(memory);
    return result;
}

static void run(ApusJob *base)
{
    SlotJob *job = (SlotJob *)base;

    apus_slot_put(job->memory, &job->slot);
    job->result = apus_files_write(job->files, job->fd, job->memory,
                                   APUS_SLOT_SIZE,
                                   job->place * APUS_SLOT_SIZE, TRUE);
}

static void done(ApusJob *base)
{
    SlotJob *job = (SlotJob *)base;
    ApusStorage *storage = job->storage;

    storage->slot_running = FALSE;
    if (apus_files_is_full(job->result) && !storage->failure) {
        /* The place exists; a file system that copies on write says this. */
        storage->slot_full = TRUE;
        apus_storage_full(storage);
        return;
    }
    storage->slot_busy = storage->slot_full = FALSE;
    if (storage->failure) {
        return;
    }
    if (job->result < 0) {
        apus_storage_fail(storage, "cannot write the state", job->result);
        return;
    }
    storage->slot_sequence[job->place] = job->slot.sequence;
    storage->base = job->slot.state.base.index;
    if (job->is_order) {
        apus_orders_saved(storage);
    }
    apus_orders_kick(storage);
    apus_segments_tend(storage);
    apus_slots_tend(storage);
    apus_storage_full(storage);
    apus_storage_tell(storage);
}

static void give_job(ApusStorage *storage)
{
    g_assert(!storage->slot_running);
    storage->slot_running = TRUE;
    apus_worker_do(storage->writer, &storage->slot_job->job);
}

static void write_slot(ApusStorage *storage, gboolean is_order)
{
    SlotJob *job = storage->slot_job;

    g_assert(!storage->slot_busy);
    job->place = storage->slot_sequence[0] > storage->slot_sequence[1];
    job->is_order = is_order;
    job->slot = storage->slot;
    storage->slot_busy = TRUE;
    give_job(storage);
}

static void write_new(ApusStorage *storage, gboolean is_order)
{
    storage->slot.sequence++;
    storage->slot.log_safe = storage->safe;
    write_slot(storage, is_order);
}

void apus_slots_save(ApusStorage *storage, const ApusHardState *state)
{
    storage->slot.state = *state;
    write_new(storage, TRUE);
}

void apus_slots_retry(ApusStorage *storage)
{
    if (storage->slot_full && !storage->slot_running) {
        give_job(storage);
    }
}

void apus_slots_tend(ApusStorage *storage)
{
    if (storage->failure || storage->slot_busy) {
        return;
    }
    if (storage->slot_sequence[0] != storage->slot_sequence[1]) {
        write_slot(storage, FALSE);
    } else if (storage->closing && storage->slot.log_safe < storage->safe) {
        write_new(storage, FALSE);
    }
}

static void mark_due(void *opaque)
{
    ApusStorage *storage = opaque;

    storage->mark_set = FALSE;
    if (storage->failure || storage->slot.log_safe >= storage->safe) {
        return;
    }
    if (storage->slot_busy) {
        apus_slots_mark(storage, FALSE);
    } else {
        write_new(storage, FALSE);
    }
}

void apus_slots_mark(ApusStorage *storage, gboolean soon)
{
    uint64_t now = apus_loop_now(storage->loop);

    if (soon || !storage->mark_set) {
        storage->mark_set = TRUE;
        apus_timer_set(storage->mark, soon ? 1 : now + MARK_DELAY);
    }
}

gboolean apus_slots_clean(const ApusStorage *storage)
{
    return !storage->slot_busy &&
           storage->slot_sequence[0] == storage->slot_sequence[1] &&
           storage->slot.log_safe == storage->safe;
}

void apus_slots_start(ApusStorage *storage)
{
    SlotJob *job = g_new0(SlotJob, 1);

    *job = (SlotJob) {
        .job = { .run = run, .done = done },
        .storage = storage,
        .files = storage->files,
        .fd = storage->slots,
        .memory = apus_files_memory(APUS_SLOT_SIZE),
    };
    storage->slot_job = job;
    storage->base = storage->slot.state.base.index;
    storage->mark = apus_loop_timer(storage->loop, mark_due, storage);
}

void apus_slots_free(ApusStorage *storage)
{
    if (storage->slot_job) {
        free(storage->slot_job->memory);
        g_free(storage->slot_job);
    }
}

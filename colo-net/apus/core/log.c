/*
 * The log in memory: a ring of records
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "log.h"
#include "payload.h"

/* One entry. Slots are found by index, so that nothing is searched. */
typedef struct {
    uint64_t position;
    uint64_t term;
    uint32_t length; /* of the payload */
    ApusEntryKind kind;
} Slot;

struct ApusLog {
    uint8_t *ring;
    gboolean own_ring;
    size_t size;
    Slot *slot; /* of entry @index at index & (slots - 1) */
    uint64_t slots;
    uint64_t last;
    uint64_t end; /* position behind the last entry */
    ApusSnapshot base;
    ApusSnapshot newest;
    GArray *marks; /* uint64_t: the indices of all that is not INPUT */
};

ApusLog *apus_log_new(size_t size, uint8_t *ring, const ApusSnapshot *base)
{
    ApusLog *log = g_new0(ApusLog, 1);

    g_assert(size > 0 && (size & (size - 1)) == 0);
    log->own_ring = ring == NULL;
    log->ring = ring ? ring : g_malloc(size);
    log->size = size;
    log->slots = 64;
    log->slot = g_new(Slot, log->slots);
    log->marks = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    apus_log_reset(log, base);
    return log;
}

void apus_log_free(ApusLog *log)
{
    if (!log) {
        return;
    }
    if (log->own_ring) {
        g_free(log->ring);
    }
    g_free(log->slot);
    g_array_unref(log->marks);
    g_free(log);
}

void apus_log_reset(ApusLog *log, const ApusSnapshot *base)
{
    log->base = *base;
    log->newest = *base;
    log->last = base->index;
    log->end = base->position;
    g_array_set_size(log->marks, 0);
}

const ApusSnapshot *apus_log_base(const ApusLog *log)
{
    return &log->base;
}

const ApusSnapshot *apus_log_newest(const ApusLog *log)
{
    return &log->newest;
}

uint64_t apus_log_last_index(const ApusLog *log)
{
    return log->last;
}

uint64_t apus_log_last_term(const ApusLog *log)
{
    return log->newest.term;
}

static Slot *slot_of(const ApusLog *log, uint64_t index)
{
    g_assert(index > log->base.index && index <= log->last);
    return &log->slot[index & (log->slots - 1)];
}

static size_t record_bytes(uint32_t length)
{
    return APUS_RECORD_HEADER + (size_t)length;
}

static uint8_t *place(const ApusLog *log, uint64_t position)
{
    return log->ring + (position & (log->size - 1));
}

/* Where a record of @bytes begins if the one before it ended at @position. */
static uint64_t start_behind(const ApusLog *log, uint64_t position,
                             size_t bytes)
{
    size_t offset = position & (log->size - 1);

    return offset + bytes > log->size ? position + (log->size - offset)
                                      : position;
}

static uint64_t end_of(const Slot *slot)
{
    return slot->position + record_bytes(slot->length);
}

size_t apus_log_bytes(const ApusLog *log, uint64_t first, uint64_t last)
{
    if (first > last) {
        return 0;
    }
    return end_of(slot_of(log, last)) - slot_of(log, first)->position;
}

size_t apus_log_room(const ApusLog *log)
{
    return log->size - (log->end - log->base.position);
}

gboolean apus_log_fits(const ApusLog *log, uint32_t length)
{
    size_t bytes = record_bytes(length);

    return bytes <= log->size &&
           start_behind(log, log->end, bytes) + bytes - log->base.position <=
               log->size;
}

gboolean apus_log_term(const ApusLog *log, uint64_t index, uint64_t *term)
{
    if (index == log->base.index) {
        *term = log->base.term;
        return TRUE;
    }
    if (index < log->base.index || index > log->last) {
        return FALSE;
    }
    *term = slot_of(log, index)->term;
    return TRUE;
}

void apus_log_get(const ApusLog *log, uint64_t index, ApusEntry *entry)
{
    const Slot *slot = slot_of(log, index);

    *entry = (ApusEntry) {
        .kind = slot->kind,
        .term = slot->term,
        .index = index,
        .payload = place(log, slot->position) + APUS_RECORD_HEADER,
        .length = slot->length,
    };
}

uint64_t apus_log_records(const ApusLog *log, uint64_t first, uint64_t last,
                          size_t max_bytes, ApusRecords *records)
{
    uint64_t index;
    size_t total = 0;
    int piece = 0;

    *records = (ApusRecords) { .data = { NULL } };
    for (index = first; index <= last; index++) {
        const Slot *slot = slot_of(log, index);
        const uint8_t *record = place(log, slot->position);
        size_t bytes = record_bytes(slot->length);

        if (total > 0 && total + bytes > max_bytes) {
            break;
        }
        if (total > 0 &&
            record != records->data[piece] + records->size[piece]) {
            g_assert(piece == 0); /* the ring has one end */
            piece = 1;
        }
        if (records->size[piece] == 0) {
            records->data[piece] = record;
        }
        records->size[piece] += bytes;
        total += bytes;
    }
    return index - 1;
}

/* Let @snapshot go on to the entry behind its own. */
static void follow(ApusSnapshot *snapshot, const ApusEntry *entry)
{
    ApusSync sync;
    gboolean good = TRUE;

    snapshot->index = entry->index;
    snapshot->term = entry->term;
    switch (entry->kind) {
    case APUS_ENTRY_INPUT:
        break;
    case APUS_ENTRY_ROLE:
        good = apus_role_decode(&snapshot->role, entry->payload, entry->length,
                                NULL);
        break;
    case APUS_ENTRY_MEMBER:
        good = apus_members_decode(&snapshot->members, entry->payload,
                                   entry->length, NULL);
        break;
    case APUS_ENTRY_SYNC:
        good = apus_sync_decode(&sync, entry->payload, entry->length, NULL);
        snapshot->epoch = sync.epoch;
        break;
    }
    g_assert(good);
}

gboolean apus_log_valid(const ApusEntry *entry)
{
    ApusSync sync;
    ApusRole role;
    ApusMembers members;

    switch (entry->kind) {
    case APUS_ENTRY_INPUT:
        return TRUE;
    case APUS_ENTRY_ROLE:
        return apus_role_decode(&role, entry->payload, entry->length, NULL);
    case APUS_ENTRY_MEMBER:
        return apus_members_decode(&members, entry->payload, entry->length,
                                   NULL);
    case APUS_ENTRY_SYNC:
        return apus_sync_decode(&sync, entry->payload, entry->length, NULL);
    }
    return FALSE;
}

/* The snapshot at @from, gone on to @index, which is not before it. */
static void follow_to(const ApusLog *log, ApusSnapshot *snapshot,
                      uint64_t index)
{
    ApusEntry entry;

    if (snapshot->index == index) {
        return;
    }
    for (guint i = 0; i < log->marks->len; i++) {
        uint64_t mark = g_array_index(log->marks, uint64_t, i);

        if (mark > index) {
            break;
        }
        if (mark > snapshot->index) {
            apus_log_get(log, mark, &entry);
            follow(snapshot, &entry);
        }
    }
    snapshot->index = index;
    snapshot->term = slot_of(log, index)->term;
    snapshot->position = end_of(slot_of(log, index));
}

void apus_log_snapshot(const ApusLog *log, uint64_t index,
                       ApusSnapshot *snapshot)
{
    g_assert(index >= log->base.index && index <= log->last);
    if (index == log->last) {
        *snapshot = log->newest;
        return;
    }
    *snapshot = log->base;
    follow_to(log, snapshot, index);
}

uint64_t apus_log_newest_of(const ApusLog *log, ApusEntryKind kind)
{
    for (guint i = log->marks->len; i > 0; i--) {
        uint64_t mark = g_array_index(log->marks, uint64_t, i - 1);

        if (slot_of(log, mark)->kind == kind) {
            return mark;
        }
    }
    return 0;
}

/* The table has to hold one more entry. */
static void grow(ApusLog *log)
{
    uint64_t slots = log->slots * 2;
    Slot *slot;

    if (log->last - log->base.index < log->slots) {
        return;
    }
    slot = g_new(Slot, slots);
    for (uint64_t i = log->base.index + 1; i <= log->last; i++) {
        slot[i & (slots - 1)] = log->slot[i & (log->slots - 1)];
    }
    g_free(log->slot);
    log->slot = slot;
    log->slots = slots;
}

/* Make an entry the last; returns where its record belongs. */
static uint8_t *add(ApusLog *log, const ApusEntry *entry)
{
    size_t bytes = record_bytes(entry->length);
    uint64_t position = start_behind(log, log->end, bytes);

    grow(log);
    log->last++;
    log->end = position + bytes;
    log->slot[log->last & (log->slots - 1)] = (Slot) {
        .position = position,
        .term = entry->term,
        .length = entry->length,
        .kind = entry->kind,
    };
    follow(&log->newest, entry);
    log->newest.position = log->end;
    if (entry->kind != APUS_ENTRY_INPUT) {
        g_array_append_val(log->marks, log->last);
    }
    return place(log, position);
}

gboolean apus_log_append(ApusLog *log, ApusEntryKind kind, uint64_t term,
                         const uint8_t *payload, uint32_t length)
{
    ApusEntry entry = {
        .kind = kind,
        .term = term,
        .index = log->last + 1,
        .payload = payload,
        .length = length,
    };

    if (!apus_log_fits(log, length)) {
        return FALSE;
    }
    apus_record_put(add(log, &entry), &entry);
    return TRUE;
}

gboolean apus_log_append_record(ApusLog *log, const ApusEntry *entry,
                                const uint8_t *record, size_t size)
{
    g_assert(entry->index == log->last + 1);
    g_assert(size == record_bytes(entry->length));
    if (!apus_log_fits(log, entry->length)) {
        return FALSE;
    }
    memcpy(add(log, entry), record, size);
    return TRUE;
}

void apus_log_cut(ApusLog *log, uint64_t first)
{
    g_assert(first > log->base.index);
    if (first > log->last) {
        return;
    }
    log->last = first - 1;
    while (log->marks->len > 0 &&
           g_array_index(log->marks, uint64_t, log->marks->len - 1) >= first) {
        g_array_set_size(log->marks, log->marks->len - 1);
    }
    log->newest = log->base;
    follow_to(log, &log->newest, log->last);
    log->end = log->newest.position;
}

void apus_log_trim(ApusLog *log, uint64_t last)
{
    ApusSnapshot base;
    guint gone = 0;

    g_assert(last <= log->last);
    if (last <= log->base.index) {
        return;
    }
    apus_log_snapshot(log, last, &base);
    log->base = base;
    while (gone < log->marks->len &&
           g_array_index(log->marks, uint64_t, gone) <= last) {
        gone++;
    }
    if (gone > 0) {
        g_array_remove_range(log->marks, 0, gone);
    }
}

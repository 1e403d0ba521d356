/*
 * Recovery: what the log says, from its segments as they are found
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <inttypes.h>

#include "bytes.h"
#include "recovery.h"

/* An entry that is kept. */
typedef struct {
    size_t at; /* where its record stands */
    uint64_t term;
} Kept;

struct ApusRecovery {
    ApusSlot slot;
    uint64_t sequence; /* of the newest batch that counts; 0: none yet */
    uint64_t claim; /* batches up to here were safe */
    gboolean traces; /* of batches that do not count */
    uint64_t used, broken; /* newest segments: with batches; without header */
    uint64_t low, high; /* indices that the batches have; high < low: none */
    GArray *kept; /* Kept, of consecutive entries up to high */
    GByteArray *records;
};

ApusRecovery *apus_recovery_new(const ApusSlot *slot)
{
    ApusRecovery *recovery = g_new0(ApusRecovery, 1);

    recovery->slot = *slot;
    recovery->claim = slot->log_safe;
    recovery->low = 1;
    recovery->kept = g_array_new(FALSE, FALSE, sizeof(Kept));
    recovery->records = g_byte_array_new();
    return recovery;
}

void apus_recovery_free(ApusRecovery *recovery)
{
    if (recovery) {
        g_array_unref(recovery->kept);
        g_byte_array_unref(recovery->records);
        g_free(recovery);
    }
}

static const ApusSnapshot *base_of(const ApusRecovery *recovery)
{
    return &recovery->slot.state.base;
}

static const Kept *kept_at(const ApusRecovery *recovery, unsigned i)
{
    return &g_array_index(recovery->kept, Kept, i);
}

/* Entries from @first on do not count any more. */
static void cut(ApusRecovery *recovery, uint64_t first)
{
    uint64_t count = recovery->kept->len;
    uint64_t gone = recovery->high + 1 - first;

    if (first > recovery->high) {
        return;
    }
    gone = MIN(gone, count);
    if (gone > 0) {
        g_byte_array_set_size(recovery->records,
                              kept_at(recovery, count - gone)->at);
        g_array_set_size(recovery->kept, count - gone);
    }
    recovery->high = first - 1;
    recovery->low = MIN(recovery->low, first);
}

static void keep(ApusRecovery *recovery, const ApusEntry *entry,
                 const uint8_t *record)
{
    Kept kept = { .at = recovery->records->len, .term = entry->term };

    recovery->high = entry->index;
    if (entry->index > base_of(recovery)->index) {
        g_array_append_val(recovery->kept, kept);
        g_byte_array_append(recovery->records, record,
                            apus_record_size(entry));
    }
}

/* A batch counts; its records, at @data, have been checked. */
static void take(ApusRecovery *recovery, const ApusBatch *batch,
                 const uint8_t *data, ApusSegmentUse *use)
{
    if (batch->count > 0 && batch->first > recovery->high + 1) {
        /* The base stands for what is between, or there is a hole. */
        g_array_set_size(recovery->kept, 0);
        g_byte_array_set_size(recovery->records, 0);
        recovery->low = batch->first;
        recovery->high = batch->first - 1;
    } else {
        cut(recovery, batch->first);
    }
    for (uint32_t i = 0; i < batch->count; i++) {
        ApusEntry entry;

        apus_record_decode(&entry, data, apus_get32(data + 8) +
                           APUS_RECORD_HEADER, NULL);
        keep(recovery, &entry, data);
        data += apus_record_size(&entry);
    }
    recovery->sequence = batch->sequence;
    use->sequence = batch->sequence;
    use->newest = MAX(use->newest, recovery->high);
}

/*
 * Older segments are gone, and perhaps not the oldest ones: what a power cut
 * leaves of several removals is anyone's guess. If all batches before this one
 * were safe, and the base stands for all that it does not supersede, nothing
 * is missing.
 */
static gboolean begins_anew(const ApusRecovery *recovery,
                            const ApusBatch *batch)
{
    return batch->safe + 1 == batch->sequence &&
           batch->sequence > apus_recovery_sequence(recovery) &&
           batch->first <= base_of(recovery)->index + 1;
}

static gboolean is_next(ApusRecovery *recovery, const ApusBatch *batch,
                        size_t at)
{
    if (batch->sequence == apus_recovery_sequence(recovery) + 1) {
        return TRUE;
    }
    if (at != APUS_BLOCK || !begins_anew(recovery, batch)) {
        return FALSE;
    }
    cut(recovery, recovery->low);
    return TRUE;
}

/* Returns FALSE if what is at @data says nothing of this log. */
static gboolean hear(ApusRecovery *recovery, ApusBatch *batch,
                     const uint8_t *data, size_t size, uint64_t nonce)
{
    if (!apus_batch_get(batch, data, size, nonce) ||
        batch->sequence < recovery->slot.log_start) {
        return FALSE;
    }
    recovery->claim = MAX(recovery->claim, batch->safe);
    return TRUE;
}

static gboolean check_owner(const ApusRecovery *recovery,
                            const ApusSegment *segment, GError **errp)
{
    const ApusSlot *slot = &recovery->slot;

    if (strcmp(segment->cluster, slot->cluster) != 0 ||
        segment->id != slot->id) {
        g_set_error(errp, APUS_ERROR, APUS_ERROR_FOREIGN,
                    "segment %" PRIu64 " of the log belongs to member %u of "
                    "cluster %s, not to member %u of %s", segment->number,
                    segment->id, segment->cluster, slot->id, slot->cluster);
        return FALSE;
    }
    return TRUE;
}

gboolean apus_recovery_segment(ApusRecovery *recovery, uint64_t number,
                               const uint8_t *data, size_t size,
                               ApusSegmentUse *use, GError **errp)
{
    g_autoptr(GError) error = NULL;
    size_t at = APUS_BLOCK;
    ApusSegment segment;
    ApusBatch batch;

    *use = (ApusSegmentUse) { 0 };
    if (size < APUS_BLOCK || !apus_segment_get(&segment, data, &error)) {
        if (error && error->code == APUS_ERROR_VERSION) {
            g_propagate_error(errp, g_steal_pointer(&error));
            return FALSE;
        }
        recovery->broken = number;
        return TRUE;
    }
    if (!check_owner(recovery, &segment, errp)) {
        return FALSE;
    }
    /* It was about to be used again, under another name. */
    if (segment.number != number) {
        return TRUE;
    }
    while (at < size &&
           hear(recovery, &batch, data + at, size - at, segment.nonce) &&
           apus_batch_check(&batch, data + at + APUS_BATCH_HEADER) &&
           is_next(recovery, &batch, at)) {
        take(recovery, &batch, data + at + APUS_BATCH_HEADER, use);
        recovery->used = number;
        at += apus_batch_size(batch.bytes);
    }
    /* From here on nothing counts, but what it says does. */
    for (; at < size; at += APUS_BLOCK) {
        if (hear(recovery, &batch, data + at, size - at, segment.nonce)) {
            recovery->traces = TRUE;
        }
    }
    return TRUE;
}

static gboolean terms_fit(const ApusRecovery *recovery)
{
    uint64_t term = 0;

    for (unsigned i = 0; i < recovery->kept->len; i++) {
        if (kept_at(recovery, i)->term < term) {
            return FALSE;
        }
        term = kept_at(recovery, i)->term;
    }
    return term <= recovery->slot.state.term;
}

gboolean apus_recovery_end(ApusRecovery *recovery, char **note)
{
    const ApusSnapshot *base = base_of(recovery);
    uint64_t last = apus_recovery_sequence(recovery);

    *note = NULL;
    if (last < recovery->claim) {
        *note = g_strdup_printf(
            "the log is damaged: it was safe up to batch %" PRIu64
            ", and can be read up to batch %" PRIu64, recovery->claim, last);
        return FALSE;
    }
    /*
     * A header is safe before the file has its name. One that is torn is that
     * of an old segment that was about to be used again.
     */
    if (recovery->broken > recovery->used) {
        *note = g_strdup_printf(
            "the log is damaged: segment %016" PRIx64 " has no header",
            recovery->broken);
        return FALSE;
    }
    if (recovery->high > base->index && recovery->low > base->index + 1) {
        *note = g_strdup_printf(
            "the log is damaged: the entries from index %" PRIu64 " to %"
            PRIu64 " are missing", base->index + 1, recovery->low - 1);
        return FALSE;
    }
    /*
     * A log that was begun anew behind a base that came from a leader: what
     * was stored behind that index before belongs to another history. Had its
     * entry there a term as new as the base's, the leader of that term would
     * have had the base, and the histories would be one.
     */
    if (recovery->kept->len > 0 && kept_at(recovery, 0)->term < base->term) {
        *note = g_strdup_printf(
            "the log was begun anew behind index %" PRIu64
            ": %u older entries are dropped", base->index,
            recovery->kept->len);
        g_array_set_size(recovery->kept, 0);
    }
    if (!terms_fit(recovery)) {
        *note = g_strdup_printf("the log is damaged: its terms do not fit");
        return FALSE;
    }
    if (!*note && recovery->traces) {
        *note = g_strdup("what was being written to the log last is not "
                         "whole: it is dropped");
    }
    return TRUE;
}

uint64_t apus_recovery_sequence(const ApusRecovery *recovery)
{
    return recovery->sequence ? recovery->sequence
                              : recovery->slot.log_start - 1;
}

unsigned apus_recovery_count(const ApusRecovery *recovery)
{
    return recovery->kept->len;
}

void apus_recovery_entry(const ApusRecovery *recovery, unsigned i,
                         ApusEntry *entry)
{
    size_t at = kept_at(recovery, i)->at;

    apus_record_decode(entry, recovery->records->data + at,
                       recovery->records->len - at, NULL);
}
